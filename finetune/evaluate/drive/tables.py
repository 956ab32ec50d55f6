"""Rows of open-loop driving as Markdown: each convention named in its head, every row with its N."""

from collections.abc import Sequence

from loopwright.finetune.evaluate.drive.baselines import REFERENCE
from loopwright.finetune.evaluate.drive.metrics import SECONDS
from loopwright.finetune.evaluate.drive.openloop import DIFFERENCE, TRUTH, WHAT
from loopwright.finetune.measure.rows import Bar, Row
from loopwright.finetune.measure.tables import markdown_table

NUSCENES = "nuscenes"
_AT, _TO = "at 1 / 2 / 3 s, avg (UniAD)", "mean to 1 / 2 / 3 s, avg (ST-P3)"
_PAPER = (
    ("paper: VLA-World, Qwen2-VL-2B", "", "0.11 / 0.27 / 0.52, 0.30"),
    ("paper: VLA-World, Qwen2.5-VL-3B", "", "0.05 / 0.08 / 0.76, 0.29"),
    ("paper: VLA-World, Qwen2-VL-7B", "", "0.03 / 0.03 / 0.47, 0.18"),
    ("paper: VLA-World, 2B without mixed training", "", "0.27 / 0.47 / 0.73, 0.49"),
)
"""On nuScenes' validation part, 6,019 samples."""


def markdown(rows: Sequence[Row], bars: Sequence[Bar] = ()) -> str:
    """For each world a table of errors, one of collisions and one of differences to constant velocity; the bars."""
    parts = [_of_world(rows, world) for world in dict.fromkeys(row.world for row in rows)]
    if bars:
        lines = [(bar.name, f"{bar.value:.3f}", f"{bar.wanted:g}", "yes" if bar.is_met else "**no**") for bar in bars]
        parts.append(f"## Bars\n\n{markdown_table(('bar', 'measured', 'wanted', 'met'), lines)}")
    return "\n\n".join(parts) + "\n"


def _of_world(rows: Sequence[Row], world: str) -> str:
    found = [row for row in rows if (row.what, row.world) == (WHAT, world)]
    n, logs, shares = found[0].n, found[0].n_cases, found[0].figures
    errors = [(row.model, _four(row, "l2"), _four(row, "l2_to"), _read(row)) for row in found if row.model != TRUTH]
    errors += [(*line, "") for line in _PAPER if world == NUSCENES]
    hits: list[tuple[str, ...]] = [
        (row.model, _four(row, "collision"), _four(row, "collision_to"), _four(row, "collision_any"),
         _four(row, "boxes_any"))
        for row in found
    ]  # fmt: skip
    known = f"{shares['known_3s']:.0%} with a truth at 3 s, {shares['with_agents']:.0%} with agents"
    parts = [
        f"## Open loop, {world}: {n:,} samples, {logs} log{'s' * (logs > 1)}, {known}; {found[0].variant}",
        markdown_table(("L2, m", _AT, _TO, "parsed / N"), errors),
    ]
    if shares["with_agents"]:
        heads = ("collisions, %", _AT, _TO, "any to 1 / 2 / 3 s, avg", "any, exact boxes")
        parts.append(markdown_table(heads, hits))
    if pairs := [row for row in rows if (row.what, row.world) == (DIFFERENCE, world)]:
        paired = [(row.model, _interval(row, "l2_3s"), _interval(row, "l2_to_avg")) for row in pairs]
        titles = (f"minus {REFERENCE}, m", "L2 at 3 s [95 % over logs]", "L2 avg (ST-P3) [95 % over logs]")
        parts.append(markdown_table(titles, paired))
    return "\n\n".join(parts)


def _four(row: Row, name: str) -> str:
    at = " / ".join(f"{row.figures[f'{name}_{second}s']:.2f}" for second in SECONDS)
    return f"{at}, {row.figures[f'{name}_avg']:.2f}"


def _read(row: Row) -> str:
    return f"{round(row.figures['parsed'] * row.n)} / {row.n}"


def _interval(row: Row, name: str) -> str:
    bounds = row.intervals.get(name)
    return f"{row.figures[name]:+.2f}" + (f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else "")
