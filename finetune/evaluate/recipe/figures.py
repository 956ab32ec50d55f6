"""Figures of label sets against the true ones: F1, IoU, precision and recall, with intervals that resample dishes.

Micro figures count labels over all dishes, as the paper's ingredient columns do (there F1 = 2 IoU / (1 + IoU)); those
that begin with `sample_` are means over dishes, as its action columns are. `f1_head`, `_mid` and `_tail` are micro F1
of the labels of that band alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.agents.recipe.judge import SETS, LabelSet
from loopwright.tools.recipe.extract import kitchen_vocabularies
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import plan_dish, seeds_of
from loopwright.tools.recipe.labels import BANDS, Band, bands

Floats = NDArray[np.float64]
RESAMPLES = 1000
COUNTED = 2000
"""Training dishes by which labels are head, mid and tail; the rewards of GRPO count the same."""


class Pair(NamedTuple):
    """What was said of one dish, and what is true."""

    said: frozenset[str]
    true: frozenset[str]


class Figures(NamedTuple):
    """Figures by name, and the 95 % intervals of all of them."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def named(self, prefix: str) -> "Figures":
        """The same under longer names."""
        return Figures(
            {f"{prefix}{name}": value for name, value in self.values.items()},
            {f"{prefix}{name}": value for name, value in self.intervals.items()},
        )

    def __or__(self, other: "Figures") -> "Figures":
        """Both."""
        return Figures(self.values | other.values, self.intervals | other.intervals)


def label_figures(pairs: Sequence[Pair], band_of: Mapping[str, Band]) -> Figures:
    """All figures of one label set over some dishes.

    Args:
        pairs: one for each dish.
        band_of: of every label.
    """
    counts = _counts(pairs)
    by_band = {
        band: _counts(
            [Pair(*(frozenset(n for n in side if band_of.get(n) == band) for side in pair)) for pair in pairs]
        )
        for band in BANDS
    }
    of_sample = _samples(counts)

    def figures(rows: NDArray[np.intp]) -> dict[str, Floats]:
        hits, said, true = (counts[rows, column].sum(-1) for column in range(3))
        found = {
            "f1": _ratio(2 * hits, said + true),
            "iou": _ratio(hits, said + true - hits),
            "precision": _ratio(hits, said),
            "recall": _ratio(hits, true),
            "labels_per_dish": said / rows.shape[-1],
        }
        found |= {f"sample_{name}": values[rows].mean(-1) for name, values in of_sample.items()}
        for band, own in by_band.items():
            hits, said, true = (own[rows, column].sum(-1) for column in range(3))
            found[f"f1_{band}"] = _ratio(2 * hits, said + true)
        return found

    return with_intervals(figures, len(pairs))


def with_intervals(figures: Callable[[NDArray[np.intp]], dict[str, Floats]], n: int) -> Figures:
    """Figures of n dishes, and of resampled ones: `figures` takes indices (..., n) and gives values (...)."""
    values = {name: float(value) for name, value in figures(np.arange(n)).items()}
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    bounds = {name: np.quantile(found, [0.025, 0.975]) for name, found in figures(draws).items()}
    return Figures(values, {name: (float(low), float(high)) for name, (low, high) in bounds.items()})


def label_gain(before: Sequence[Pair], after: Sequence[Pair], band_of: Mapping[str, Band]) -> Figures:
    """Paired differences of micro F1 and precision, after minus before, of the same dishes; F1 of each band too."""
    groups: list[tuple[str, Callable[[str], bool]]] = [("", lambda _: True)]
    groups += [(f"_{band}", lambda label, band=band: band_of.get(label) == band) for band in BANDS]  # type: ignore[misc]
    counted = {
        name: [
            _counts([Pair(*(frozenset(filter(keep, side)) for side in pair)) for pair in of]) for of in (before, after)
        ]
        for name, keep in groups
    }

    def figures(rows: NDArray[np.intp]) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for name, sides in counted.items():
            scores = [[side[rows, column].sum(-1) for column in range(3)] for side in sides]
            f1 = [_ratio(2 * hits, said + true) for hits, said, true in scores]
            found[f"f1{name}"] = f1[1] - f1[0]
            if not name:
                precision = [_ratio(hits, said) for hits, said, _ in scores]
                found["precision"] = precision[1] - precision[0]
        return found

    return with_intervals(figures, len(before))


def average_precision(scored: Iterable[tuple[float, bool]]) -> float:
    """Of all labels of all dishes, ranked by their scores: (score, whether the dish has the label)."""
    true = np.array([is_true for _, is_true in sorted(scored, key=lambda one: -one[0])], dtype=np.float64)
    precision = true.cumsum() / np.arange(1, len(true) + 1)
    return float((precision * true).sum() / max(1.0, true.sum()))


@cache
def label_counts() -> dict[LabelSet, Counter[str]]:
    """How many of the first training dishes have each label."""
    found: dict[LabelSet, Counter[str]] = {
        what: Counter(dict.fromkeys(getattr(kitchen_vocabularies(), what).classes, 0)) for what in SETS
    }
    for seed in seeds_of("train", COUNTED):
        labels = plan_dish(bundled_kitchen(), seed).labels
        for what in SETS:
            found[what].update(getattr(labels, what))
    return found


def kitchen_bands() -> dict[LabelSet, dict[str, Band]]:
    """Head, mid and tail of simulated dishes."""
    return {what: bands(counts) for what, counts in label_counts().items()}


def _counts(pairs: Sequence[Pair]) -> Floats:
    """(N, 3) hits, labels said, labels true."""
    return np.array([(len(said & true), len(said), len(true)) for said, true in pairs], dtype=np.float64)


def _samples(counts: Floats) -> dict[str, Floats]:
    """(N,) figures of each dish; two empty sets agree."""
    hits, said, true = counts.T
    both_empty = (said + true) == 0
    found = {
        "f1": _ratio(2 * hits, said + true),
        "iou": _ratio(hits, said + true - hits),
        "precision": _ratio(hits, said),
        "recall": _ratio(hits, true),
    }
    return {name: np.where(both_empty, 1.0, values) for name, values in found.items()}


def _ratio(above: Floats, below: Floats) -> Floats:
    """Their quotient, 0 where nothing stands below."""
    return np.asarray(above / np.where(below > 0, below, 1.0))
