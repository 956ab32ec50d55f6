"""Builds the recipe loop's conversations: simulated dishes, asked about in every task.

    OUT/PART/SEED.png             pictures
    OUT/PART.messages.jsonl       all of a part, for TRL; and OUT/PART.sharegpt.jsonl for LLaMA-Factory
    OUT/cases.json                the dishes that each file depends on (`loopwright.finetune.data.cases`)

Run again, it writes the same. Test dishes are never asked about.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from loopwright.finetune.data.cases import write_cases
from loopwright.finetune.data.files import write_dataset_info, write_examples
from loopwright.finetune.data.recipe.tasks import Scene, TaskSettings, questions
from loopwright.finetune.data.rows import FORMATS, Example, FormatName, example_of
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.files import keep_parameters, write_whole
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.kitchen.plan import Part, seeds_of

TAUGHT: tuple[Part, ...] = ("train", "validation")


class RecipeChat(Frozen):
    """What decides the content."""

    seed: int = Field(default=0, ge=0)
    dishes: int = Field(default=8000, ge=2, description="to train on")
    validation: int = Field(default=100, ge=0, description="to choose by")
    asked: TaskSettings = TaskSettings()
    drawn_px: int = Field(default=SIZE_PX, ge=32, le=2048, description="edge of the pictures")


def build(
    out: Path,
    chat: RecipeChat,
    *,
    formats: Sequence[FormatName] = tuple(FORMATS),
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[Path, int]:
    """Build everything in `out`, made where it is missing; how many conversations are in each file.

    Raises:
        BadInput: `out` was built with other settings.
    """
    keep_parameters(out, chat.model_dump(mode="json"))
    written: dict[Path, int] = {}
    cases: dict[str, set[str]] = {}
    for part, count in zip(TAUGHT, (chat.dishes, chat.validation), strict=True):
        examples = list(_examples(out, chat, part, count))
        on_progress(f"{part}: {len(examples)} conversations about {count} dishes")
        for form in formats if examples else ():
            path = out / f"{part}.{form}.jsonl"
            write_examples(path, examples, form)
            written[path] = len(examples)
            cases[path.name] = {f"simulated {seeds_of(part, count)[0]} to {seeds_of(part, count)[-1]}"}
    write_cases(out, cases)
    if "sharegpt" in formats:
        write_dataset_info(out, [path.name for path in written if ".sharegpt." in path.name])
    return written


def _examples(out: Path, chat: RecipeChat, part: Part, count: int) -> Iterator[Example]:
    seeds = seeds_of(part, count)
    for place, seed in enumerate(seeds):
        dish, other = SimulatedDish(seed), SimulatedDish(seeds[place - 1])
        name = f"{part}/{seed}.png"
        image = _drawn(out / name, dish, chat.drawn_px)
        rng = np.random.default_rng([chat.seed, seed])
        for prompt, answer in questions(Scene(dish, image, other), chat.asked, rng):
            yield example_of(prompt, answer, {image.sha256: name})


def _drawn(path: Path, dish: SimulatedDish, size_px: int) -> ImageRef:
    """A dish's picture; one that lies there is taken as it is."""
    if not path.is_file():
        buffer = io.BytesIO()
        Image.fromarray(dish.image(size_px)).save(buffer, format="PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    return ImageRef(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), width_px=size_px, height_px=size_px)
