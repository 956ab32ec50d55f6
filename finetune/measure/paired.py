"""Two systems on the same cases: whether one of them succeeds more often."""

from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import binomtest

from loopwright.errors import BadInput


class McNemar(NamedTuple):
    """The cases on which only one of two has an outcome, and how likely so uneven a split is by chance."""

    only_first: int
    only_second: int
    p: float
    """Exact and two-sided; 1 where they never differ."""


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's exact test of two outcomes, case by case."""
    if len(first) != len(second):
        raise BadInput(f"{len(first)} outcomes of the first and {len(second)} of the second; expected as many.")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    p = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p)
