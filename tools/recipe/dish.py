"""Dishes that a world shows: simulated ones, drawn from a seed, and recorded ones, a photo and its recipe."""

from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from loopwright.errors import BadInput
from loopwright.models.pixels import open_picture
from loopwright.tools.recipe.extract import Vocabularies, kitchen_vocabularies, labels_of_recipe
from loopwright.tools.recipe.kitchen.drawing import draw
from loopwright.tools.recipe.kitchen.instructions import write_recipe
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import Plan, plan_dish
from loopwright.tools.recipe.kitchen.posterior import Posterior, bundled_reader
from loopwright.tools.recipe.labels import Labels
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.recipe import Recipe

SPECS = "`simulated:SEED`, or `FILE:ENTRY` with recipes and the id, title or number of one"


class Dish(Protocol):
    """What a world needs of a dish."""

    name: str
    known: Vocabularies
    """The labels that it may have."""

    @property
    def recipe(self) -> Recipe:
        """Its recipe."""
        ...

    @property
    def labels(self) -> Labels:
        """What is in it and was done."""
        ...

    def image(self, size_px: int) -> NDArray[np.uint8] | None:
        """(size_px, size_px, 3) its picture; None where it has none."""
        ...

    def posterior(self) -> Posterior | None:
        """All that its picture tells of its labels, exactly; None where nobody knows."""
        ...


class SimulatedDish:
    """A dish of the bundled kitchen."""

    def __init__(self, seed: int) -> None:
        self.name, self.seed = f"simulated-{seed}", seed
        self.known = kitchen_vocabularies()

    @cached_property
    def plan(self) -> Plan:
        """What it is made of."""
        return plan_dish(bundled_kitchen(), self.seed)

    @property
    def recipe(self) -> Recipe:
        """See `Dish`."""
        return write_recipe(bundled_kitchen(), self.plan, self.seed)

    @property
    def labels(self) -> Labels:
        """See `Dish`."""
        return self.plan.labels

    def image(self, size_px: int) -> NDArray[np.uint8]:
        """See `Dish`."""
        return draw(bundled_kitchen(), self.plan.evidence, self.seed, size_px=size_px)

    def posterior(self) -> Posterior:
        """See `Dish`."""
        return bundled_reader().read(self.plan.evidence)


class RecordedDish:
    """A recipe that somebody wrote, with its photo where it has one. Its labels are extracted from the text."""

    def __init__(self, recipe: Recipe, known: Vocabularies | None = None) -> None:
        """Without vocabularies, its labels are those that simulated dishes may have too."""
        self.name, self.recipe = recipe.source or recipe.title, recipe
        self.known = known or kitchen_vocabularies()

    @property
    def labels(self) -> Labels:
        """See `Dish`."""
        return labels_of_recipe(self.recipe, self.known)

    def image(self, size_px: int) -> NDArray[np.uint8] | None:
        """See `Dish`; padded to a square.

        Raises:
            BadInput: the photo is gone, damaged or too large to open.
        """
        path = self.recipe.image
        if path is None:
            return None
        photo = open_picture(path, f"`{path}`, the photo of {self.name},").convert("RGB")
        upright = ImageOps.exif_transpose(photo)
        return np.asarray(ImageOps.pad(upright, (size_px, size_px), Image.Resampling.BICUBIC))

    def posterior(self) -> Posterior | None:
        """Nobody knows."""
        return None


def open_dish(spec: str, known: Vocabularies | None = None) -> Dish:
    """Open what `spec` names: `simulated:7`, `recipes.json:pea-soup`, `cookbook:soups/pea.md`.

    Raises:
        BadInput: nothing of that name; with the repair.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise BadInput(f"`{spec}` is no dish. Expected {SPECS}.")
    if where == "simulated":
        if not name.isascii() or not name.isdigit():
            raise BadInput(f"`{spec}` has the seed {name!r}; expected a whole number, 0 or more: `simulated:7`.")
        return SimulatedDish(int(name))
    for number, recipe in enumerate(read_recipes(Path(where)), start=1):
        if name in (str(number), recipe.title, recipe.source, recipe.source.rpartition(":")[2]):
            return RecordedDish(recipe, known)
    raise BadInput(f"`{where}` has no recipe {name!r}. Expected the id, title or number of one of its recipes.")
