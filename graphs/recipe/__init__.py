"""The recipe loop: instructions for a dish from its picture, by way of labels that are predicted, judged and verified.

After Liu et al.: actions and ingredients are predicted at once, a judge scores them, SCSR keeps those that both sides
are sure of, and the writer is told them. Beside it a person who may change the labels before and after, and a check of
the text against its labels, which is redone within a budget.
"""

from loopwright.agents.recipe.feedback import FEEDBACK
from loopwright.agents.recipe.request import read_request
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.recipe import nodes
from loopwright.graphs.recipe.describe import describe
from loopwright.graphs.recipe.report import recipe_sections
from loopwright.graphs.recipe.run import RecipeRun, prepare, redraw, roles_of
from loopwright.graphs.recipe.view import show
from loopwright.tools.recipe.tools import look_at_dish, record_labels, write_instructions
from loopwright.tools.recipe.world import KitchenWorld

MOST_LOOKS = 50
"""Of one run: at a dish that is looked at again after each writing."""
LOOP = Loop(
    "recipe",
    nodes=[
        nodes.look,
        (nodes.predict_actions, nodes.predict_ingredients, nodes.write_plainly),
        nodes.judge,
        nodes.select,
        nodes.review,
        nodes.generate,
        nodes.verify,
        nodes.write,
    ],
    world=KitchenWorld,
    tools=[look_at_dish, record_labels, write_instructions],
    state=nodes.STATE,
    roles=roles_of,
    feedback=FEEDBACK,
    budget=Budget(steps=MOST_LOOKS),
    config=RecipeRun,
    prepare=prepare,
    summary="write how a dish is made, from its picture, checked against what was seen in it",
    describe=describe,
    report=recipe_sections,
    redraw=redraw,
    show=show,
    request=read_request,
)

__all__ = ["LOOP"]
