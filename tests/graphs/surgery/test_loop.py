"""The surgery loop through its public door: sessions over simulated and recorded videos, and a surgeon who speaks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.oracle import Replays
from tests.graphs.surgery.conftest import SEED, Operate
from tests.scenario import payloads, saying

from loopwright.agents.surgery.feedback import Correction
from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import redraw_session
from loopwright.graphs.surgery import LOOP, nodes
from loopwright.memory import Memory
from loopwright.schema import Event
from loopwright.tools.surgery.bayes import next_action
from loopwright.tools.surgery.procedure import bundled_procedure
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.vocabulary import Action

NO = "No, it is bleeding, coagulate first!"


def seen(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What was observed."""
    return [p["output"] for p in payloads(events, "observed")]


def plans(events: Sequence[Event], step: int) -> list[list[str]]:
    """The rankings of the plans that were made at a step."""
    found = [e.payload for e in events if e.kind == "planned" and e.step == step]
    return [[ranked["action"] for ranked in p["plan"]["actions"]] for p in found]


def acts(memory: Memory, session: Session, tool: str) -> list[dict[str, Any]]:
    entries = [e for e in memory.ledger.of(session.id) if e.act.tool == tool]
    return [e.act.arguments for e in entries if e.outcome is not None and e.outcome.status == "done"]


