"""Writes the recipe of a simulated dish by a grammar: every label is told, in words that the extractors find again.

Chance decides phrases and order; it is independent of the picture's. Names and verbs that are no labels of the dish are
not used, so that labels -> text -> labels is exact.
"""

from collections.abc import Sequence

from loopwright.tools.recipe.kitchen.draws import Draws
from loopwright.tools.recipe.kitchen.pantry import Kitchen
from loopwright.tools.recipe.kitchen.plan import TEXT, Plan
from loopwright.tools.recipe.recipe import Recipe

LICENCE = "Apache-2.0"
_GLAZING = ("glaze", "brush")
_FINISHES = {
    "garnish": ("Garnish with a few leaves.", "Garnish the dish with a leafy sprig."),
    "top": ("Top with a leafy sprig.", "Top the dish with a few leaves."),
    "sprinkle": ("Sprinkle with bright pearls.", "Sprinkle bright pearls all over."),
    "drizzle": ("Drizzle with a dark syrup.", "Drizzle a dark syrup all over."),
    "dust": ("Dust with a fine powder.", "Dust the whole dish with a fine powder."),
    "sift": ("Sift a fine powder all over.", "Sift a fine powder over the dish."),
    "spread": ("Spread a pale filling underneath.", "Spread the filling over the base."),
    "whip": ("Whip a dollop and place it at the side.", "Whip a dollop of foam for the side."),
    "chill": ("Chill until frosty.", "Chill for an hour."),
    "freeze": ("Freeze until frosty.", "Freeze for an hour."),
    "skewer": ("Skewer everything.", "Skewer everything on two sticks of wood."),
    "dip": ("Dip each bite into the ramekin.", "Dip it into the ramekin, bite by bite."),
    "pipe": ("Pipe rosettes around the rim.", "Pipe a ring of rosettes around the edge."),
    "toss": ("Toss everything.", "Toss everything together."),
    "layer": ("Layer everything.", "Layer everything, row by row."),
    "stack": ("Stack everything.", "Stack everything up high."),
}
_ADDED = ("Add {}.", "Stir in {}.", "Add {} to the rest.")
_AFTER = ("", "", " for {} minutes", " until tender", " over medium heat", " until done")
_AMOUNTS = ("1 cup {}", "{} g {}", "2 tbsp {}", "a handful of {}", "{}")
_TITLES = ("{kind} with {names}", "{names} {kind}", "Simple {kind}: {names}")


def write_recipe(kitchen: Kitchen, plan: Plan, seed: int) -> Recipe:
    """The recipe of a dish, the same for ever."""
    draws = Draws(seed, TEXT)
    names = [_told(kitchen, used.item.name) for used in plan.used if used.item.is_ingredient]
    steps = _prepared(kitchen, plan, draws)
    finishes = [action for used in plan.used if not used.item.is_ingredient for action in used.way.actions]
    steps += [_FINISHES[action][draws.below(2)] for action in sorted(finishes, key=list(_FINISHES).index, reverse=True)]
    if len(steps) == 1:
        steps.append("Serve it.")
    title = _TITLES[draws.below(len(_TITLES))].format(kind=plan.kind.replace("_", " "), names=_listed(names[:2]))
    return Recipe(
        title=title[0].upper() + title[1:],
        ingredients=tuple(_line(name, draws) for name in names),
        instructions=tuple(steps),
        source=f"simulated:{seed}",
        licence=LICENCE,
    )


def _prepared(kitchen: Kitchen, plan: Plan, draws: Draws) -> list[str]:
    """A step for each way of preparing, with all that is prepared so; what needs nothing comes last."""
    together: dict[tuple[str, ...], list[str]] = {}
    for used in plan.used:
        if used.item.is_ingredient:
            together.setdefault(used.way.actions, []).append(used.item.name)
    ways = list(together)
    ordered = [ways[i] for i in draws.shuffled(len(ways))]
    return [_step(kitchen, way, together[way], draws) for way in sorted(ordered, key=lambda way: not way)]


def _step(kitchen: Kitchen, actions: tuple[str, ...], names: Sequence[str], draws: Draws) -> str:
    told = _listed([f"the {_told(kitchen, name)}" for name in names])
    if not actions:
        return _ADDED[draws.below(len(_ADDED))].format(told)
    them = "them" if len(names) > 1 or names[0] in kitchen.countable else "it"
    first, *others = sorted(actions, key=lambda action: _order(kitchen.stages[action], action))
    text = f"{first.capitalize()} {told}"
    for place, action in enumerate(others):
        text += f"{' and' if place else ', then'} {action} {them}"
    last = [first, *others][-1]
    if kitchen.stages[last] == "heat":
        text += _AFTER[draws.below(len(_AFTER))].format(draws.between(2, 40))
    return f"{text}."


def _order(stage: str, action: str) -> int:
    """Cut, then season, then heat, then glaze."""
    return {"cut": 0, "heat": 2}.get(stage, 3 if action in _GLAZING else 1)


def _told(kitchen: Kitchen, name: str) -> str:
    """`sweet_potato` as "sweet potatoes"."""
    words = name.replace("_", " ")
    if name not in kitchen.countable:
        return words
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith(("tomato", "potato")) else f"{words}s"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _line(name: str, draws: Draws) -> str:
    """A line of an ingredient list."""
    form = _AMOUNTS[draws.below(len(_AMOUNTS))]
    return form.format(draws.between(1, 12) * 25, name) if form.count("{}") > 1 else form.format(name)
