"""The two label sets of a dish: what was done, and what is in it."""

from collections.abc import Iterable, Mapping, Set
from typing import Literal, NamedTuple, Self, get_args

from pydantic import Field, model_validator

from loopwright.schema import Frozen

Band = Literal["head", "mid", "tail"]
BANDS: tuple[Band, ...] = get_args(Band)


class Labels(NamedTuple):
    """Names of actions and ingredients."""

    actions: frozenset[str] = frozenset()
    ingredients: frozenset[str] = frozenset()


class BandRules(Frozen):
    """Which labels are head, mid and tail. The paper (section 2.1) does not say; these are by share of occurrences."""

    head_share: float = Field(default=0.6, ge=0, le=1, description="the most frequent labels that make up so much")
    tail_share: float = Field(default=0.1, ge=0, le=1, description="the rarest labels that make up so much")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.head_share + self.tail_share > 1:
            raise ValueError(f"`head_share` {self.head_share} and `tail_share` {self.tail_share} sum to more than 1")
        return self


def bands(counts: Mapping[str, int], rules: BandRules = BandRules()) -> dict[str, Band]:  # noqa: B008 - frozen
    """The band of every label, by how often it occurs. Equal counts are ordered by name.

    A label is head where those before it make up less than `head_share`, tail where they make up 1 - `tail_share` or
    more, else mid; head goes first.
    """
    total = sum(counts.values())
    found: dict[str, Band] = {}
    before = 0
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        is_tail = before >= (1 - rules.tail_share) * total
        found[name] = "head" if before < rules.head_share * total else "tail" if is_tail else "mid"
        before += counts[name]
    return found


def only_common(labels: Iterable[str], counts: Mapping[str, int], top: int = 55) -> bool:
    """Whether all labels are among the `top` most frequent: the paper (section 3.2) drops such samples."""
    common = sorted(counts, key=lambda name: (-counts[name], name))[:top]
    return set(labels) <= set(common)


def f1(predicted: Set[str], true: Set[str]) -> float:
    """F1 of one sample's labels; two empty sets agree."""
    if not predicted and not true:
        return 1.0
    return 2 * len(predicted & true) / (len(predicted) + len(true))
