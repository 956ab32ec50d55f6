"""The kitchen's tools: look at the dish, note its labels, write its instructions. Knows no predictor and no judge."""

from typing import Annotated, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from loopwright.errors import DeveloperError
from loopwright.schema import Act, Frozen, ImageRef
from loopwright.tools.contract import Acting, Tool, ToolContext, tool
from loopwright.tools.recipe.labels import Labels
from loopwright.tools.recipe.world import MOST_STEP_CHARS, MOST_STEPS

MOST_LABELS = 100
"""Of either set."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Step = Annotated[str, StringConstraints(min_length=1, max_length=MOST_STEP_CHARS)]


class WrittenAbout(Protocol):
    """What these tools read of a world."""

    @property
    def labels(self) -> Labels | None:
        """What was recorded last."""
        ...

    @property
    def instructions(self) -> tuple[str, ...] | None:
        """What was written last."""
        ...

    def picture(self) -> NDArray[np.uint8] | None:
        """The dish's picture, where it has one."""
        ...

    @property
    def dish_name(self) -> str:
        """The dish's."""
        ...


class NothingToSay(Frozen):
    """No arguments."""


class DishStatus(Frozen):
    """What is written about the dish so far."""

    dish: Name
    actions: tuple[Name, ...] = Field(max_length=MOST_LABELS, description="recorded as done to it")
    ingredients: tuple[Name, ...] = Field(max_length=MOST_LABELS, description="recorded as being in it")
    steps: tuple[Step, ...] = Field(max_length=MOST_STEPS, description="its instructions")


class SeenDish(DishStatus):
    """The dish as it is seen, and what is written about it."""

    image: ImageRef | None = Field(description="null where it has none")


class DishLabels(Frozen):
    """What `record_labels` is given."""

    actions: tuple[Name, ...] = Field(default=(), max_length=MOST_LABELS, description="what was done, each once")
    ingredients: tuple[Name, ...] = Field(default=(), max_length=MOST_LABELS, description="what is in it, each once")


class Instructions(Frozen):
    """What `write_instructions` is given."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=MOST_STEPS, description="how it is made, step by step")


class Written(Frozen):
    """That it is written down."""

    writings: int = Field(ge=0, description="number of writings about the dish so far")


@tool(effect="write", timeout_s=60)
def look_at_dish(args: NothingToSay, context: ToolContext) -> SeenDish:
    """Show the dish, and what is written about it so far."""
    image = _dish(context).picture()
    return SeenDish(**_status(context).model_dump(), image=None if image is None else context.keep(image))


@tool(effect="read", timeout_s=10)
def dish_status(args: NothingToSay, context: ToolContext) -> DishStatus:
    """Say which dish it is, and which labels and instructions are written about it."""
    return _status(context)


@tool(effect="actuate", timeout_s=30, consent="guard", words=lambda args: f"note what is in it: {_listed(args)}")
def record_labels(args: DishLabels, context: ToolContext) -> Acting[Written]:
    """Note what was done to the dish and what is in it; a later note replaces an earlier one."""
    outcome = yield Act(tool="record_labels", arguments=args.model_dump(mode="json"))
    return Written.model_validate(outcome.result)


@tool(effect="actuate", timeout_s=30, words=lambda args: f"write these instructions: {' '.join(args.steps)}")
def write_instructions(args: Instructions, context: ToolContext) -> Acting[Written]:
    """Write how the dish is made; later instructions replace earlier ones."""
    outcome = yield Act(tool="write_instructions", arguments=args.model_dump(mode="json"))
    return Written.model_validate(outcome.result)


TOOLS: tuple[Tool[Any, Any], ...] = (dish_status, look_at_dish, record_labels, write_instructions)


def _listed(args: DishLabels) -> str:
    return ", ".join((*args.actions, *args.ingredients))


def _status(context: ToolContext) -> DishStatus:
    dish = _dish(context)
    labels = dish.labels or Labels()
    return DishStatus(
        dish=dish.dish_name,
        actions=tuple(sorted(labels.actions)),
        ingredients=tuple(sorted(labels.ingredients)),
        steps=dish.instructions or (),
    )


def _dish(context: ToolContext) -> WrittenAbout:
    if not all(hasattr(context.world, name) for name in ("picture", "instructions", "dish_name")):
        raise DeveloperError(f"The world {context.world!r} has no dish; give the `ToolContext` a `KitchenWorld`.")
    return cast(WrittenAbout, context.world)
