"""A file of conversations as a TRL data set: each one's last answer is the completion, all before it the prompt.

Rows are read and checked at once, pictures opened when the trainer comes to them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from PIL import Image, ImageOps, UnidentifiedImageError

from loopwright.errors import BadInput
from loopwright.finetune.chat_data.files import read_examples
from loopwright.finetune.chat_data.rows import FORMATS
from loopwright.finetune.sft.order import Length


class Rows(NamedTuple):
    """A data set that SFTTrainer takes as it is, the SHA-256 of its file, and how long each row is."""

    dataset: Dataset
    sha256: str
    lengths: list[Length]


def load_rows(path: Path, image_size_px: int | None = None) -> Rows:
    """Read and check a file of conversations; every picture must be there.

    Args:
        path: JSONL in any format of `loopwright.finetune.chat_data`.
        image_size_px: edge of the square that pictures are fitted into; None: as they are.

    Raises:
        BadInput: no such file, no row in it, or a row that is wrong; the message names file and row.
    """
    examples = read_examples(path)
    folder = path.parent.absolute()
    for image in dict.fromkeys(image for example in examples for image in example.images):
        if not (folder / image).is_file():
            raise BadInput(
                f"`{path}` shows image {image!r}, which is not there: paths start at the file's own folder, and "
                f"`{folder / image}` is no file. Copy the pictures beside it, or build the data again."
            )
    lines = [json.dumps(FORMATS["messages"].write(example)) for example in examples]
    prepare = partial(_prepare, folder=folder, image_size_px=image_size_px)
    return Rows(
        dataset=Dataset.from_dict({"row": lines}).with_transform(prepare),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        lengths=[(len(example.images), sum(len(turn.text) for turn in example.turns)) for example in examples],
    )


def _prepare(batch: dict[str, list[str]], *, folder: Path, image_size_px: int | None) -> dict[str, list[Any]]:
    """Written rows to the columns `prompt`, `completion` and `images` of TRL."""
    rows = [json.loads(line) for line in batch["row"]]
    return {
        "prompt": [row["messages"][:-1] for row in rows],
        "completion": [row["messages"][-1:] for row in rows],
        "images": [list(_open([folder / name for name in row["images"]], image_size_px)) for row in rows],
    }


def _open(paths: Sequence[Path], edge_px: int | None) -> Iterator[Image.Image]:
    """Pictures as `LocalChatModel` shows them: RGB, within a square of that edge, proportions kept."""
    for path in paths:
        try:
            image = Image.open(path).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise BadInput(f"Image `{path}` cannot be decoded: {error}. Write PNG or JPEG, whole.") from error
        yield image if edge_px is None else ImageOps.contain(image, (edge_px, edge_px), Image.Resampling.BICUBIC)
