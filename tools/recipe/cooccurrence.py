"""How often labels stand together in recipes: counts of pairs, and what others say of a label by them.

Counted over recipes or simulated dishes, actions and ingredients together. Knows no picture.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations
from math import log
from typing import NamedTuple

from loopwright.errors import BadInput
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import plan_dish, seeds_of
from loopwright.tools.recipe.labels import Labels

Label = tuple[str, str]
"""`actions` or `ingredients`, and the name."""
_PRIOR = 5.0
"""Dishes' worth of the marginal that a pair's count is smoothed with."""
KITCHEN_DISHES = 4000


class Cooccurrence(NamedTuple):
    """Counts of labels and of pairs (the smaller first) over `dishes` recipes."""

    dishes: int
    single: Mapping[Label, int]
    pairs: Mapping[tuple[Label, Label], int]

    def share(self, label: Label) -> float:
        """How often a dish has the label, smoothed."""
        return (self.single.get(label, 0) + 0.5) / (self.dishes + 1)

    def lift(self, label: Label, others: Mapping[Label, float]) -> float:
        """The mean log of how much likelier the label is beside each of `others`, which count with their weights.

        0 where there are no others: nothing is known then.
        """
        total = sum(weight for other, weight in others.items() if other != label)
        if total <= 0:
            return 0.0
        share = self.share(label)
        found = 0.0
        for other, weight in others.items():
            if other != label:
                together = self.pairs.get((min(label, other), max(label, other)), 0)
                beside = (together + _PRIOR * share) / (self.single.get(other, 0) + _PRIOR)
                found += weight * log(beside / share)
        return found / total


def count_pairs(dishes: Iterable[Labels]) -> Cooccurrence:
    """Count labels and their pairs. Reads `dishes` once.

    Raises:
        BadInput: there is none.
    """
    single, pairs, n = Counter[Label](), Counter[tuple[Label, Label]](), 0
    for labels in dishes:
        n += 1
        named = sorted(
            [*(("actions", name) for name in labels.actions), *(("ingredients", name) for name in labels.ingredients)]
        )
        single.update(named)
        pairs.update(combinations(named, 2))
    if not n:
        raise BadInput("There is no dish to count. Give recipes with at least one.")
    return Cooccurrence(n, single, pairs)


@cache
def kitchen_cooccurrence() -> Cooccurrence:
    """Of training dishes of the bundled kitchen, counted when it is first asked for (about a second)."""
    kitchen = bundled_kitchen()
    return count_pairs(plan_dish(kitchen, seed).labels for seed in seeds_of("train", KITCHEN_DISHES))
