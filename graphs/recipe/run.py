"""What a user sets for a run of the recipe loop, and what a session keeps of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from loopwright.agents.recipe.judge import JUDGE
from loopwright.agents.recipe.predictor import PREDICTOR
from loopwright.agents.recipe.scsr import FEWEST
from loopwright.errors import BadInput
from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.declare import Role
from loopwright.tools.recipe.dish import SimulatedDish, open_dish
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX

GENERATOR = "generator"
ADAPTER, LABELS = "recipe", "recipe_labels"
"""The adapters that write, and that predict and judge labels, where a card has them; else the base answers."""
PredictorName = Literal["network", "model", "recipe"]
JudgeName = Literal["counts", "model"]
WriterName = Literal["model", "rule"]
ContextName = Literal["both", "actions", "ingredients", "none"]


class RecipeRun(RunConfig):
    """One run of the recipe loop."""

    dish: str = Field(
        description="`simulated:SEED`, or `FILE:ENTRY` with recipes and the id, title or number of one, with its photo"
    )
    predictor: PredictorName = Field(
        default="network",
        description="who says what was done and what is in it: a network, a model, or (to measure the writer) the "
        "recipe itself",
    )
    writer: WriterName = Field(
        default="rule", description="who writes the instructions: a rule that names every label, or a model"
    )
    model: str = Field(
        default="small", description="name or path of the model card that writes (and, asked to, predicts)"
    )
    predictor_model: str | None = Field(
        default=None, description="card of the predictor `model`; the writer's where none is given"
    )
    judge: JudgeName = Field(
        default="counts",
        description="who scores the labels: the picture's odds with counts of which labels go together, or a model",
    )
    judge_model: str | None = Field(
        default=None, description="card of the judge `model`; the predictor's where none is given"
    )
    selection: Literal["scsr", "all"] = Field(
        default="scsr", description="which labels are kept: by the judge's scores (SCSR), or all that are predicted"
    )
    fewest: int = Field(default=FEWEST, ge=1, le=20, description="labels below which the surest of both sides are kept")
    context: ContextName = Field(default="both", description="which labels the writer is told")
    repairs: int = Field(default=2, ge=0, le=10, description="times that a text that contradicts its labels is redone")
    text_only: bool = Field(default=False, description="do not show the writer the picture: it reads text only")
    compare: bool = Field(
        default=False, description="also have the model write from the picture alone, and report both texts"
    )
    image_px: int = Field(default=SIZE_PX, ge=32, le=2048, description="edge of the dish's picture, px")

    @field_validator("dish", mode="before")
    @classmethod
    def _absolute_file(cls, value: Any) -> Any:
        where, colon, entry = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        is_there = bool(colon) and where != "simulated" and Path(where).expanduser().exists()
        return f"{Path(where).expanduser().resolve()}:{entry}" if is_there else value


def roles_of(run: RecipeRun) -> dict[str, Role]:
    """The models that a run asks."""
    predictor = run.predictor_model or run.model
    writes = run.writer == "model" or run.compare
    found = {GENERATOR: Role(card=run.model, adapter=ADAPTER)} if writes else {}
    if run.predictor == "model":
        found[PREDICTOR] = Role(card=predictor, adapter=LABELS)
    if run.judge == "model":
        found[JUDGE] = Role(card=run.judge_model or predictor, adapter=LABELS)
    return found


def prepare(run: RecipeRun) -> dict[str, Any]:
    """Check a run against the real dish; what the session keeps: its vocabularies, and what is true of it.

    Raises:
        BadInput: there is no such dish, its photo cannot be opened, or an option would not be read.
    """
    _refuse_unread(run)
    dish = open_dish(run.dish)
    dish.image(run.image_px)  # refuses a photo that cannot be opened, before the session begins
    labels = dish.labels
    return {
        "dish": dish.name,
        "known": {
            "actions": dish.known.actions.model_dump(mode="json"),
            "ingredients": dish.known.ingredients.model_dump(mode="json"),
        },
        "truth": {"actions": sorted(labels.actions), "ingredients": sorted(labels.ingredients)},
        "reference": list(dish.recipe.instructions),
        "title": dish.recipe.title,
        "is_drawn": isinstance(dish, SimulatedDish),
    }


def _refuse_unread(run: RecipeRun) -> None:
    """Refuse an option that was set and that nothing would read."""
    for name, companion in (
        ("predictor_model", "predictor"),
        ("judge_model", "judge"),
        ("text_only", "writer"),
    ):
        if getattr(run, name) and getattr(run, companion) != "model":
            raise BadInput(
                f"`{name}` {getattr(run, name)!r} would not be read. Leave it out, or add `--{companion} model`."
            )


def redraw(run: RecipeRun, _: Mapping[str, Any]) -> Callable[[dict[str, Any]], NDArray[np.uint8]]:
    """A function from what `look_at_dish` gave to its picture, (H, W, 3) uint8, drawn or read anew."""
    dish = open_dish(run.dish)

    def draw(observation: dict[str, Any]) -> NDArray[np.uint8]:
        image = dish.image(run.image_px)
        if image is None:
            raise BadInput(f"{observation['dish']} had a picture, and has none any more.")
        return image

    return draw
