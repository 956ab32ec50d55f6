"""How a step of the recipe loop looks in the console: the dish, and its labels with the judge's scores."""

from collections.abc import Mapping
from typing import Any

from loopwright.agents.recipe.judge import SETS
from loopwright.graphs.recipe.report import PACKAGE, label_rows
from loopwright.graphs.recipe.run import RecipeRun
from loopwright.graphs.report import render_template
from loopwright.graphs.step_view import Picture, StepView
from loopwright.graphs.steps import SessionStep
from loopwright.tools.recipe.tools import SeenDish


def show(run: RecipeRun, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """The dish; what was predicted, what the judge thinks of it, and what rectification added or dropped.

    What the recipe itself says is kept from whoever judges here; the report has it.
    """
    image = SeenDish.model_validate(step.seen).image
    unknown = {**prepared, "truth": dict.fromkeys(SETS, ())}
    tables = {what: label_rows(what, unknown, step.events) for what in SETS}
    html = render_template("labels.html.j2", PACKAGE, tables=tables)
    return StepView((Picture(image, "The dish"),) if image is not None else (), html)
