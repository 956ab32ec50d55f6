"""The kitchen: what may be in a dish and how probable it is. Read from `pantry.yaml`; knows no picture and no text.

A dish has a kind. Given the kind, every item, an ingredient or a finish such as `garnish`, is in it or not, prepared in
one of its ways, and to be seen or not, each independently of all others; the number of ingredients is kept within
bounds. Items that look alike form a group. So every probability can be summed exactly (`posterior`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from loopwright.schema import Frozen

_MOST_ODDS = 0.9
_KIND_ZIPF = 0.5


class Appearance(NamedTuple):
    """What is seen of an ingredient: its look, and the cues of what was done to it ("" for nothing)."""

    look: str
    cut: str = ""
    heat: str = ""
    coat: str = ""


Sight = Appearance | str
"""An ingredient's appearance, or the cue of a finish."""


class Look(Frozen):
    """What several ingredients may look like. Colours are RGB, 0 to 255."""

    colour: tuple[int, int, int]
    second: tuple[int, int, int]
    texture: str
    shape: str


class Way(NamedTuple):
    """One way to prepare an item: the actions, and what is then seen, None where nothing ever is."""

    actions: tuple[str, ...]
    sight: Sight | None


class Item(NamedTuple):
    """An ingredient, a finish, or the layout. Sequences run over the kinds of dish."""

    name: str
    is_ingredient: bool
    odds: tuple[float, ...]
    ways: tuple[Way, ...]
    weights: tuple[tuple[float, ...], ...]
    """[kind][way], each row sums to 1."""
    seen: tuple[float, ...]
    """P(to be seen | in the dish)."""


class Kitchen(Frozen):
    """Everything that the probabilities of dishes depend on."""

    kinds: tuple[str, ...]
    vessels: tuple[str, ...] = Field(description="of each kind")
    kind_odds: tuple[float, ...]
    fewest: int = Field(description="ingredients of a dish")
    most: int
    groups: tuple[tuple[Item, ...], ...] = Field(description="items that may look alike stand together")
    looks: dict[str, Look]
    stages: dict[str, str] = Field(description="of each action: `cut`, `heat`, `coat`, `finish` or `layout`")
    countable: frozenset[str] = Field(description="ingredients that are told in the plural")
    families: dict[str, str] = Field(description="of each ingredient, such as `nut`")

    @property
    def items(self) -> tuple[Item, ...]:
        """Of all groups."""
        return tuple(item for group in self.groups for item in group)

    @property
    def ingredients(self) -> tuple[str, ...]:
        """Names of ingredients, sorted."""
        return tuple(sorted(item.name for item in self.items if item.is_ingredient))

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of actions that some dish may show, sorted."""
        return tuple(sorted({action for item in self.items for way in item.ways for action in way.actions}))


@cache
def bundled_kitchen() -> Kitchen:
    """The kitchen of `loopwright/Kitchen-v0`."""
    text = files("loopwright.tools.recipe.kitchen").joinpath("pantry.yaml").read_text(encoding="utf-8")
    return kitchen_of(yaml.safe_load(text))


def kitchen_of(pantry: Mapping[str, Any]) -> Kitchen:
    """A kitchen from a pantry, as `pantry.yaml` has it."""
    kinds = pantry["kinds"]
    cue_of = {action: cue for stage in pantry["actions"].values() for action, cue in stage.items()}
    stage_of = {action: stage for stage, cues in pantry["actions"].items() for action in cues}
    items = [
        *_ingredients(pantry, stage_of, cue_of),
        *(_finish(action, cue, kinds.values()) for action, cue in pantry["actions"]["finish"].items()),
        _layout(pantry["actions"]["layout"], kinds.values()),
    ]
    groups: dict[str, list[Item]] = {}
    for item in items:
        sight = item.ways[-1].sight
        groups.setdefault(sight.look if isinstance(sight, Appearance) else f"finish {sight}", []).append(item)
    return Kitchen(
        kinds=tuple(kinds),
        vessels=tuple(kind["vessel"] for kind in kinds.values()),
        kind_odds=_shares(_zipf(len(kinds), _KIND_ZIPF)),
        fewest=pantry["counts"]["min"],
        most=pantry["counts"]["max"],
        groups=tuple(tuple(group) for group in groups.values()),
        looks={name: _look(*fields) for name, fields in pantry["looks"].items()},
        stages=stage_of,
        countable=pantry["countable"],
        families={name: family for name, (family, *_) in pantry["ingredients"].items()},
    )


def _ingredients(pantry: Mapping[str, Any], stage_of: Mapping[str, str], cue_of: Mapping[str, str]) -> Iterable[Item]:
    named = pantry["ingredients"]
    kinds = list(pantry["kinds"].values())
    ranks = _zipf(len(named), pantry["zipf"])
    odds_of_kind = [
        _scaled(
            [rank * kind["likes"].get(family, 0.12) for rank, (family, *_) in zip(ranks, named.values(), strict=True)],
            pantry["counts"]["mean"],
        )
        for kind in kinds
    ]
    for place, (name, (family, look, seen, *own)) in enumerate(named.items()):
        ways = own[0] if own else pantry["families"][family]
        yield Item(
            name=name,
            is_ingredient=True,
            odds=tuple(odds[place] for odds in odds_of_kind),
            ways=tuple(_way(look, text.split(), stage_of, cue_of) for text in ways),
            weights=(_shares(list(ways.values())),) * len(kinds),
            seen=tuple(seen * kind["clarity"] for kind in kinds),
        )


def _way(look: str, actions: Sequence[str], stage_of: Mapping[str, str], cue_of: Mapping[str, str]) -> Way:
    return Way(tuple(actions), Appearance(look, **{stage_of[action]: cue_of[action] for action in actions}))


def _finish(action: str, cue: str, kinds: Iterable[Mapping[str, Any]]) -> Item:
    odds = tuple(kind["finishes"].get(action, 0.0) for kind in kinds)
    return Item(action, False, odds, (Way((action,), cue),), ((1.0,),) * len(odds), (0.95,) * len(odds))


def _layout(cues: Mapping[str, str], kinds: Iterable[Mapping[str, Any]]) -> Item:
    weights = tuple(_shares([kind["layouts"].get(action, 0.0) for action in ("", *cues)]) for kind in kinds)
    ways = (Way((), None), *(Way((action,), cue) for action, cue in cues.items()))
    return Item("layout", False, (1.0,) * len(weights), ways, weights, (1.0,) * len(weights))


def _look(colour: str, second: str, texture: str, shape: str) -> Look:
    (r, g, b), (s, t, u) = bytes.fromhex(colour), bytes.fromhex(second)
    return Look(colour=(r, g, b), second=(s, t, u), texture=texture, shape=shape)


def _zipf(count: int, exponent: float) -> list[float]:
    return [(place + 1.0) ** -exponent for place in range(count)]


def _shares(weights: Sequence[float]) -> tuple[float, ...]:
    return tuple(weight / sum(weights) for weight in weights)


def _scaled(weights: Sequence[float], mean: float) -> list[float]:
    """Probabilities in proportion to `weights`, none above `_MOST_ODDS`, that sum to about `mean`."""
    scale, odds = mean / sum(weights), list(weights)
    for _ in range(20):
        odds = [min(_MOST_ODDS, scale * weight) for weight in weights]
        scale *= mean / sum(odds)
    return odds
