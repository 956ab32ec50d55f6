"""What models of the next action have to reach, and whether they did; what could not be measured was not met."""

import math
from collections.abc import Iterable, Sequence

from loopwright.finetune.evaluate.surgery.memory import COMPARED
from loopwright.finetune.evaluate.surgery.memory import DIFFERENCE as MEMORY_DIFFERENCE
from loopwright.finetune.evaluate.surgery.next_action import DIFFERENCE, WHAT
from loopwright.finetune.measure.rows import Bar, Row

OF_BAYES = 0.95
OVER_NGRAMS = 0.03
UNDER_BOOSTING = -0.02
ABOVE_ZERO = 0.0001
"""Least lower end of an interval that excludes 0."""
NGRAMS = ("no-repeat", "bigram", "trigram", "stage-trigram", "phase-bigram")
_TUNED = "-sft"
HELD = "indir-sft"
"""Who is held to the bars on recorded patients: who reads labels in words, for few of the clips have pictures."""


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """The bars of the worlds among `rows`; none where no fine-tuned model was measured in any."""
    tuned = [row for row in rows if row.model.endswith(_TUNED)]
    bars = [
        Bar(f"{row.model}, simulated: share of Bayes' top-1", row.figures["of_bayes1"], OF_BAYES)
        for row in tuned
        if row.what == WHAT and row.world == "simulated"
    ]
    if tuned and any(row.what == WHAT and row.world == "recorded" for row in rows):
        over = _best(rows, "recorded", [HELD]) - _best(rows, "recorded", NGRAMS)
        bars.append(Bar(f"{HELD}, recorded: top-1 over the best n-gram", over, OVER_NGRAMS))
        low = _low(rows, DIFFERENCE, "recorded", HELD, "minus boosting+seen")
        bars.append(Bar(f"{HELD}, recorded: lower end of top-1 minus boosting", low, UNDER_BOOSTING))
    for model in dict.fromkeys(row.model for row in tuned if row.what == MEMORY_DIFFERENCE):
        for more, less in COMPARED:
            low = _low(rows, MEMORY_DIFFERENCE, "simulated", model, f"{more} minus {less}")
            bars.append(Bar(f"{model}: lower end of memory {more} minus {less}", low, ABOVE_ZERO))
    return bars


def _best(rows: Iterable[Row], world: str, models: Sequence[str]) -> float:
    """The best top-1 accuracy of these models; NaN where none was measured."""
    found = [row.figures["slacc1"] for row in rows if (row.what, row.world) == (WHAT, world) and row.model in models]
    return max(found, default=math.nan)


def _low(rows: Iterable[Row], what: str, world: str, model: str, variant: str) -> float:
    """The lower end of a difference's interval; NaN where it was not measured, or over one patient."""
    found = [r for r in rows if (r.what, r.world, r.model, r.variant) == (what, world, model, variant)]
    return found[0].intervals.get("slacc1", (math.nan, math.nan))[0] if found else math.nan
