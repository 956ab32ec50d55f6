"""Figures of label sets: what they are worth, and what SCSR makes of a known predictor and of the network."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from loopwright.agents.recipe.judge import SETS, CountsJudge, LabelSet, Prediction
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.recipe.cases import (
    Case,
    Roles,
    by_frequency,
    by_network,
    by_posterior,
    simulated_cases,
)
from loopwright.finetune.evaluate.recipe.figures import Pair, average_precision, label_figures, label_gain
from loopwright.finetune.evaluate.recipe.labels import judged, labels_of, pairs_of, selection_rows
from loopwright.models.networks.recipe import load_network
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.labels import Band

NAMES = [f"label_{n}" for n in range(6)]
BAND_OF: dict[str, Band] = {n: "head" if n < "label_2" else "mid" if n < "label_4" else "tail" for n in NAMES}


def drawn(seed: int, dishes: int = 40) -> tuple[list[Pair], np.ndarray, np.ndarray]:
    """Random label sets, and the same as (said, true) indicators."""
    said, true = np.random.default_rng(seed).random((2, dishes, len(NAMES))) < 0.4
    named = [[frozenset(np.array(NAMES)[row].tolist()) for row in side] for side in (said, true)]
    return [Pair(*pair) for pair in zip(*named, strict=True)], said, true


def test_figures_are_those_of_scikit_learn() -> None:
    pairs, said, true = drawn(0)
    found = label_figures(pairs, BAND_OF).values
    for name, score in (
        ("f1", f1_score),
        ("iou", jaccard_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        assert found[name] == pytest.approx(score(true, said, average="micro"))
    tail = [n for n, name in enumerate(NAMES) if BAND_OF[name] == "tail"]
    assert found["f1_tail"] == pytest.approx(f1_score(true[:, tail], said[:, tail], average="micro"))


def test_intervals_hold_their_figures_and_gains_are_paired() -> None:
    before, after = drawn(1)[0], [Pair(pair.true, pair.true) for pair in drawn(1)[0]]
    found = label_figures(before, BAND_OF)
    low, high = found.intervals["f1"]
    assert low < found.values["f1"] < high
    gain = label_gain(before, after, BAND_OF)
    assert gain.values["f1"] == pytest.approx(1 - found.values["f1"])
    assert gain.intervals["f1"] == pytest.approx((1 - high, 1 - low))
    assert label_gain(before, before, BAND_OF).intervals["f1"] == (0, 0)


def test_average_precision_goes_by_the_ranking() -> None:
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)]) == pytest.approx((1 + 2 / 3) / 2)


def guess(case: Case) -> Mapping[LabelSet, Prediction]:
    """Half of the truth, and as many labels that are wrong."""
    found: dict[LabelSet, Prediction] = {}
    for what in SETS:
        true = sorted(case.true(what))
        wrong = [name for name in getattr(case.dish.known, what).classes if name not in true][: len(true)]
        found[what] = Prediction(labels=(*true, *wrong))
    return found


@pytest.fixture(scope="module")
def cases() -> Sequence[Case]:
    return simulated_cases("test", 12, PngStore())


def test_a_judge_who_looks_again_raises_the_precision_of_a_blind_predictor(cases: Sequence[Case]) -> None:
    said = [guess(case) for case in cases]
    looked = by_network(cases, load_network(), turned=True)
    judges = [CountsJudge(kitchen_cooccurrence(), {what: one[what].odds for what in SETS}) for one in looked]
    rows = selection_rows(cases, "blind", said, {"counts": judged(cases, said, judges, Roles({}, PngStore()))})
    by = {(row.what, row.variant): row for row in rows}
    gained = {row.variant.split(",")[0]: row for row in rows if row.what == "gain" and row.model.endswith("n = 3")}
    for what in SETS:
        blind, rectified = by["selection", f"{what}, off"], by["selection", f"{what}, SCSR by counts, n = 3"]
        assert (blind.figures["precision"], blind.figures["recall"], blind.n) == (0.5, 1.0, 12)
        assert rectified.figures["precision"] > 0.6
        assert gained[what].figures["precision"] > 0.1
        more = by["selection", f"{what}, SCSR by counts, n = 6"]
        assert more.figures["labels_per_dish"] >= rectified.figures["labels_per_dish"]
        assert 0 < by["ranking", f"{what}, by counts"].figures["average_precision"] <= 1


def test_nothing_is_better_than_the_exact_posterior_and_everything_than_the_most_frequent(
    cases: Sequence[Case],
) -> None:
    for what in SETS:
        f1 = [
            label_figures(pairs_of(cases, labels_of(said), what), {}).values["f1"]
            for said in (by_frequency(cases), by_network(cases, load_network()), by_posterior(cases))
        ]
        assert f1 == sorted(f1)
