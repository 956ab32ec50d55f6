"""What the judge and SCSR make of predicted labels, on unseen simulated dishes: precision, recall and F1 with and
without, and whether the judge's scores rank labels better than the predictor's own.

Micro F1 counts labels over all dishes, as the paper's ingredient columns do; intervals resample dishes. Average
precision ranks all labels of all dishes by their scores.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.agents.recipe.judge import COUNTS_WEIGHT, SETS, CountsJudge, LabelSet, Prediction
from loopwright.agents.recipe.scsr import FEWEST, select
from loopwright.models.networks.recipe import DishRecogniser
from loopwright.schema import Frozen
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.kitchen.plan import Part, seeds_of

Floats = NDArray[np.float64]
RESAMPLES = 1000
MORE = 6
"""Another n than the paper's: about as many labels as a dish has."""


class SelectionRow(Frozen):
    """One set of labels under one rule: micro figures over N dishes, with the 95 % interval of F1."""

    what: LabelSet
    rule: str
    n: int
    labels_per_dish: float
    precision: float
    recall: float
    f1: float
    f1_ci: tuple[float, float]


class RankingRow(Frozen):
    """Average precision of scores over all labels of N dishes."""

    what: LabelSet
    scores: str
    n: int
    average_precision: float


class Measured(NamedTuple):
    """All rows."""

    selections: list[SelectionRow]
    rankings: list[RankingRow]


Predict = Callable[[SimulatedDish], Mapping[LabelSet, Prediction]]


def measure(
    network: DishRecogniser,
    dishes: int,
    *,
    predict: Predict | None = None,
    part: Part = "test",
    weight: float = COUNTS_WEIGHT,
) -> Measured:
    """The counts' judge, who looks again through the network, over the first dishes of a part.

    Args:
        network: the judge's second look; and the predictor, where there is no other one.
        dishes: how many.
        predict: another predictor.
        part: of the simulated dishes.
        weight: of the counts.
    """
    predict = predict or (lambda dish: predicted(network, dish))
    kept: dict[tuple[LabelSet, str], list[tuple[set[str], frozenset[str]]]] = {}
    scores: dict[tuple[LabelSet, str], list[tuple[float, bool]]] = {}
    for seed in seeds_of(part, dishes):
        dish = SimulatedDish(seed)
        said = predict(dish)
        again = network.recognise(dish.image(SIZE_PX), turned=True)
        judge = CountsJudge(kitchen_cooccurrence(), {what: again[what].odds for what in SETS}, weight)
        for what in SETS:
            true = getattr(dish.labels, what)
            judged = judge.scores(what, said, None, None)  # type: ignore[arg-type]
            rules = {f"SCSR, n = {n}": select(judged.initial, judged.rectified, n).labels for n in (FEWEST, MORE)}
            own = {one.label: one.confidence for one in judged.all}
            for rule, labels in {"predicted": said[what].labels, **rules}.items():
                kept.setdefault((what, rule), []).append((set(labels), true))
            for name, odds in (("predictor", said[what].odds), ("judge", own)):
                scores.setdefault((what, name), []).extend((p, label in true) for label, p in odds.items())
    return Measured(
        [_row(what, rule, pairs) for (what, rule), pairs in kept.items()],
        [
            RankingRow(what=what, scores=name, n=dishes, average_precision=_ranked(s))
            for (what, name), s in scores.items()
        ],
    )


def predicted(network: DishRecogniser, dish: SimulatedDish) -> Mapping[LabelSet, Prediction]:
    """What the network says of a dish."""
    found = network.recognise(dish.image(SIZE_PX))
    return {what: Prediction(labels=found[what].labels, odds=found[what].odds) for what in SETS}


def _row(what: LabelSet, rule: str, pairs: Sequence[tuple[set[str], frozenset[str]]]) -> SelectionRow:
    hits, said, true = _counts(pairs)
    draws = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    resampled = 2 * hits[draws].sum(1) / (said[draws].sum(1) + true[draws].sum(1))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return SelectionRow(
        what=what,
        rule=rule,
        n=len(pairs),
        labels_per_dish=float(said.mean()),
        precision=float(hits.sum() / max(1, said.sum())),
        recall=float(hits.sum() / max(1, true.sum())),
        f1=float(2 * hits.sum() / (said.sum() + true.sum())),
        f1_ci=(float(low), float(high)),
    )


def _counts(pairs: Sequence[tuple[set[str], frozenset[str]]]) -> tuple[Floats, Floats, Floats]:
    """Hits, predicted and true labels of each dish."""
    found = np.array([(len(labels & true), len(labels), len(true)) for labels, true in pairs], dtype=np.float64)
    return found[:, 0], found[:, 1], found[:, 2]


def _ranked(scored: Sequence[tuple[float, bool]]) -> float:
    """Average precision."""
    true = np.array([is_true for _, is_true in sorted(scored, key=lambda one: -one[0])], dtype=np.float64)
    precision = true.cumsum() / np.arange(1, len(true) + 1)
    return float((precision * true).sum() / max(1.0, true.sum()))