def test_a_clip_is_observed_recalled_described_planned_checked_reviewed_and_recorded(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate()
    events = list(session.stream())
    assert session.status == "succeeded"
    kinds = ["observed", "recalled", "captioned", "planned", "validated", "acted", "acted", "scored"]
    assert [e.kind for e in events if e.step == 1 and e.kind in kinds] == kinds
    assert events == memory.events.read(session.id)
    replays(session)
    assert redraw_session(memory, session.id, LOOP) == (5, 0.0, True)


def test_the_exact_odds_rank_what_is_planned_and_the_score_is_what_really_came(operate: Operate) -> None:
    session = operate(planner="bayes", clips=8)
    events = list(session.stream())
    moments = list(simulate(bundled_procedure(), SEED))[:8]
    tops = [0, 0, 0]
    for step in range(7):
        actions: list[Action] = [moment.clip.action for moment in moments[: step + 1]]
        odds = next_action(bundled_procedure(), "history+frame", actions, moments[step])
        planned = next(e.payload for e in events if e.kind == "planned" and e.step == step)
        assert planned["probabilities"] == pytest.approx({a: p for a, p in odds.items() if a != actions[-1]})
        ranking = [ranked["action"] for ranked in planned["plan"]["actions"]]
        assert ranking[0] == max(odds, key=lambda a: odds[a])
        came = moments[step + 1].clip.action
        for k in (1, 2, 3):
            tops[k - 1] += came in ranking[:k]
    tally = session.state["tally"]
    assert [tally["n"], tally["top_1"], tally["top_2"], tally["top_3"]] == [7, *tops]


def test_the_past_comes_from_the_memory_as_labels_and_near_clips(operate: Operate) -> None:
    events = list(operate(near_steps=2).stream())
    recalled = [p["found"] for p in payloads(events, "recalled")]
    actions = [p["action"] for p in seen(events)]
    captions = [p["caption"] for p in payloads(events, "captioned")]
    assert recalled[0] == {"earlier": [], "steps": [], "n_omitted": 0}
    assert [run["label"] for run in recalled[4]["earlier"]] == actions[:3]
    near = [row["detail"]["step"] for row in recalled[4]["steps"]]
    assert [(step["action"], step["caption"]) for step in near] == [(actions[3], captions[3])]


def test_a_surgeon_changes_the_plan_at_once_and_teaches_by_it(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate()
    events = saying(session, {("observed", 1): NO})
    before, after = plans(events, 1)
    assert after[0] == "Coagulation" != before[0]
    assert before[0] not in after[:2]
    assert acts(memory, session, "record_plan")[1]["actions"] == after
    entry = [e for e in memory.ledger.of(session.id) if e.act.tool == "record_plan"][1]
    assert entry.approved_by == "human"
    (event,) = memory.events.corrections("surgery")
    learned = Correction.model_validate(event.payload)
    observed = seen(events)
    assert (learned.action, learned.denied, learned.words) == ("Coagulation", (before[0],), NO)
    assert [step.action for step in learned.steps] == [p["action"] for p in observed[:2]]
    assert learned.steps[-1].caption == payloads(events, "captioned")[1]["caption"]
    assert not payloads(events, "scored")[1]["is_counted"]
    assert session.state["tally"]["n"] == 3
    replays(session)


def test_what_was_denied_never_comes_first_again_for_this_clip(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate(approval="human", clips=2)
    firsts = []
    for _ in range(3):
        assert session.run() == "waiting"
        firsts.append(plans(memory.events.read(session.id), 0)[-1][0])
        session.say("no")
    assert session.run() == "waiting"
    firsts.append(plans(memory.events.read(session.id), 0)[-1][0])
    assert len(set(firsts)) == 4
    session.say("no")  # nothing is left
    assert session.run() == "succeeded"
    assert acts(memory, session, "record_plan") == []
    assert payloads(memory.events.read(session.id), "scored")[0]["rank"] is None
    replays(session)


def test_where_nothing_is_left_the_surgeon_is_asked(operate: Operate, memory: Memory, replays: Replays) -> None:
    session = operate(on_uncertain="ask", sure_from=0.0, clips=2)
    saying(session, {("observed", 0): "do not retract, do not coagulate, do not clip, do not aspirate"})
    assert session.status == "waiting"
    assert payloads(memory.events.read(session.id), "asked")[-1]["question"]["about"] == "exhausted"
    session.say("keep going")
    assert session.run() == "waiting"
    session.say("coagulate")
    assert session.run() == "succeeded"
    assert acts(memory, session, "record_plan")[0]["actions"][0] == "Coagulation"
    replays(session)


def test_a_no_counts_even_where_the_action_that_is_asked_for_is_under_way(operate: Operate, memory: Memory) -> None:
    session = operate(clips=3)
    events = saying(session, {("planned", 1): "no, it slips, retract first"})
    assert seen(events)[1]["action"] == "Tissue Retraction"
    before, after = plans(events, 1)
    assert after[0] not in (before[0], "Tissue Retraction")
    (event,) = memory.events.corrections("surgery")
    assert Correction.model_validate(event.payload).denied == (before[0],)


def test_each_correction_holds_what_its_own_message_says(operate: Operate, memory: Memory, replays: Replays) -> None:
    session = operate(clips=3)
    events = saying(
        session,
        {
            ("recalled", 1): "coagulate again",
            ("captioned", 1): "it is oozing",
            ("planned", 1): "no",
            ("validated", 1): "clip the duct",
        },
    )
    (first, *_), *_ = plans(events, 1)
    learned = [Correction.model_validate(e.payload) for e in memory.events.corrections("surgery")]
    assert [(one.words, one.action, one.denied) for one in learned] == [
        ("no", None, (first,)),
        ("clip the duct", "Vessel Clipping", ()),
    ]
    replays(session)


def test_what_was_ruled_out_and_then_named_after_all_is_learned_as_named(operate: Operate, memory: Memory) -> None:
    session = operate(clips=2, approval="human")
    session.run()
    assert plans(memory.events.read(session.id), 0)[-1][0] == "Tissue Retraction"
    session.say("no")
    assert session.run() == "waiting"
    session.say("retract")
    assert session.run() == "succeeded"
    learned = [Correction.model_validate(e.payload) for e in memory.events.corrections("surgery")]
    assert [(one.words, one.action, one.denied) for one in learned] == [("retract", "Tissue Retraction", ())]


def test_what_is_said_when_nothing_is_left_is_heeded_and_learned(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate(on_uncertain="ask", sure_from=0.0, clips=2)
    no = "do not retract, do not dissect, do not coagulate, do not clip, do not aspirate"
    saying(session, {("observed", 0): no})
    session.say("the goal is another dissection")
    assert session.run() == "waiting"
    session.say("coagulate")
    session.run()
    events = memory.events.read(session.id)
    assert payloads(events, "planned")[-1]["plan"]["actions"][0]["rationale"] == "The surgeon asks for it: coagulate"
    learned = [Correction.model_validate(e.payload) for e in memory.events.corrections("surgery")]
    assert [one.action for one in learned] == [None, "Coagulation"]
    assert {one.goal for one in learned} == {"the next Dissection"}
    assert "Coagulation" not in learned[0].denied
    replays(session)


def test_words_that_correct_nothing_teach_nothing(operate: Operate, memory: Memory) -> None:
    session = operate(clips=3)
    events = saying(session, {("observed", 0): "note: a stone", ("observed", 1): "dissection next"})
    assert plans(events, 1)[-1][0] == "Dissection"
    assert memory.events.corrections("surgery") == []


@pytest.mark.parametrize(("on_uncertain", "status"), [("ask", "waiting"), ("proceed", "succeeded"), ("stop", "failed")])
def test_an_unsure_plan_asks_proceeds_or_stops(operate: Operate, on_uncertain: str, status: str) -> None:
    session = operate(sure_from=1.0, on_uncertain=on_uncertain)
    assert session.run() == status


def test_rules_annotate_and_never_reorder(operate: Operate) -> None:
    events = list(operate(clips=3).stream())
    (note,) = payloads(events, "validated")[0]["notes"]
    assert (note["rank"], note["action"], note["rule"]) == (3, "Vessel Clipping", "unseen vessels")
    assert plans(events, 0)[0][2] == "Vessel Clipping"


def test_a_yes_approves_nothing_that_was_not_asked_before_it(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate(approval="human", clips=2)
    saying(session, {("observed", 0): "approve"})
    assert session.status == "waiting"
    assert acts(memory, session, "record_plan") == []
    session.say("approve")
    assert session.run() == "succeeded"
    assert memory.ledger.of(session.id)[0].approved_by == "human"
    replays(session)
    careless = operate(perform="plan", clips=10, video="simulated:2000038")
    before = list(careless.stream())
    refused = [e.step for e in before if e.kind == "guarded" and not e.payload["ok"]]
    eager = operate(perform="plan", clips=10, video="simulated:2000038")
    events = saying(eager, {("planned", step): "approve" for step in refused})
    assert [e.step for e in events if e.kind == "guarded" and not e.payload["ok"]] == refused


def test_what_was_not_understood_is_clarified_whatever_follows_it(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate(on_uncertain="ask", sure_from=0.0, clips=2)
    saying(session, {("observed", 0): "do not clip until the duct is seen", ("recalled", 0): "clip the duct"})
    assert session.status == "waiting"
    assert session.run() == "waiting"  # silence settles nothing
    (question,) = payloads(memory.events.read(session.id), "asked")
    assert "do not clip until" in question["question"]["text"]
    session.say("do not clip")
    assert session.run() == "succeeded"
    assert acts(memory, session, "record_plan")[0]["actions"][0] != "Vessel Clipping"
    replays(session)


def test_a_stop_is_no_answer(operate: Operate, memory: Memory) -> None:
    session = operate(approval="human")
    events = []
    for event in session.stream(wait=True):
        events.append(event)
        if event.kind == "asked":
            session.say("STOP")
    assert session.status == "stopped"
    assert [e.kind for e in events[-2:]] == ["asked", "stopped"]
    assert len(payloads(events, "asked")) == 1


def test_a_stop_withdraws_what_was_asked_and_neither_loses_nor_doubles_a_record(
    operate: Operate, memory: Memory, replays: Replays
) -> None:
    session = operate(approval="human", clips=2)
    assert session.run() == "waiting"
    session.say("approve")
    session.say("STOP")
    assert session.status == "stopped"
    assert session.run() == "waiting"  # the yes is withdrawn too
    assert acts(memory, session, "record_plan") == []
    session.say("approve")
    assert session.run() == "succeeded"
    assert len(acts(memory, session, "record_plan")) == len(acts(memory, session, "next_clip")) == 1
    assert payloads(session.events, "asked")[-1]["question"]["text"].startswith("May I recommend Tissue Retraction?")
    replays(session)


def test_the_simulator_performs_what_the_surgeon_asks_for(operate: Operate, memory: Memory) -> None:
    session = operate(perform="asked")
    events = saying(session, {("observed", 1): NO})
    assert seen(events)[2]["action"] == "Coagulation"
    assert acts(memory, session, "next_clip")[:3] == [{}, {"instead": "Coagulation"}, {}]
    assert redraw_session(memory, session.id, LOOP) == (5, 0.0, True)


def test_a_plan_that_a_rule_objects_to_is_performed_only_where_a_human_asks_for_it(
    operate: Operate, memory: Memory
) -> None:
    session = operate(perform="plan", clips=3)
    events = saying(session, {("observed", 0): "clip first"})
    assert seen(events)[1]["action"] == "Vessel Clipping"
    careless = operate(perform="plan", clips=10, video="simulated:2000038")
    events = list(careless.stream())
    refused = [e.step for e in events if e.kind == "guarded" and not e.payload["ok"]]
    done = [p["action"] for p in seen(events)]
    first = [plans(events, step)[0][0] for step in range(9)]
    assert refused
    assert [e.step for e in events if e.kind == "scored" and e.payload["is_counted"]] == refused
    assert all(done[step + 1] == first[step] for step in range(9) if step not in refused)


def test_plans_that_are_performed_and_lead_nowhere_end_the_run(
    operate: Operate, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "STUCK_CLIPS", 8)
    session = operate(goal="the vessels are clipped", perform="plan", clips=12)
    assert session.run() == "failed"
    assert "nothing was done towards the goal in 8 clips" in session.state["reason"]
    assert "Dissection" in session.state["reason"]
    assert len(acts(memory, session, "next_clip")) == 7


def test_a_run_that_scored_no_plan_says_so(operate: Operate) -> None:
    session = operate(clips=1)
    session.run()
    assert session.state["reason"].endswith("; no plan was scored")


def test_a_goal_ends_the_run_and_may_be_said(operate: Operate) -> None:
    session = operate(goal="the first Vessel Clipping", perform="asked", clips=9)
    events = saying(session, {("observed", 2): "clip the artery"})
    assert session.status == "succeeded"
    assert payloads(events, "reached") == [{"target": "the first Vessel Clipping"}]
    assert max(e.step for e in events) == 3
    told = operate(clips=9)
    saying(told, {("observed", 0): "the goal is another dissection"})
    assert payloads(told.events, "reached") == [{"target": "the next Dissection"}]
    missed = operate(goal="the gallbladder is detached", clips=3)
    assert missed.run() == "failed"
    assert "the gallbladder is detached" in missed.state["reason"]


def test_stop_rewind_and_fork(operate: Operate, memory: Memory, tmp_path: Path, replays: Replays) -> None:
    session = operate()
    saying(session, {("planned", 1): "STOP"})
    assert session.status == "stopped"
    n = len(acts(memory, session, "next_clip"))
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert session.run() == "succeeded"
    assert len(acts(memory, session, "next_clip")) == 4 > n
    session.rewind(2)
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    saying(session, {("observed", 2): "coagulate"})
    assert session.status == "succeeded"
    replays(session)
    child = LOOP.fork(session, 3)
    assert child.run() == "succeeded"
    found = [payloads(of.events, "recalled")[n]["found"]["earlier"] for of, n in ((child, 0), (session, -2))]
    assert found[0] == found[1]
    memory.retention.prune(session.id)
    replays(child)
    assert redraw_session(memory, child.id, LOOP).n == 1


def test_what_surgeons_chose_in_earlier_sessions_weighs_in_where_that_is_asked_for(
    operate: Operate, replays: Replays
) -> None:
    for _ in range(8):
        taught = operate(clips=2)
        saying(taught, {("observed", 0): "coagulate"})
        replays(taught)
    silent = operate(clips=2)  # who says nothing chooses nothing
    silent.run()
    assert plans(silent.events, 0)[0][0] == "Tissue Retraction"
    session = operate(clips=2, recall_choices=True)
    session.run()
    assert plans(session.events, 0)[0][0] == "Coagulation"
    assert "chosen 8 of 8 times" in payloads(session.events, "planned")[0]["plan"]["actions"][0]["rationale"]
    replays(session)
    elsewhere = operate(clips=2, recall_choices=True, video="simulated:2000038")
    elsewhere.run()
    assert plans(elsewhere.events, 0)[0][0] != "Coagulation"
