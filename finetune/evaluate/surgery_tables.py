"""Rows of next-action prediction as Markdown: a line a predictor, every column with its N."""

from collections.abc import Sequence

from loopwright.finetune.evaluate.rows import Row
from loopwright.finetune.evaluate.surgery import DIFFERENCE, TOP, WHAT

_COLUMNS = {"slacc": "SLAcc", "vlacc": "VLAcc", "re_slacc": "Re-SLAcc", "re_vlacc": "Re-VLAcc"}


def markdown(rows: Sequence[Row]) -> str:
    """A table of accuracies at 1 / 2 / 3 for each world, and one of the differences at 1."""
    parts = []
    for world in dict.fromkeys(row.world for row in rows):
        of_world = [row for row in rows if row.world == world]
        found = [row for row in of_world if row.what == WHAT]
        counts = (found[0].n, found[0].n_cases, *(found[0].figures[f"{name}_relaxed"] for name in ("n", "n_cases")))
        heads = [f"{title}@1/2/3, N = {n:,.0f}" for title, n in zip(_COLUMNS.values(), counts, strict=True)]
        lines = [(row.model, _with_interval(row), *(_three(row, name) for name in _COLUMNS)) for row in found]
        parts.append(f"## Next action, {world}\n\n{_table(('', 'SLAcc@1 [95 %]', *heads), lines)}")
        pairs = [(row.model, row.variant, _with_interval(row)) for row in of_world if row.what == DIFFERENCE]
        if pairs:
            title = f"SLAcc@1 [95 %], N = {found[0].n:,}, paired"
            parts.append(_table(("", "", title), pairs))
    return "\n\n".join(parts) + "\n"


def _three(row: Row, name: str) -> str:
    return " / ".join(_number(row.figures[f"{name}{k}"]) for k in TOP)


def _with_interval(row: Row) -> str:
    bounds = row.intervals.get("slacc1")
    return _number(row.figures["slacc1"]) + (f" [{', '.join(map(_number, bounds))}]" if bounds else "")


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))
