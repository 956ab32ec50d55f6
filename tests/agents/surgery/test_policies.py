"""Policies of the next action: probabilities over what may come next, from counts or from a model."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models import tiny

from loopwright.agents.surgery.history import MemoryMode, MemorySettings, Step, imagined
from loopwright.agents.surgery.knowledge import bundled_knowledge
from loopwright.agents.surgery.policies import BayesPolicy, ModelPolicy, NgramPolicy, admissible, next_action_question
from loopwright.errors import BadInput
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.scripted import ScriptedChatModel
from loopwright.tools.surgery.bayes import next_action
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, VisibleState, bundled_procedure
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.statistics import fit_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

PASTS = st.lists(st.sampled_from(ACTIONS), max_size=12).map(
    lambda actions: [Step(action=a) for a, before in zip(actions, [None, *actions], strict=False) if a != before]
)


def _clips(*actions: Action) -> list[Clip]:
    return [
        Clip(video="V", index=i, action=a, start_s=10 * i, end_s=10 * i + 9, labelled_s=10)
        for i, a in enumerate(actions)
    ]


@given(PASTS)
def test_an_ngram_policy_spreads_one_over_what_may_come_next(steps: list[Step]) -> None:
    odds = NgramPolicy().next_action(steps)
    assert tuple(odds) == admissible(steps)
    assert sum(odds.values()) == pytest.approx(1)
    assert min(odds.values()) > 0


def test_an_ngram_policy_looks_two_back_and_whether_anything_was_clipped() -> None:
    before = _clips(*("Dissection", "Tissue Retraction") * 3, "Vessel Clipping", "Aspiration", "Tissue Retraction")
    after = _clips("Dissection", "Vessel Clipping", *("Dissection", "Tissue Retraction", "Coagulation") * 4)
    policy = NgramPolicy(fit_statistics([before, after]))

    def likeliest(*actions: Action) -> Action:
        odds = policy.next_action([Step(action=action) for action in actions])
        return max(odds, key=lambda action: odds[action])

    assert likeliest("Dissection", "Tissue Retraction") == "Dissection"
    assert likeliest("Vessel Clipping", "Dissection", "Tissue Retraction") == "Coagulation"
    assert likeliest() == "Dissection"


def test_a_policy_is_kept_to_the_choices_of_its_procedure() -> None:
    odds = NgramPolicy(choices=("Dissection", "Coagulation", "Aspiration")).next_action([Step(action="Dissection")])
    assert set(odds) == {"Coagulation", "Aspiration"}


def test_exact_odds_are_those_of_the_procedure_and_sum_over_what_nobody_saw() -> None:
    procedure, policy = bundled_procedure(), BayesPolicy()
    first, second = list(simulate(procedure, 7))[:2]
    seen = [Step(action=moment.clip.action, truth=moment.state) for moment in (first, second)]
    actions: list[Action] = [first.clip.action, second.clip.action]
    known = next_action(procedure, "history+frame", actions, second)
    odds = policy.next_action(seen)
    assert odds == pytest.approx({action: known[action] for action in odds})
    assert actions[-1] not in odds
    planned = max(odds, key=lambda action: odds[action])
    after = policy.next_action(imagined(seen, [planned]))
    places = [VisibleState(progress=p, bleeding=b) for p in range(len(PROGRESS)) for b in BLEEDING]
    before, now, start = ACTIONS.index(actions[-1]), ACTIONS.index(planned), second.state
    weights = [
        procedure.dynamics[now, start.progress, BLEEDING.index(start.bleeding), s.progress, BLEEDING.index(s.bleeding)]
        * (1 - procedure.end[s.progress, BLEEDING.index(s.bleeding)])
        for s in places
    ]
    rows = [procedure.policy[before, now, s.progress, BLEEDING.index(s.bleeding)] for s in places]
    expected = np.average(rows, axis=0, weights=weights)
    assert after == pytest.approx({action: expected[ACTIONS.index(action)] for action in after})


def test_exact_odds_are_kept_to_the_choices_too() -> None:
    moment = next(iter(simulate(bundled_procedure(), 7)))
    steps = [Step(action=moment.clip.action, truth=moment.state)]
    all_odds = BayesPolicy().next_action(steps)
    least = min(all_odds, key=all_odds.__getitem__)
    odds = BayesPolicy(choices=[action for action in ACTIONS if action != least]).next_action(steps)
    total = sum(all_odds[action] for action in odds)
    assert odds == pytest.approx({a: p / total for a, p in all_odds.items() if a != least})


def test_exact_odds_need_the_truth() -> None:
    with pytest.raises(BadInput, match="simulated"):
        BayesPolicy().next_action([Step(action="Dissection")])


def test_a_model_is_shown_the_view_the_goal_and_the_words_and_never_offered_the_last_action() -> None:
    with ScriptedChatModel(replies=("Coagulation",)) as model:
        policy = ModelPolicy(model, MemorySettings(mode="all"))
        steps = [
            Step(action="Tissue Retraction"),
            Step(action="Dissection", duration_s=30, caption="Instruments: hook."),
        ]
        odds = policy.next_action(steps, goal="the duct is clipped", words="it is bleeding")
    (prompt,) = model.prompts
    asked = prompt[-1].text
    assert "Goal: the duct is clipped" in asked
    assert "it is bleeding" in asked
    assert "hook" in asked
    assert odds["Coagulation"] == pytest.approx(0.8)
    assert "Dissection" not in odds
    assert sum(odds.values()) == pytest.approx(1)


@pytest.mark.parametrize("mode", ["image-action", "near", "near-action", "all"])
def test_a_question_tells_the_last_action_only_where_the_view_does(mode: MemoryMode) -> None:
    asked = [
        next_action_question(
            [Step(action="Aspiration"), Step(action=last, duration_s=9, caption="A hook.")],
            MemorySettings(mode=mode),
            bundled_knowledge(),
        )
        for last in ("Dissection", "Coagulation")
    ]
    one, other = ((question.messages, question.choices, question.answer.grammar().text) for question in asked)
    assert (one == other) == (mode == "near")
    assert ("Dissection" in asked[0].choices) == (mode == "near")


def test_a_last_action_that_is_not_shown_is_offered_and_never_follows() -> None:
    with ScriptedChatModel(replies=("Dissection",)) as model:
        odds = ModelPolicy(model, MemorySettings(mode="near")).next_action([Step(action="Dissection", caption="Fog.")])
    assert odds == pytest.approx(dict.fromkeys((a for a in ACTIONS if a != "Dissection"), 0.25))


def test_a_local_model_is_asked_of_many_pasts_in_one_batch_and_says_the_same() -> None:
    card = ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl")))
    policy = ModelPolicy(LocalChatModel(card=card, images=tiny.Pictures()))
    seen = [Step(action="Dissection", duration_s=9, caption="A hook.")]
    pasts = [seen, imagined(seen, ["Coagulation"]), imagined(seen, ["Aspiration", "Dissection"])]
    one_by_one = [policy.next_action(steps) for steps in pasts]
    scoring = patch.object(
        LocalChatModel, "score_choices_of", autospec=True, side_effect=LocalChatModel.score_choices_of
    )
    with scoring as asked:
        for together, alone in zip(policy.next_actions(pasts), one_by_one, strict=True):
            assert together == pytest.approx(alone, abs=1e-5)
    assert [len(call.args[1]) for call in asked.call_args_list] == [3]
