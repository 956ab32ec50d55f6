"""What the picture of a simulated dish tells of its labels, exactly: the best that anybody can do.

A picture shows the dish's `Evidence` and chance that is independent of the labels, so nobody can know more than
P(label | evidence). It is summed over the kinds, the states of each group of look-alikes, and the number of
ingredients, which is bounded and so ties the groups together.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.recipe.kitchen.pantry import Item, Kitchen, Sight, bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import Evidence

Array = NDArray[np.float64]


class Posterior(NamedTuple):
    """Probabilities given what is seen, by name, and P(evidence) itself."""

    actions: dict[str, float]
    ingredients: dict[str, float]
    kinds: dict[str, float]
    evidence: float


class _Group(NamedTuple):
    """The states of a group of look-alikes that show the same: by what is shown, the rows of the arrays."""

    names: tuple[str, ...]
    sights: frozenset[Sight]
    rows: dict[frozenset[Sight], NDArray[np.intp]]
    weights: Array
    """[kind, state]"""
    sizes: NDArray[np.intp]
    """[state] ingredients in it."""
    has: NDArray[np.bool_]
    """[state, item]"""
    does: NDArray[np.bool_]
    """[state, action]"""


class Reader:
    """Reads evidence as well as it can be read."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen
        self._actions = kitchen.actions
        self._groups = [_group(group, self._actions) for group in kitchen.groups]
        polynomials = [_polynomial(g.weights, g.sizes, kitchen.most) for g in self._groups]
        self._accepted = _product(polynomials)[:, kitchen.fewest :].sum(1)

    def read(self, evidence: Evidence) -> Posterior:
        """P(label | evidence) of every label.

        Raises:
            BadInput: no dish of this kitchen shows this.
        """
        kitchen, groups = self._kitchen, self._groups
        kinds = np.flatnonzero([vessel == evidence.vessel for vessel in kitchen.vessels])
        prior = (np.array(kitchen.kind_odds) / self._accepted)[kinds]
        rows = [group.rows.get(evidence.sights & group.sights) for group in groups]
        known = frozenset[Sight]().union(*(group.sights for group in groups))
        if not kinds.size or not evidence.sights <= known or any(found is None for found in rows):
            raise BadInput(f"`evidence` {evidence!r:.300} cannot come from a dish of this kitchen.")
        seen = [(g, r, g.weights[kinds][:, r]) for g, r in zip(groups, rows, strict=True) if r is not None]
        polynomials = [_polynomial(weights, g.sizes[r], kitchen.most) for g, r, weights in seen]
        by_kind = prior * _product(polynomials)[:, kitchen.fewest :].sum(1)
        total = by_kind.sum()
        if not total > 0:
            raise BadInput(f"`evidence` {evidence!r:.300} cannot come from a dish of this kitchen.")
        ingredients: dict[str, float] = {}
        for (group, r, weights), others in zip(seen, _others(polynomials), strict=True):
            allowed = _allowed(others, group.sizes[r], kitchen.fewest, kitchen.most)
            states = (prior[:, None] * weights * allowed).sum(0) / total
            ingredients |= dict(zip(group.names, (states @ group.has[r]).tolist(), strict=False))
        without = [
            _polynomial(weights[:, None] * ~g.does[r].T, g.sizes[r], kitchen.most) for g, r, weights in seen
        ]  # [kind, action, count]
        lacking = prior[:, None] * _product(without)[..., kitchen.fewest :].sum(-1)
        actions = 1 - lacking.sum(0) / total
        return Posterior(
            actions=dict(zip(self._actions, np.clip(actions, 0, 1).tolist(), strict=True)),
            ingredients={name: ingredients[name] for name in kitchen.ingredients},
            kinds=dict.fromkeys(kitchen.kinds, 0.0)
            | {kitchen.kinds[k]: float(p / total) for k, p in zip(kinds, by_kind, strict=True)},
            evidence=float(total),
        )


@cache
def bundled_reader() -> Reader:
    """Of the bundled kitchen."""
    return Reader(bundled_kitchen())


def _group(items: Sequence[Item], actions: Sequence[str]) -> _Group:
    """Every joint state of some look-alikes: each is absent, or prepared in one way, seen or not."""
    choices: list[list[tuple[int, bool] | None]] = [
        [None, *product(range(len(item.ways)), (False, True))] for item in items
    ]
    shown: dict[frozenset[Sight], list[int]] = {}
    weights, count, has, does = [], [], [], []
    for number, state in enumerate(product(*choices)):
        weight = np.ones(len(items[0].odds))
        sights, done = set[Sight](), set[str]()
        for item, choice in zip(items, state, strict=True):
            odds, seen = np.array(item.odds), np.array(item.seen)
            if choice is None:
                weight = weight * (1 - odds)
                continue
            way, is_seen = choice
            weight = weight * odds * np.array(item.weights)[:, way] * (seen if is_seen else 1 - seen)
            done.update(item.ways[way].actions)
            sight = item.ways[way].sight
            if is_seen and sight is not None:
                sights.add(sight)
        shown.setdefault(frozenset(sights), []).append(number)
        weights.append(weight)
        present = [choice is not None and item.is_ingredient for item, choice in zip(items, state, strict=True)]
        has.append(present)
        count.append(sum(present))
        does.append([action in done for action in actions])
    return _Group(
        names=tuple(item.name for item in items if item.is_ingredient),
        sights=frozenset[Sight]().union(*shown),
        rows={sights: np.array(numbers) for sights, numbers in shown.items()},
        weights=np.array(weights).T,
        sizes=np.array(count),
        has=np.array(has),
        does=np.array(does),
    )


def _polynomial(weights: Array, count: NDArray[np.intp], most: int) -> Array:
    """[..., state] to [..., number of ingredients], 0 to `most`."""
    sums = np.zeros((*weights.shape[:-1], most + 1))
    for number in np.unique(count[count <= most]):
        sums[..., number] = weights[..., count == number].sum(-1)
    return sums


def _times(a: Array, b: Array) -> Array:
    """The product of polynomials over the last axis, cut off at their common degree."""
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape))
    degree = a.shape[-1]
    for power in np.flatnonzero(b.reshape(-1, degree).any(0)):
        out[..., power:] += a[..., : degree - power] * b[..., power, None]
    return out


def _product(polynomials: Sequence[Array]) -> Array:
    out = polynomials[0]
    for one in polynomials[1:]:
        out = _times(out, one)
    return out


def _others(polynomials: Sequence[Array]) -> list[Array]:
    """For each polynomial, the product of all others."""
    one = np.zeros_like(polynomials[0])
    one[..., 0] = 1
    before, after = [one], [one]
    for left, right in zip(polynomials, reversed(polynomials), strict=True):
        before.append(_times(before[-1], left))
        after.append(_times(after[-1], right))
    return [_times(b, a) for b, a in zip(before[:-1], reversed(after[:-1]), strict=True)]


def _allowed(others: Array, count: NDArray[np.intp], fewest: int, most: int) -> Array:
    """[kind, state] P(the other groups' ingredients make the number of all an allowed one)."""
    by_count = np.stack([others[:, max(0, fewest - n) : most - n + 1].sum(1) for n in range(most + 1)], axis=1)
    return by_count[:, np.minimum(count, most)] * (count <= most)
