"""Instructions by rule, from labels alone: the trivial writer, which names every label and invents none.

Which action is done to which ingredient is told by how often they stand together in recipes. Sees no picture.
"""

from collections.abc import Sequence

from loopwright.agents.recipe.formats import MOST_STEPS
from loopwright.agents.recipe.prompts import in_words
from loopwright.tools.recipe.cooccurrence import Cooccurrence
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen

_ORDER = ("cut", "coat", "heat", "", "layout", "finish")
"""Of the stages of actions; "" is any that the kitchen does not know."""
_ON_ALL = ("layout", "finish")
MOST_TOGETHER = 3
"""Ingredients that one action is done to."""


def write_by_rule(actions: Sequence[str], ingredients: Sequence[str], counts: Cooccurrence) -> tuple[str, ...]:
    """One step an action, then what nothing is done to; a step for each until there are `formats.MOST_STEPS`."""
    stages = bundled_kitchen().stages
    left = list(ingredients)
    steps = []
    for action in sorted(actions, key=lambda one: (_ORDER.index(stages.get(one, "")), one)):
        own = [] if stages.get(action, "") in _ON_ALL else _ingredients_of(action, ingredients, counts)
        left = [name for name in left if name not in own]
        steps.append(f"{in_words(action).capitalize()} {_listed(own) if own else 'everything'}.")
    added = [f"Add {_listed(left)}."] if left else []
    n_before = sum(stages.get(one, "") not in _ON_ALL for one in actions)
    return tuple([*steps[:n_before], *added, *steps[n_before:]][:MOST_STEPS]) or ("Serve it.",)


def _ingredients_of(action: str, ingredients: Sequence[str], counts: Cooccurrence) -> list[str]:
    """What an action most likely is done to: the best one, and others that go with it nearly as well."""
    lifts = {name: counts.lift(("actions", action), {("ingredients", name): 1.0}) for name in ingredients}
    best = sorted(lifts, key=lambda name: (-lifts[name], name))[:MOST_TOGETHER]
    return [name for name in best if lifts[name] >= max(lifts.values()) - 0.5]


def _listed(names: Sequence[str]) -> str:
    told = [f"the {in_words(name)}" for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
