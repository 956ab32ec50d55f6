"""What a simulated dish is made of, drawn from a seed: kind, parts, labels, and what there is to be seen of it."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from loopwright.errors import BadInput
from loopwright.tools.recipe.kitchen.draws import Draws
from loopwright.tools.recipe.kitchen.pantry import Item, Kitchen, Sight, Way
from loopwright.tools.recipe.labels import Labels

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
FIRST_SEED: Mapping[Part, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
"""A simulated dish's seed says which part it is for."""
SEEDS_A_PART = 1_000_000
PLAN, PICTURE, TEXT = range(3)
"""Streams of random numbers of one dish."""


class Used(NamedTuple):
    """An item of a dish, how it was prepared, and whether anything of it is to be seen."""

    item: Item
    way: Way
    is_seen: bool


class Evidence(NamedTuple):
    """All that a dish's picture depends on, but for chance that tells nothing of its labels."""

    vessel: str
    sights: frozenset[Sight]


class Plan(NamedTuple):
    """A simulated dish."""

    kind: str
    vessel: str
    used: tuple[Used, ...]

    @property
    def labels(self) -> Labels:
        """Everything that is in it and was done, seen or not."""
        return Labels(
            actions=frozenset(action for used in self.used for action in used.way.actions),
            ingredients=frozenset(used.item.name for used in self.used if used.item.is_ingredient),
        )

    @property
    def evidence(self) -> Evidence:
        """What there is to be seen of it."""
        return Evidence(self.vessel, frozenset(u.way.sight for u in self.used if u.is_seen and u.way.sight is not None))


def plan_dish(kitchen: Kitchen, seed: int) -> Plan:
    """The dish of a seed, 0 or more: the same for ever."""
    draws = Draws(seed, PLAN)
    kind = draws.weighted(kitchen.kind_odds)
    while True:
        used = [_used(item, kind, draws) for item in kitchen.items if draws.unit() < item.odds[kind]]
        if kitchen.fewest <= sum(one.item.is_ingredient for one in used) <= kitchen.most:
            return Plan(kitchen.kinds[kind], kitchen.vessels[kind], tuple(used))


def seeds_of(part: Part, count: int) -> range:
    """The first `count` simulated dishes of a part.

    Raises:
        BadInput: a part has not so many.
    """
    if not 0 <= count <= SEEDS_A_PART:
        raise BadInput(f"`count` = {count}; a part has 0 to {SEEDS_A_PART} simulated dishes.")
    return range(FIRST_SEED[part], FIRST_SEED[part] + count)


def _used(item: Item, kind: int, draws: Draws) -> Used:
    return Used(item, item.ways[draws.weighted(item.weights[kind])], draws.unit() < item.seen[kind])
