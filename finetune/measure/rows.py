"""Rows of an evaluation: one JSON object a line, every figure with its N and interval, the last line a summary."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike
from pydantic import Field

from loopwright.finetune.measure.intervals import Interval, cluster_bootstrap
from loopwright.schema import Frozen, canonical_json

CHANGE = "change"
"""The `model` of a row that compares two models case by case."""


class Row(Frozen):
    """One line: what was measured on what, by what, how often, and the figures.

    `intervals` holds the 95 % cluster-bootstrap bounds of the figures that were averaged over cases; one case has none.
    """

    what: str = Field(description="localisation, conformal, navigation ...")
    world: str
    model: str
    variant: str = Field(default="", description="views, candidates or level: whatever tells rows apart")
    n: int
    n_cases: int
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Flat and plain: figures beside the rest, `NAME_ci` for an interval; a NaN figure is null."""
        head = self.model_dump(exclude={"figures", "intervals"})
        figures = {k: round(v, 4) if math.isfinite(v) else None for k, v in self.figures.items()}
        return head | figures | {f"{k}_ci": [round(b, 4) for b in bounds] for k, bounds in self.intervals.items()}


class Bar(NamedTuple):
    """A figure that was promised: met where `value >= wanted`."""

    name: str
    value: float
    wanted: float

    @property
    def is_met(self) -> bool:
        """False for NaN too: what could not be measured was not met."""
        return self.value >= self.wanted


def averaged(
    what: str, world: str, model: str, variant: str, values: dict[str, ArrayLike], clusters: Sequence[str]
) -> Row:
    """A row from per-view (or per-run) `values`, each (n,), with intervals over `clusters` (n,), NaN left out."""
    found: dict[str, Interval] = {name: cluster_bootstrap(v, clusters) for name, v in values.items()}
    return Row(
        what=what,
        world=world,
        model=model,
        variant=variant,
        n=len(clusters),
        n_cases=len(set(clusters)),
        figures={name: i.mean for name, i in found.items()},
        intervals={name: (i.low, i.high) for name, i in found.items() if math.isfinite(i.low + i.high)},
    )


def summary(what: str, bars: Iterable[Bar]) -> dict[str, Any]:
    """The last line: each bar, and whether all were met; null where nothing was held to one."""
    listed = [
        {
            "name": b.name,
            "value": round(b.value, 4) if math.isfinite(b.value) else None,
            "wanted": b.wanted,
            "met": b.is_met,
        }
        for b in bars
    ]
    return {"summary": what, "bars": listed, "bars_met": all(b["met"] for b in listed) if listed else None}


def json_lines(rows: Iterable[Row], last: dict[str, Any]) -> list[str]:
    """The lines to print."""
    return [canonical_json(row.as_json()) for row in rows] + [canonical_json(last)]
