"""What is recommended: in the order of the odds, but for what the surgeon prefers, with reasons in plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.asking import ModelAsker

from loopwright.agents.surgery.advice import Advice, ModelPlanner, PolicyPlanner, Preference, ranked, weighed
from loopwright.agents.surgery.formats import PLAN
from loopwright.agents.surgery.history import MemorySettings, Step
from loopwright.agents.surgery.knowledge import bundled_knowledge
from loopwright.agents.surgery.policies import BayesPolicy, NgramPolicy
from loopwright.models.scripted import ScriptedChatModel
from loopwright.tools.surgery.procedure import DUCT_CLIPPED, PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

WISHES = st.builds(
    Preference,
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
def test_the_order_is_that_of_the_odds_but_for_the_preference(
    odds: dict[Action, float], preference: Preference
) -> None:
    order = ranked(odds, preference)
    assert sorted(order) == sorted(odds)
    if preference.first in odds:
        assert order[0] == preference.first
    rest: list[Action] = [action for action in order if action != preference.first]
    allowed: list[Action] = [action for action in rest if action not in preference.denied]
    assert rest[: len(allowed)] == allowed
    for part in (allowed, rest[len(allowed) :]):
        assert [odds[action] for action in part] == sorted((odds[action] for action in part), reverse=True)


@given(st.sampled_from(ACTIONS), TRUTHS, WISHES)
def test_reasons_that_code_writes_are_in_the_form_of_a_plan(
    action: Action, truth: VisibleState, preference: Preference
) -> None:
    steps = [Step(action="Tissue Retraction"), Step(action=action, truth=truth)]
    nobody = ModelAsker()
    counted = PolicyPlanner(NgramPolicy(), "ngram", bundled_knowledge())
    for planner in (counted, PolicyPlanner(BayesPolicy(), "bayes", bundled_knowledge())):
        advice = planner.plan(steps, preference, "", nobody)
        assert PLAN.parse(advice.plan.model_dump_json()) == advice.plan
        assert Advice.model_validate(advice.model_dump(mode="json")) == advice


@pytest.mark.parametrize("truth", [None, VisibleState(progress=DUCT_CLIPPED, bleeding="none")])
def test_nobody_is_told_when_to_clip_after_both_are_clipped(truth: VisibleState | None) -> None:
    nobody = ModelAsker()
    clipped = [Step(action="Vessel Clipping"), Step(action="Dissection"), Step(action="Vessel Clipping")]
    planner = PolicyPlanner(NgramPolicy(), "ngram", bundled_knowledge())
    before = planner.plan([Step(action="Dissection")], Preference(), "", nobody)
    after = planner.plan([*clipped, Step(action="Dissection", truth=truth)], Preference(), "", nobody)
    assert before.plan.safety.startswith("Clip nothing before")
    assert after.plan.safety == "Keep close to the gallbladder."


def test_a_model_without_scores_is_asked_once_and_its_order_is_taken() -> None:
    said = (
        '{"progress":"Early.","safety":"Slowly.","actions":[{"action":"Coagulation","rationale":"It oozes."},'
        '{"action":"Dissection","rationale":"Then go on."},{"action":"Aspiration","rationale":"Or clear it."}]}'
    )
    model = ScriptedChatModel(replies=(said,))
    planner = ModelPlanner(MemorySettings(), bundled_knowledge())
    advice = planner.plan([Step(action="Tissue Retraction")], Preference(), "", ModelAsker(model))
    assert advice.plan == PLAN.parse(said)
    assert list(advice.probabilities) == ["Coagulation", "Dissection", "Aspiration", "Vessel Clipping"]
    assert sum(advice.probabilities.values()) == pytest.approx(1)
    assert len(model.prompts) == 1


def test_a_last_action_that_is_not_shown_may_be_named_and_is_not_recommended() -> None:
    items = [f'{{"action":"{a}","rationale":"So."}}' for a in ("Dissection", "Coagulation", "Aspiration")]
    model = ScriptedChatModel(replies=(f'{{"progress":"Early.","safety":"Slowly.","actions":[{",".join(items)}]}}',))
    planner = ModelPlanner(MemorySettings(mode="near"), bundled_knowledge())
    advice = planner.plan([Step(action="Dissection")], Preference(), "", ModelAsker(model))
    assert advice.plan.ranking[:2] == ("Coagulation", "Aspiration")
    assert advice.plan.actions[2].rationale == "The model did not name it."
    assert advice.probabilities["Coagulation"] == pytest.approx(0.8)
    assert "Dissection" not in advice.probabilities


def test_what_the_surgeon_prefers_moves_in_a_plan_that_a_model_wrote() -> None:
    items = [f'{{"action":"{a}","rationale":"So."}}' for a in ("Coagulation", "Dissection", "Aspiration")]
    model = ScriptedChatModel(replies=(f'{{"progress":"Early.","safety":"Slowly.","actions":[{",".join(items)}]}}',))
    planner = ModelPlanner(MemorySettings(), bundled_knowledge())
    preference = Preference(first="Vessel Clipping", denied=("Coagulation",), words="clip now, do not coagulate")
    advice = planner.plan([Step(action="Tissue Retraction")], preference, "", ModelAsker(model))
    assert advice.plan.ranking == ("Vessel Clipping", "Dissection", "Aspiration")
    assert "clip now" in advice.plan.actions[0].rationale
    assert advice.is_asked_for


@given(
    st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
    st.dictionaries(st.sampled_from(ACTIONS), st.integers(0, 50)),
)
def test_earlier_choices_draw_the_odds_towards_themselves(weights: list[float], chosen: dict[Action, int]) -> None:
    odds: dict[Action, float] = {a: w / sum(weights) for a, w in zip(ACTIONS, weights, strict=True)}
    after = weighed(odds, chosen)
    assert sum(after.values()) == pytest.approx(1)
    n = sum(chosen.values())
    for action in ACTIONS:
        share = chosen.get(action, 0) / n if n else odds[action]
        low, high = sorted((odds[action], share))
        assert low - 1e-9 <= after[action] <= high + 1e-9


def test_what_was_chosen_often_enough_comes_first_and_is_told_so() -> None:
    steps = [Step(action="Tissue Retraction")]
    planner = PolicyPlanner(NgramPolicy(), "ngram", bundled_knowledge())
    alone = planner.plan(steps, Preference(), "", ModelAsker())
    seldom = min(alone.probabilities, key=alone.probabilities.__getitem__)
    advice = planner.plan(steps, Preference(), "", ModelAsker(), {seldom: 40})
    assert advice.first == seldom
    assert "chosen 40 of 40 times" in advice.plan.actions[0].rationale
