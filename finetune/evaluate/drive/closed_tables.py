"""Rows of closed-loop driving as Markdown, every row with its N and interval."""

from collections.abc import Sequence
from math import isfinite

from loopwright.finetune.evaluate.drive.closed import PRESENT, WHAT
from loopwright.finetune.measure.rows import CHANGE, Bar, Row
from loopwright.finetune.measure.tables import markdown_table

_HEADS = (
    "driver", "N", "collisions per 100 [95 %]", "at fault", "off road", "arrived", "progress, m", "speed, m/s [95 %]",
    "TTC", "comfort", "PDMS-like [95 %]",
)  # fmt: skip
_CHANGE_HEADS = (
    f"minus {PRESENT}", "collisions per 100 [95 %]", f"only {PRESENT} / only this", "McNemar p", "gap recovered",
    "speed, m/s [95 %]", "PDMS-like [95 %]",
)  # fmt: skip


def markdown(rows: Sequence[Row], bars: Sequence[Bar] = ()) -> str:
    """For each scenario a table of drivers and one of differences to the present frame; the bars."""
    parts = []
    for world in dict.fromkeys(row.world for row in rows):
        found = [row for row in rows if (row.what, row.world) == (WHAT, world)]
        parts.append(f"## Closed loop, {world}")
        parts.append(markdown_table(_HEADS, [_line(row) for row in found]))
        if changes := [row for row in rows if (row.what, row.world) == (CHANGE, world)]:
            parts.append(markdown_table(_CHANGE_HEADS, [_change(row) for row in changes]))
    if bars:
        lines = [(bar.name, f"{bar.value:.3f}", f"{bar.wanted:g}", "yes" if bar.is_met else "**no**") for bar in bars]
        parts.append(f"## Bars\n\n{markdown_table(('bar', 'measured', 'wanted', 'met'), lines)}")
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> tuple[str, ...]:
    figures = row.figures
    counts = [f"{figures[name]:.0f}" for name in ("at_fault_100", "off_road_100", "arrived_100")]
    return (
        row.model, str(row.n), _of(row, "collisions_100", ".0f"), *counts, f"{figures['progress_m']:.0f}",
        _of(row, "speed_mps", ".2f"), f"{figures['ttc']:.3f}", f"{figures['comfort']:.3f}", _of(row, "pdms", ".3f"),
    )  # fmt: skip


def _change(row: Row) -> tuple[str, ...]:
    figures = row.figures
    recovered = f"{figures['recovered']:.0%}" if isfinite(figures["recovered"]) else ""
    return (
        row.model, _of(row, "collisions_100", "+.0f"), f"{figures['only_present']:.0f} / {figures['only_this']:.0f}",
        f"{figures['p']:.3g}", recovered, _of(row, "speed_mps", "+.2f"), _of(row, "pdms", "+.3f"),
    )  # fmt: skip


def _of(row: Row, name: str, form: str) -> str:
    low, high = row.intervals.get(name, (None, None))
    bounds = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
    return f"{row.figures[name]:{form}}{bounds}"
