"""Judges of predicted labels: what goes together counts, and models that score are asked once."""

from typing import Any

import pytest

from loopwright.agents.recipe.judge import CountsJudge, ModelJudge, Prediction, plausible
from loopwright.tools.recipe.cooccurrence import count_pairs, kitchen_cooccurrence
from loopwright.tools.recipe.extract import kitchen_vocabularies
from loopwright.tools.recipe.labels import Labels

NOBODY: Any = None


def test_a_label_that_goes_with_the_others_is_judged_surer() -> None:
    judge = CountsJudge(kitchen_cooccurrence(), {})
    said = {
        "actions": Prediction(),
        "ingredients": Prediction(
            labels=("flour", "egg", "butter"),
            odds={"flour": 0.9, "egg": 0.9, "butter": 0.9, "sugar": 0.4, "salmon": 0.4},
        ),
    }
    found = judge.scores("ingredients", said, None, NOBODY)  # type: ignore[arg-type]
    sure = {one.label: one.confidence for one in found.rectified}
    assert [one.label for one in found.initial] == ["flour", "egg", "butter"]
    assert sure["sugar"] > 0.4 > sure["salmon"]


def test_without_other_labels_the_picture_alone_counts() -> None:
    said = {"actions": Prediction(), "ingredients": Prediction(labels=("egg",), odds={"egg": 0.7})}
    (one,) = CountsJudge(kitchen_cooccurrence(), {}).scores("ingredients", said, None, NOBODY).initial  # type: ignore[arg-type]
    assert one.confidence == pytest.approx(0.7)


def test_a_second_look_takes_the_place_of_the_predictors_odds() -> None:
    said = {"actions": Prediction(), "ingredients": Prediction(labels=("egg", "cod"), odds={"egg": 0.1, "cod": 0.9})}
    judge = CountsJudge(kitchen_cooccurrence(), {"ingredients": {"egg": 0.9, "cod": 0.05, "flour": 0.8}})
    found = judge.scores("ingredients", said, None, NOBODY)  # type: ignore[arg-type]
    assert [one.label for one in found.initial] == ["egg", "cod"]
    assert found.initial[0].confidence > 0.8 > 0.1 > found.initial[1].confidence
    assert [one.label for one in found.rectified] == ["egg", "flour"]


def test_an_empty_prediction_has_no_scores() -> None:
    said = {"actions": Prediction(), "ingredients": Prediction()}
    found = CountsJudge(kitchen_cooccurrence(), {}).scores("actions", said, None, NOBODY)  # type: ignore[arg-type]
    assert (found.initial, found.rectified) == ((), ())


def test_lift_is_of_pairs_and_shrinks_to_nothing_where_nothing_was_counted() -> None:
    pairs = [Labels(frozenset(), frozenset(names)) for names in (["a", "b"], ["a", "b"], ["c"], ["c"])] * 25
    counts = count_pairs(pairs)
    a, b, c, new = (("ingredients", name) for name in ("a", "b", "c", "new"))
    assert counts.lift(a, {b: 1.0}) > 0.5
    assert counts.lift(a, {c: 1.0}) < -1
    assert counts.lift(a, {new: 1.0}) == pytest.approx(0)
    assert counts.lift(a, {}) == counts.lift(a, {a: 1.0}) == 0


class Scoring:
    """Scores every choice, tomato best."""

    asked = 0

    def can_score(self, role: str) -> bool:
        return True

    def score(self, role: str, prompt: Any, choices: list[str], answer: Any) -> dict[str, float]:
        self.asked += 1
        return {choice: 0.3 if choice == "tomato" else 0.7 / (len(choices) - 1) for choice in choices}


def test_a_model_that_scores_is_asked_once_for_all_labels() -> None:
    asker: Any = Scoring()
    said: Any = {"actions": Prediction(), "ingredients": Prediction(labels=("tomato", "egg"))}
    found = ModelJudge(kitchen_vocabularies()).scores("ingredients", said, None, asker)
    assert asker.asked == 1
    assert [one.label for one in found.initial] == ["tomato", "egg"]
    assert found.initial[0].confidence == pytest.approx(0.6)
    assert [one.label for one in found.rectified] == ["tomato"]


def test_what_is_not_plausible_is_no_label_of_the_judges() -> None:
    assert [one.label for one in plausible({"a": 0.05, "b": 0.2, "c": 0.9})] == ["c", "b"]
