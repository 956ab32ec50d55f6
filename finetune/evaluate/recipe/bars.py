"""What the recipe loop has to reach on simulated dishes, and whether it did; what could not be measured was not met."""

import math
from collections.abc import Sequence

from loopwright.agents.recipe.scsr import FEWEST
from loopwright.finetune.evaluate.recipe.labels import GAIN, LABELS, SELECTION
from loopwright.finetune.evaluate.recipe.texts import TEXT
from loopwright.finetune.measure.rows import Bar, Row

TAIL_GAIN = 0.05
ABOVE_ZERO = 0.0001
RFT, ABLATIONS = "rft", ("rft-f1", "rft-word")
"""Names of adapters that are held to bars: after reinforcement, and without a part of its reward."""


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """The bars of what was measured."""
    found = []
    for row in (r for r in rows if r.what == GAIN and r.model == RFT and r.variant.startswith("actions, over")):
        found.append(Bar(f"{RFT}: F1 of tail actions gained", row.figures["f1_tail"], TAIL_GAIN))
        found.append(Bar(f"{RFT}: F1 of head actions gained", row.figures["f1_head"], 0.0))
    f1 = {row.model: row.figures["f1"] for row in rows if row.what == LABELS and row.variant == "actions"}
    found += [
        Bar(f"{RFT} over {name}: F1 of actions gained", f1.get(RFT, math.nan) - f1[name], ABOVE_ZERO)
        for name in ABLATIONS
        if name in f1
    ]
    if any(row.what == SELECTION for row in rows):
        for row in (r for r in rows if r.what == GAIN and r.model.endswith(f", n = {FEWEST}")):
            what = row.variant.split(",")[0]
            for figure in ("precision", "f1"):
                found.append(Bar(f"{row.model}: {figure} of {what} gained", row.figures[figure], ABOVE_ZERO))
    for row in (r for r in rows if r.what == GAIN and " of texts" in r.variant):
        what = row.variant.split(" ")[0]
        found.append(Bar(f"{row.model}: lower end of F1 of {what} gained", row.intervals["f1"][0], ABOVE_ZERO))
    formats = [row.figures["strict_format"] for row in rows if "strict_format" in row.figures and row.world != "photos"]
    if formats:
        found.append(Bar("answers in their form", min(formats), 1.0))
    return found


def headline(rows: Sequence[Row]) -> dict[str, float | int]:
    """The figures that a reader looks for first, with N: F1 of labels and of texts."""
    told: dict[str, float | int] = {}
    for row in rows:
        if row.world == "simulated" and row.what in (LABELS, TEXT):
            names = ("f1",) if row.what == LABELS else ("actions_f1", "ingredients_f1")
            told |= {
                f"{row.what} {row.model} {row.variant}: {name}".replace("  ", " "): round(row.figures[name], 4)
                for name in names
            }
            told["n"] = row.n
    return told
