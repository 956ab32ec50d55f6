"""The recipe rows as Markdown: a table for each kind of row and world. Figures of labels are in hundredths, as in the
paper, whose lines stand below its tables' own.
"""

import math
from collections.abc import Mapping, Sequence

from loopwright.finetune.evaluate.recipe.labels import GAIN, LABELS, RANKING, SELECTION
from loopwright.finetune.evaluate.recipe.swaps import SWAP
from loopwright.finetune.evaluate.recipe.texts import TEXT
from loopwright.finetune.measure.rows import Bar, Row
from loopwright.finetune.measure.tables import markdown_table

_OF_LABELS = {
    "f1": "F1 [95 %]", "iou": "IoU", "recall": "recall", "precision": "precision", "sample_f1": "F1 a sample",
    "f1_head": "head", "f1_mid": "mid", "f1_tail": "tail", "strict_format": "form",
}  # fmt: skip
_OF_TEXTS = {
    "bleu": "SacreBLEU", "rouge_l": "ROUGE-L", "bertscore": "BERTScore",
    "actions_f1": "actions: F1 [95 %]", "actions_iou": "IoU", "actions_recall": "recall",
    "actions_precision": "precision", "actions_sample_f1": "F1 a sample",
    "ingredients_f1": "ingredients: F1 [95 %]", "ingredients_iou": "IoU", "ingredients_recall": "recall",
    "ingredients_precision": "precision", "ingredients_sample_f1": "F1 a sample", "strict_format": "form",
}  # fmt: skip
_OF_GAINS = {"f1": "F1", "precision": "precision", "f1_head": "head", "f1_mid": "mid", "f1_tail": "tail"}
_TITLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    LABELS: ("Labels (Tables 2 and 3)", _OF_LABELS),
    SELECTION: ("SCSR on and off", _OF_LABELS),
    RANKING: ("Average precision of scores", {"average_precision": "AP"}),
    TEXT: ("Instructions (Tables 1 and 4)", _OF_TEXTS),
    SWAP: ("Swapped labels (Fig. 1)", _OF_TEXTS),
    GAIN: ("Gains, paired [95 %]", _OF_GAINS),
}
_PAPER = (
    "Paper, Recipe1M (1,444 samples): LLaVA-FT 8.40 / 38.02 / 69.24, actions F1 39.59, ingredients F1 41.46; with its "
    "labels 8.08 / 41.08 / 69.98, 42.35, 47.24. Ingredient recognition 52.32 (SFT), 53.84 (RFT); actions 41.88, 39.51 "
    "without the F1 reward, 36.71 without the word reward. Other data, and another encoder for BERTScore."
)
_BOUNDED = ("f1", "actions_f1", "ingredients_f1")
_AS_IT_IS = ("bleu", "rouge_l", "bertscore")


def markdown(rows: Sequence[Row], bars: Sequence[Bar] = (), notes: Sequence[str] = ()) -> str:
    """All tables, then notes (signatures, encoders) and bars."""
    parts = []
    for kind, (title, columns) in _TITLES.items():
        for world in dict.fromkeys(row.world for row in rows if row.what == kind):
            found = [row for row in rows if (row.what, row.world) == (kind, world)]
            parts.append(f"## {title}, {world}, N = {found[0].n:,}\n\n{_table(found, columns)}")
    parts += [*notes, _PAPER]
    if bars:
        lines = [(b.name, f"{b.value:.4f}", f"{b.wanted:g}", "yes" if b.is_met else "**no**") for b in bars]
        parts.append(f"## Bars\n\n{markdown_table(('bar', 'measured', 'wanted', 'met'), lines)}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    shown = {name: head for name, head in columns.items() if any(name in row.figures for row in rows)}
    lines = [(row.model, row.variant, *(_cell(row, name) for name in shown)) for row in rows]
    return markdown_table(("", "", *shown.values()), lines)


def _cell(row: Row, name: str) -> str:
    value = row.figures.get(name, math.nan)
    scale = 1 if name in _AS_IT_IS else 100
    if not math.isfinite(value):
        return ""
    bounds = row.intervals.get(name) if name in _BOUNDED or row.what == GAIN else None
    sign = "+" if row.what == GAIN else ""
    return f"{scale * value:{sign}.1f}" + (f" [{scale * bounds[0]:.1f}, {scale * bounds[1]:.1f}]" if bounds else "")
