"""Rows of next-action prediction as Markdown: a line a predictor, every column with its N.

What Xu et al. 2025 print (their Table 1, of their own clips and test patients) stands below what was recorded.
"""

import math
from collections.abc import Sequence

from loopwright.finetune.evaluate.surgery import memory as surgery_memory
from loopwright.finetune.evaluate.surgery.next_action import DIFFERENCE, TOP, WHAT
from loopwright.finetune.measure.rows import Bar, Row
from loopwright.finetune.measure.tables import markdown_table

_COLUMNS = {"slacc": "SLAcc", "vlacc": "VLAcc", "re_slacc": "Re-SLAcc", "re_vlacc": "Re-VLAcc"}


_PAPER = (
    (".4561 / .5965 / .6667", ".5342 / .5931 / .6465", ".6744 / .8372 / .9767", ".7897 / .8921 / .9905"),
    (".4035 / .5789 / .6842", ".4837 / .5637 / .6632", ".7209 / .8837 / .9070", ".8248 / .9345 / .9524"),
    (".4561 / .7895 / .8596", ".5342 / .8305 / .8789", ".6744 / .9535 / .9767", ".7897 / .9667 / .9833"),
    (".4737 / .5439 / .6842", ".5431 / .5855 / .6598", ".6047 / .7442 / .9070", ".6730 / .8325 / .9476"),
)
_OF_PAPER = (
    "paper: Qwen2.5-72B, Indir, zero-shot",
    "paper: Qwen2-VL, Dir, zero-shot",
    "paper: Qwen2.5-32B-SFT, Indir",
    "paper: Qwen2-VL-72B-SFT, Dir",
)
"""Each over 57 samples of 15 videos, 43 of them relaxed."""


def markdown(rows: Sequence[Row], bars: Sequence[Bar] = ()) -> str:
    """A table of accuracies at 1 / 2 / 3 for each world and one of the differences at 1; of memory modes; the bars."""
    parts = [_of_world(rows, world) for world in dict.fromkeys(row.world for row in rows if row.what == WHAT)]
    if any(row.what == surgery_memory.WHAT for row in rows):
        parts.append(_of_memory(rows))
    if bars:
        lines = [(bar.name, _number(bar.value), _number(bar.wanted), "yes" if bar.is_met else "**no**") for bar in bars]
        parts.append(f"## Bars\n\n{markdown_table(('bar', 'measured', 'wanted', 'met'), lines)}")
    return "\n\n".join(parts) + "\n"


def _of_memory(rows: Sequence[Row]) -> str:
    """The ablation of the paper's Fig. 4: a line a model, a column a mode; and the differences between modes."""
    found = [row for row in rows if row.what == surgery_memory.WHAT]
    modes = list(surgery_memory.BEST_OF)
    of = {(row.model, row.variant): _with_interval(row) for row in found}
    lines = [(model, *(of[model, mode] for mode in modes)) for model in dict.fromkeys(row.model for row in found)]
    heads = [f"({number}) {mode}" for number, mode in zip(("i", "ii", "iii", "iv"), modes, strict=True)]
    title = f"## Memory modes, simulated: SLAcc@1 [95 %], N = {found[0].n:,} of {found[0].n_cases} patients"
    pairs = [(r.model, r.variant, _with_interval(r)) for r in rows if r.what == surgery_memory.DIFFERENCE]
    paired = markdown_table(("", "", "SLAcc@1 [95 %], paired"), pairs)
    return f"{title}\n\n{markdown_table(('', *heads), lines)}\n\n{paired}"


def _of_world(rows: Sequence[Row], world: str) -> str:
    of_world = [row for row in rows if row.world == world]
    found = [row for row in of_world if row.what == WHAT]
    counts = (found[0].n, found[0].n_cases, *(found[0].figures[f"{name}_relaxed"] for name in ("n", "n_cases")))
    heads = [f"{title}@1/2/3, N = {n:,.0f}" for title, n in zip(_COLUMNS.values(), counts, strict=True)]
    lines = [[row.model, _with_interval(row), *(_three(row, name) for name in _COLUMNS)] for row in found]
    if all("of_bayes1" in row.figures for row in found):
        heads.append("SLAcc@1 of Bayes'")
        lines = [[*line, _number(row.figures["of_bayes1"])] for line, row in zip(lines, found, strict=True)]
    paper = [(name, "", *cells) for name, cells in zip(_OF_PAPER, _PAPER, strict=True) if world == "recorded"]
    parts = [f"## Next action, {world}\n\n{markdown_table(('', 'SLAcc@1 [95 %]', *heads), [*lines, *paper])}"]
    pairs = [(row.model, row.variant, _with_interval(row)) for row in of_world if row.what == DIFFERENCE]
    if pairs:
        parts.append(markdown_table(("", "", f"SLAcc@1 [95 %], N = {found[0].n:,}, paired"), pairs))
    return "\n\n".join(parts)


def _three(row: Row, name: str) -> str:
    return " / ".join(_number(row.figures[f"{name}{k}"]) for k in TOP)


def _with_interval(row: Row) -> str:
    bounds = row.intervals.get("slacc1")
    return _number(row.figures["slacc1"]) + (f" [{', '.join(map(_number, bounds))}]" if bounds else "")


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if math.isfinite(value) else "-"
