"""What a writer makes of a dish: the labels that its text names, against the dish's own, with a context and without.

The context is the truth, so that the writer alone is measured. F1 is the mean over dishes (two empty sets agree).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from loopwright.agents.recipe.formats import INSTRUCTIONS
from loopwright.agents.recipe.judge import SETS, LabelSet
from loopwright.agents.recipe.prompts import instructions_messages
from loopwright.agents.recipe.verify import check
from loopwright.agents.role import ask
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.schema import Frozen
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import labels_of_text
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.kitchen.plan import Part, seeds_of
from loopwright.tools.recipe.labels import f1

Write = Callable[[SimulatedDish, Mapping[LabelSet, Sequence[str]]], Sequence[str]]
"""A writer: a dish, and the labels that it is told ({}: none), to steps."""


class WritingRow(Frozen):
    """Mean F1 of the labels that texts name over N dishes, and how many texts agree with the dish's labels entirely."""

    context: str
    n: int
    f1_actions: float
    f1_ingredients: float
    agree: float


def measure(write: Write, dishes: int, *, part: Part = "test", at_once: int = 16) -> list[WritingRow]:
    """A writer told the true labels, and told nothing, over the first dishes of a part."""
    shown = [SimulatedDish(seed) for seed in seeds_of(part, dishes)]
    found = []
    for context in ("both", "none"):
        told = [_told(dish) if context == "both" else {} for dish in shown]
        with ThreadPoolExecutor(max_workers=at_once) as threads:
            texts = list(threads.map(write, shown, told))
        scores = [
            [f1(getattr(labels_of_text(text, dish.known), what), getattr(dish.labels, what)) for what in SETS]
            for text, dish in zip(texts, shown, strict=True)
        ]
        agree = [check(text, _told(dish), dish.known).ok for text, dish in zip(texts, shown, strict=True)]
        actions, ingredients = np.mean(scores, axis=0)
        found.append(
            WritingRow(
                context=context,
                n=dishes,
                f1_actions=float(actions),
                f1_ingredients=float(ingredients),
                agree=float(np.mean(agree)),
            )
        )
    return found


def writer_of(model: Any, store: PngStore) -> Write:
    """A model as a writer, asked as the loop asks it; `store` is the one that the model reads pictures from."""

    def write(dish: SimulatedDish, told: Mapping[LabelSet, Sequence[str]]) -> Sequence[str]:
        image = store.add(dish.image(SIZE_PX))
        prompt = instructions_messages(image, told.get("actions", ()), told.get("ingredients", ()))
        return ask(model, prompt, INSTRUCTIONS).value

    return write


def _told(dish: SimulatedDish) -> dict[LabelSet, list[str]]:
    return {what: sorted(getattr(dish.labels, what)) for what in SETS}
