"""A file of conversations as a TRL data set: each one's last answer is the completion, all before it the prompt.

Rows are read and checked at once, pictures opened when the trainer comes to them.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from datasets import Dataset
from PIL import Image, ImageOps

from loopwright.errors import BadInput
from loopwright.finetune.data.files import read_examples
from loopwright.finetune.data.rows import FORMATS
from loopwright.finetune.runs.augmentation import AugmentConfig, augment
from loopwright.finetune.sft.order import Length
from loopwright.models.pixels import open_picture


class Rows(NamedTuple):
    """A data set that SFTTrainer takes as it is, the SHA-256 of its file, and how long each row is."""

    dataset: Dataset
    sha256: str
    lengths: list[Length]

    def text_only(self) -> Self:
        """The same for a base that takes no images: contents are strings, as its chat template expects.

        Raises:
            BadInput: a row shows images.
        """
        if n_shown := sum(n_images > 0 for n_images, _ in self.lengths):
            raise BadInput(
                f"{n_shown} of {len(self.lengths)} rows show images, but the base takes text only. Train on others, "
                "or take a vision-language base."
            )
        rows = [json.loads(row)["messages"] for row in self.dataset.with_format(None)["row"]]
        spoken = [[message | {"content": _text_of(message["content"])} for message in row] for row in rows]
        columns = {"prompt": [row[:-1] for row in spoken], "completion": [row[-1:] for row in spoken]}
        return self._replace(dataset=Dataset.from_dict(columns))


Vary = Callable[[Image.Image, str], Image.Image]
"""A picture, and the row that it is shown in, to the picture as that row shows it."""


def load_rows(path: Path, image_size_px: int | None = None, vary: Vary | None = None) -> Rows:
    """Read and check a file of conversations; every picture must be there.

    Args:
        path: JSONL in any format of `loopwright.finetune.data`.
        image_size_px: edge of the square that pictures are fitted into; None: as they are.
        vary: what is done to each picture then.

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
    prepare = partial(_prepare, folder=folder, image_size_px=image_size_px, vary=vary)
    return Rows(
        dataset=Dataset.from_dict({"row": lines}).with_transform(prepare),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        lengths=[(len(example.images), sum(len(turn.text) for turn in example.turns)) for example in examples],
    )


def varied_by(config: AugmentConfig, seed: int) -> Vary:
    """The augmentation of training. A row's pictures depend on the seed and the row alone, so a run that goes on after
    a kill, in however many worker processes, sees what it would have seen.
    """
    return partial(_varied, config=config, seed=seed)


def _varied(image: Image.Image, row: str, *, config: AugmentConfig, seed: int) -> Image.Image:
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {row}".encode()).digest()[:7]))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    if (pixels == pixels[:, :1]).all():
        pixels = pixels[:, :1]  # an X-ray detector's noise has no colour
    varied = (255 * augment(pixels, config, generator)[0].clamp(0, 1)).round().to(torch.uint8)
    return Image.fromarray(varied.permute(1, 2, 0).expand(-1, -1, 3).numpy())


def _text_of(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _prepare(
    batch: dict[str, list[str]], *, folder: Path, image_size_px: int | None, vary: Vary | None
) -> dict[str, list[Any]]:
    """Written rows to the columns `prompt`, `completion` and `images` of TRL."""
    rows = [json.loads(line) for line in batch["row"]]
    opened = [list(_open([folder / name for name in row["images"]], image_size_px)) for row in rows]
    if vary:
        opened = [[vary(image, line) for image in own] for own, line in zip(opened, batch["row"], strict=True)]
    return {
        "prompt": [row["messages"][:-1] for row in rows],
        "completion": [row["messages"][-1:] for row in rows],
        "images": opened,
    }


def _open(paths: Sequence[Path], edge_px: int | None) -> Iterator[Image.Image]:
    """Pictures as `LocalChatModel` shows them: RGB, within a square of that edge, proportions kept."""
    for path in paths:
        image = open_picture(path).convert("RGB")
        yield image if edge_px is None else ImageOps.contain(image, (edge_px, edge_px), Image.Resampling.BICUBIC)
