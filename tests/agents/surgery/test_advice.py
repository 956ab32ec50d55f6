"""What is recommended: in the order of the odds, but for what the surgeon wishes, with reasons in plain text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.desk import Desk

from loopwright.agents.surgery.advice import Advice, ModelAdviser, PolicyAdviser, Wish, ranked
from loopwright.agents.surgery.formats import PLAN
from loopwright.agents.surgery.history import MemorySettings, Step
from loopwright.agents.surgery.knowledge import bundled_knowledge
from loopwright.agents.surgery.planner import BayesPolicy, NgramPolicy
from loopwright.tools.surgery.procedure import DUCT_CLIPPED, PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

WISHES = st.builds(
    Wish,
    first=st.none() | st.sampled_from(ACTIONS),
    denied=st.lists(st.sampled_from(ACTIONS), unique=True, max_size=3).map(tuple),
    words=st.text(max_size=400),
)
TRUTHS = st.builds(
    VisibleState,
    progress=st.integers(0, len(PROGRESS) - 1),
    bleeding=st.sampled_from(["none", "oozing", "pooling"]),
)


@given(st.dictionaries(st.sampled_from(ACTIONS), st.floats(0, 1), min_size=3), WISHES)
def test_the_order_is_that_of_the_odds_but_for_the_wish(odds: dict[Action, float], wish: Wish) -> None:
    order = ranked(odds, wish)
    assert sorted(order) == sorted(odds)
    if wish.first in odds:
        assert order[0] == wish.first
    rest: list[Action] = [action for action in order if action != wish.first]
    allowed: list[Action] = [action for action in rest if action not in wish.denied]
    assert rest[: len(allowed)] == allowed
    for part in (allowed, rest[len(allowed) :]):
        assert [odds[action] for action in part] == sorted((odds[action] for action in part), reverse=True)


@given(st.sampled_from(ACTIONS), TRUTHS, WISHES)
def test_reasons_that_code_writes_are_in_the_form_of_a_plan(action: Action, truth: VisibleState, wish: Wish) -> None:
    steps = [Step(action="Tissue Retraction"), Step(action=action, truth=truth)]
    nobody: Any = None  # no model is asked
    counted = PolicyAdviser(NgramPolicy(), "ngram", bundled_knowledge())
    for adviser in (counted, PolicyAdviser(BayesPolicy(), "bayes", bundled_knowledge())):
        advice = adviser.advise(steps, wish, "", nobody)
        assert PLAN.parse(advice.plan.model_dump_json()) == advice.plan
        assert Advice.model_validate(advice.model_dump(mode="json")) == advice


@pytest.mark.parametrize("truth", [None, VisibleState(progress=DUCT_CLIPPED, bleeding="none")])
def test_nobody_is_told_when_to_clip_after_both_are_clipped(truth: VisibleState | None) -> None:
    nobody: Any = None
    clipped = [Step(action="Vessel Clipping"), Step(action="Dissection"), Step(action="Vessel Clipping")]
    adviser = PolicyAdviser(NgramPolicy(), "ngram", bundled_knowledge())
    before = adviser.advise([Step(action="Dissection")], Wish(), "", nobody)
    after = adviser.advise([*clipped, Step(action="Dissection", truth=truth)], Wish(), "", nobody)
    assert before.plan.safety.startswith("Clip nothing before")
    assert after.plan.safety == "Keep close to the gallbladder."


def test_a_model_without_scores_is_asked_once_and_its_order_is_taken(desk: Desk) -> None:
    said = (
        '{"progress":"Early.","safety":"Slowly.","actions":[{"action":"Coagulation","rationale":"It oozes."},'
        '{"action":"Dissection","rationale":"Then go on."},{"action":"Aspiration","rationale":"Or clear it."}]}'
    )
    consult, model = desk.scripted(said)
    adviser = ModelAdviser(MemorySettings(), bundled_knowledge())
    advice = adviser.advise([Step(action="Tissue Retraction")], Wish(), "", consult)
    assert advice.plan == PLAN.parse(said)
    assert list(advice.probabilities) == ["Coagulation", "Dissection", "Aspiration", "Vessel Clipping"]
    assert sum(advice.probabilities.values()) == pytest.approx(1)
    assert len(model.prompts) == 1


def test_a_last_action_that_is_not_shown_may_be_named_and_is_not_recommended(desk: Desk) -> None:
    items = [f'{{"action":"{a}","rationale":"So."}}' for a in ("Dissection", "Coagulation", "Aspiration")]
    consult, _ = desk.scripted(f'{{"progress":"Early.","safety":"Slowly.","actions":[{",".join(items)}]}}')
    adviser = ModelAdviser(MemorySettings(mode="near"), bundled_knowledge())
    advice = adviser.advise([Step(action="Dissection")], Wish(), "", consult)
    assert advice.plan.ranking[:2] == ("Coagulation", "Aspiration")
    assert advice.plan.actions[2].rationale == "The model did not name it."
    assert advice.probabilities["Coagulation"] == pytest.approx(0.8)
    assert "Dissection" not in advice.probabilities


def test_what_the_surgeon_wishes_moves_in_a_plan_that_a_model_wrote(desk: Desk) -> None:
    items = [f'{{"action":"{a}","rationale":"So."}}' for a in ("Coagulation", "Dissection", "Aspiration")]
    consult, _ = desk.scripted(f'{{"progress":"Early.","safety":"Slowly.","actions":[{",".join(items)}]}}')
    adviser = ModelAdviser(MemorySettings(), bundled_knowledge())
    wish = Wish(first="Vessel Clipping", denied=("Coagulation",), words="clip now, do not coagulate")
    advice = adviser.advise([Step(action="Tissue Retraction")], wish, "", consult)
    assert advice.plan.ranking == ("Vessel Clipping", "Dissection", "Aspiration")
    assert "clip now" in advice.plan.actions[0].rationale
    assert advice.is_asked_for
