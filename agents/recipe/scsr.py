"""Semantic Confidence Scoring and Rectification: which labels are kept, given a judge's scores.

After Liu et al., section 2.3, equations 10 and 11. A pure function: who scores, and how, it does not know.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import isfinite
from typing import Literal, NamedTuple

from loopwright.errors import BadInput

FEWEST = 3
"""The paper's n."""


class Scored(NamedTuple):
    """A label and how sure the judge is of it."""

    label: str
    confidence: float


class Selection(NamedTuple):
    """What is kept, the surest first, and how it came about: everything that a report needs."""

    labels: tuple[str, ...]
    rule: Literal["intersection", "top-n"]
    mean_before: float | None
    """The strict threshold of the initial labels; None where there are none."""
    mean_after: float | None
    """That of the rectified ones."""
    before: tuple[str, ...]
    """Initial labels above their mean, in the order given."""
    after: tuple[str, ...]
    """Rectified labels above their mean."""


def select(initial: Iterable[Scored], rectified: Iterable[Scored], fewest: int = FEWEST) -> Selection:
    """Keep the labels that are strictly above the mean on both sides; where these are fewer than `fewest`, the
    `fewest` surest of the union.

    A label that is scored twice on one side counts once there, with its larger confidence; so it does in the union.
    Equal confidences are ordered by label. Equal confidences throughout keep nothing above a mean, and so fall back;
    so do empty sides. With fewer labels than `fewest` in the union, all of them are kept.

    Args:
        initial: the predictor's labels with the judge's scores, k of them.
        rectified: the judge's own labels with its scores, m of them.
        fewest: n, 1 or more.

    Raises:
        BadInput: `fewest` is less than 1, or a confidence is no finite number.
    """
    if fewest < 1:
        raise BadInput(f"`fewest` = {fewest}; expected 1 or more.")
    sides = [_once(initial, "initial"), _once(rectified, "rectified")]
    means = [_mean(list(side.values())) for side in sides]
    (before, after) = (_above(side, mean) for side, mean in zip(sides, means, strict=True))
    union = {label: max(side[label] for side in sides if label in side) for side in sides for label in side}
    surest = sorted(union, key=lambda label: (-union[label], label))
    both = [label for label in surest if label in before and label in after]
    is_enough = len(both) >= fewest
    return Selection(
        labels=tuple(both if is_enough else surest[:fewest]),
        rule="intersection" if is_enough else "top-n",
        mean_before=None if means[0] is None else float(means[0]),
        mean_after=None if means[1] is None else float(means[1]),
        before=before,
        after=after,
    )


def _once(scored: Iterable[Scored], side: str) -> dict[str, float]:
    """Each label with its largest confidence."""
    found: dict[str, float] = {}
    for label, confidence in scored:
        if not isfinite(confidence):
            raise BadInput(f"`{side}`: {label!r} has the confidence {confidence}; expected a finite number.")
        found[label] = max(confidence, found.get(label, confidence))
    return found


def _mean(confidences: Sequence[float]) -> Fraction | None:
    """Exact, so that equal confidences are never above their mean by rounding."""
    return sum(map(Fraction, confidences), Fraction(0)) / len(confidences) if confidences else None


def _above(side: dict[str, float], mean: Fraction | None) -> tuple[str, ...]:
    return tuple(label for label, confidence in side.items() if mean is not None and Fraction(confidence) > mean)
