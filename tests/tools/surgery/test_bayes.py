"""The best predictor: exact against brute force, calibrated on what it predicts, and better than n-grams."""

import itertools
from collections import Counter

import numpy as np
import pytest

from loopwright.errors import BadInput
from loopwright.tools.surgery.bayes import KNOWN, BayesScore, Known, bayes_score, next_action, population_score
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, Procedure
from loopwright.tools.surgery.simulator import Moment, seeds_of, simulate
from loopwright.tools.surgery.statistics import START
from loopwright.tools.surgery.vocabulary import ACTIONS, Action


@pytest.fixture(scope="module")
def patients(procedure: Procedure) -> list[list[Moment]]:
    return [list(simulate(procedure, seed)) for seed in seeds_of("test", 60)]


@pytest.fixture(scope="module")
def scores(procedure: Procedure, patients: list[list[Moment]]) -> dict[Known, BayesScore]:
    return {known: bayes_score(procedure, known, patients) for known in KNOWN}


def brute_force(procedure: Procedure, actions: list[int]) -> list[float]:
    """P(next | actions, another follows) by adding up every way in which what is visible may have gone."""
    states = list(itertools.product(range(len(PROGRESS)), range(len(BLEEDING))))
    ways: list[tuple[tuple[int, int], float]] = [(state, float(procedure.initial[state])) for state in states]
    before, now = START, START
    for following in actions:
        grown = []
        for here, weight in ways:
            if now != START:
                weight *= (1 - procedure.end[here]) * procedure.policy[(before, now, *here, following)]
            grown += [(after, float(weight * procedure.dynamics[(following, *here, *after)])) for after in states]
        ways = [(state, weight) for state, weight in grown if weight]
        before, now = now, following
    odds = np.zeros(len(ACTIONS))
    for here, weight in ways:
        odds += weight * (1 - procedure.end[here]) * procedure.policy[(before, now, *here)]
    return [float(p) for p in odds / odds.sum()]


@pytest.mark.parametrize("names", ["R", "RD", "RDRD", "DCDR", "RACR"])
def test_without_vision_the_filter_is_exact(procedure: Procedure, names: str) -> None:
    initials = {name[0]: name for name in ACTIONS if name != "Tissue Retraction"} | {"R": "Tissue Retraction"}
    actions: list[Action] = [action for letter in names for action in ACTIONS if action == initials[letter]]
    odds = next_action(procedure, "history", actions)
    expected = brute_force(procedure, [ACTIONS.index(action) for action in actions])
    assert list(odds.values()) == pytest.approx(expected)


@pytest.mark.parametrize("known", KNOWN)
def test_the_expected_score_is_what_comes(scores: dict[Known, BayesScore], known: Known) -> None:
    score = scores[known]
    for expected, hit in zip(score.expected, score.hit, strict=True):
        assert hit == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / score.n) + 1e-9)


def test_who_knows_more_predicts_better(scores: dict[Known, BayesScore]) -> None:
    top1 = {known: score.expected[0] for known, score in scores.items()}
    assert top1["history+frame"] > top1["frame+action"] + 0.01 > top1["frame"] + 0.05
    assert top1["history+frame"] > top1["history"] + 0.05
    for score in scores.values():
        assert score.expected[0] < score.expected[1] < score.expected[2] <= 1


@pytest.mark.parametrize("known", ["history+frame", "frame+action", "frame"])
def test_the_sum_over_all_procedures_is_what_a_sample_tends_to(
    procedure: Procedure, scores: dict[Known, BayesScore], known: Known
) -> None:
    assert scores[known].expected == pytest.approx(population_score(procedure, known), abs=0.02)


def test_no_trigram_beats_the_best_without_vision(
    procedure: Procedure, patients: list[list[Moment]], scores: dict[Known, BayesScore]
) -> None:
    """A trigram that is fitted to other patients is a predictor as any: it may come near, never above."""
    counts: dict[tuple[Action, ...], Counter[Action]] = {}
    for seed in seeds_of("train", 150):
        actions: list[Action] = [moment.clip.action for moment in simulate(procedure, seed)]
        for i in range(2, len(actions)):
            counts.setdefault(tuple(actions[i - 2 : i]), Counter())[actions[i]] += 1
    hits = n = 0
    for moments in patients:
        known: list[Action] = [moment.clip.action for moment in moments]
        for i in range(1, len(known)):
            seen = counts.get(tuple(known[max(0, i - 2) : i]), Counter({"Tissue Retraction": 1}))
            hits, n = hits + (seen.most_common(1)[0][0] == known[i]), n + 1
    assert n == scores["history"].n
    assert hits / n < scores["history"].hit[0] < scores["history+frame"].hit[0]


def test_what_cannot_be_answered_is_refused(procedure: Procedure, patients: list[list[Moment]]) -> None:
    with pytest.raises(BadInput, match="no clip yet"):
        next_action(procedure, "history", [])
    with pytest.raises(BadInput, match="needs `last`"):
        next_action(procedure, "frame", ["Dissection"])
    with pytest.raises(BadInput, match="cannot have come about by itself"):
        next_action(procedure, "history", ["Tissue Retraction", "Vessel Clipping", "Dissection"])
    with pytest.raises(BadInput, match="use `bayes_score`"):
        population_score(procedure, "history")
    with pytest.raises(BadInput, match="two clips or more"):
        bayes_score(procedure, "history", [patients[0][:1]])
