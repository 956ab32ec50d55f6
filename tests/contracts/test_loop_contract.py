"""One suite over every loop: what the kit promises holds for each of `tests/loops/cases.py`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command
from tests.loops.bench import Bench, kinds, written
from tests.loops.cases import CASES, LoopCase

from loopwright.errors import BadInput
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.factory import served_graph
from loopwright.graphs.loop.session import Session
from loopwright.graphs.registry import LOOPS
from loopwright.graphs.report import write_report
from loopwright.schema import Act, Event, Verdict
from loopwright.tools.contract import Tool

each_case = pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.loop.name)
UNINTELLIGIBLE = "perhaps somewhat elsewhere"


def tools(case: LoopCase) -> dict[str, Tool[Any, Any]]:
    """The tools of a loop and of those nested in it."""
    of = [case.loop, *case.loop.nested.values()]
    return {tool.name: tool for loop in of for tool in loop.tools}


def needs_consent(case: LoopCase, event: Event) -> bool:
    """Whether this event is an act that a human has to agree to."""
    tool = tools(case).get(event.payload.get("tool", ""))
    return tool is not None and tool.effect == "actuate" and tool.consent == "always" and "status" in event.payload


def consented(case: LoopCase, events: Sequence[Event]) -> list[Event]:
    """The acts that need consent, and were done."""
    return [e for e in events if needs_consent(case, e) and e.payload["status"] == "done"]


def approvals(events: Sequence[Event]) -> list[str]:
    """The questions for approval, in turn."""
    return [p["question"]["text"] for p in kinds(events, "asked") if p["question"]["about"] == "approval"]


def run_with(session: Session, answer: str) -> str:
    """Run a session to its end, and give `answer` to each question."""
    while session.run() == "waiting":
        session.say(answer)
    return session.status


def test_every_loop_of_ours_is_here() -> None:
    assert CASES.keys() >= {*LOOPS}


@each_case
def test_it_draws(case: LoopCase) -> None:
    drawn = case.loop.graph.get_graph().draw_mermaid()
    for name in case.loop.all_nodes:
        assert f"\t{name}(" in drawn
    assert f"__start__ --> {case.loop.entry.name};" in drawn


@each_case
def test_its_state_has_a_schema(case: LoopCase) -> None:
    schema = case.loop.graph.get_input_jsonschema()
    assert schema["properties"].keys() >= {*case.loop.state, "observation", "status", "reason"}
    assert schema.get("required", []) == []


@each_case
def test_it_runs_and_replays(case: LoopCase, bench: Bench) -> None:
    session = bench.begin(case)
    assert session.run() == "succeeded"
    started, finished = session.events[0], kinds(session.events, "finished")[-1]
    assert (started.kind, started.payload["loop"]) == ("started", case.loop.name)
    assert started.payload["version"] == case.loop.version
    assert started.payload["models"].keys() == case.models().keys()
    assert finished["status"] == "succeeded"
    assert session.state["reason"] == finished["reason"]
    assert approvals(session.events) == []
    bench.whole(session)


@each_case
def test_a_human_is_asked_before_every_act_that_needs_it_and_no_other(case: LoopCase, bench: Bench) -> None:
    session = bench.begin(case, approval="human")
    n_done = 0
    while session.run() == "waiting":
        (question,) = [p["question"] for p in kinds(session.events, "asked")][-1:]
        assert question["about"] == "approval"
        assert len(consented(case, session.events)) == n_done, "it acted before it was answered"
        session.say("approve")
        n_done += 1
    assert session.status == "succeeded"
    acts = consented(case, session.events)
    assert len(acts) == len(approvals(session.events)) == n_done > 0
    for act, text in zip(acts, approvals(session.events), strict=True):
        assert tools(case)[act.payload["tool"]].in_words(act.payload["arguments"]) in text
        assert act.payload["approved_by"] == "human"
    others = [e for e in bench.memory.ledger.of(session.id) if e.approved_by != "human"]
    assert all(tools(case)[e.act.tool].consent == "guard" for e in others)
    bench.whole(session)


@each_case
def test_what_a_human_rejects_is_not_done(case: LoopCase, bench: Bench) -> None:
    session = bench.begin(case, approval="human")
    assert session.run() == "waiting"
    before = bench.worlds(session.id)
    session.say("reject: I do not like it")
    session.run()
    acts = [e for e in session.events if needs_consent(case, e)]
    assert (acts[0].payload["status"], acts[0].payload["rule"]) == ("refused", "human")
    assert "I do not like it" in acts[0].payload["reason"]
    assert not consented(case, session.events)
    of_tool = [e for e in bench.memory.ledger.of(session.id) if e.act.tool == acts[0].payload["tool"]]
    assert of_tool[0].status == "refused"
    assert before.keys() == bench.worlds(session.id).keys()
    bench.whole(session)


class TestStop:
    @each_case
    @pytest.mark.parametrize("status", ["created", "waiting", "paused", "stopped"])
    def test_at_rest(self, case: LoopCase, bench: Bench, status: str) -> None:
        session = bench.begin(case, approval="human")
        if status == "waiting":
            assert session.run() == "waiting"
        elif status == "paused":
            stream = session.stream()
            next(stream)
            stream.close()
        elif status == "stopped":
            session.say("STOP")
        assert session.status == status
        n_stops = len(kinds(session.events, "stopped"))
        session.say("approve")
        deliver(bench.memory, session.id, "STOP", author="surgeon")
        assert session.status == "stopped"
        (stopped,) = kinds(session.events, "stopped")[n_stops:]
        assert stopped["reason"] == "surgeon: STOP"
        assert stopped["withdrawn"] == ["approve"]
        assert not consented(case, session.events)

        assert session.run() == "waiting", "what was asked before is withdrawn, so that it asks again"
        assert not consented(case, session.events)
        assert run_with(session, "approve") == "succeeded"
        bench.whole(session)

    @each_case
    def test_while_it_runs(self, case: LoopCase, bench: Bench) -> None:
        session = bench.begin(case)
        for event in session.stream():
            if needs_consent(case, event):
                session.say("STOP")
        assert session.status == "stopped"
        assert len(kinds(session.events, "stopped")) == 1
        assert len(consented(case, session.events)) == 1
        worlds = bench.worlds(session.id)
        assert bench.memory.ledger.unsettled(session.id) == []
        assert worlds == bench.worlds(session.id)
        assert bench.resume(case, session.id).run() == "succeeded"
        bench.whole(session)

    @each_case
    def test_before_an_act_that_was_decided(self, case: LoopCase, bench: Bench) -> None:
        """What the model had asked for when the STOP came is not done when the session goes on."""
        session = bench.begin(case, approval="human")
        assert session.run() == "waiting"
        session.say("STOP")
        assert session.run() == "waiting"
        withdrawn = [e.payload for e in session.events if needs_consent(case, e)]
        assert [(p["status"], p["rule"]) for p in withdrawn] == [("refused", "STOP")]
        bench.whole(session)

    @each_case
    def test_when_it_has_ended(self, case: LoopCase, bench: Bench) -> None:
        session = bench.begin(case)
        session.run()
        n = len(session.events)
        with pytest.raises(BadInput, match="has ended, it has succeeded"):
            deliver(bench.memory, session.id, "STOP")
        with pytest.raises(BadInput, match="has ended, it has succeeded"):
            session.run()
        assert len(session.events) == n
        assert session.status == "succeeded"


@each_case
@pytest.mark.parametrize("approval", ["guard", "human"])
@pytest.mark.parametrize("on_uncertain", ["ask", "proceed", "stop"])
def test_what_is_not_understood_moves_nothing(case: LoopCase, bench: Bench, approval: str, on_uncertain: str) -> None:
    session = bench.begin(case, approval=approval, on_uncertain=on_uncertain)
    if approval == "human":
        assert session.run() == "waiting"
    session.say(UNINTELLIGIBLE)
    for answer in ("note: the phone rings", "what?"):
        assert session.run() == "waiting"
        assert kinds(session.events, "asked")[-1]["question"]["about"] == "unclear"
        assert UNINTELLIGIBLE in kinds(session.events, "asked")[-1]["question"]["text"]
        assert bench.memory.ledger.of(session.id) == [] or approval == "human"
        assert not consented(case, session.events)
        session.say(answer)
        if answer == "what?":
            session.run()
            assert "what?" in kinds(session.events, "asked")[-1]["question"]["text"]
    session.say("approve")
    assert run_with(session, "approve") == "succeeded"
    bench.whole(session)


class TestBudgets:
    @each_case
    @pytest.mark.parametrize(
        ("budget", "reason"),
        [
            (Budget(steps=1), "1 steps"),
            (Budget(tokens=1), "1 tokens"),
            (Budget(seconds=1e-9), "1e-09 s"),
        ],
        ids=["steps", "tokens", "seconds"],
    )
    def test_a_budget_ends_it(self, case: LoopCase, bench: Bench, budget: Budget, reason: str) -> None:
        if reason == "1 tokens" and not case.models():
            pytest.skip("it asks no model")
        bounded = case.loop.varied(budget=budget)
        session = bench.start(bounded, case.models(), **case.config)
        assert session.run() == "failed"
        assert f"the budget is used up: {reason}" in session.state["reason"]
        assert len(consented(case, session.events)) <= 2
        bench.whole(session)

    @each_case
    def test_refusals_end_it(self, case: LoopCase, bench: Bench) -> None:
        def never(act: Act, state: Any) -> Verdict | None:
            consent = tools(case)[act.tool].consent
            return Verdict(ok=False, rule="never", reason="never") if consent == "always" else None

        nodes = {name: loop.varied(guard=never) for name, loop in case.loop.nested.items()}
        bounded = case.loop.replace(**nodes).varied(guard=never, budget=Budget(steps=20, refusals=2))
        session = bench.start(bounded, case.models(), **case.config)
        status = session.run()
        refused = [e.payload for e in session.events if needs_consent(case, e)]
        assert {(p["status"], p["rule"]) for p in refused} == {("refused", "never")}
        assert status == "failed" or case.loop.nested
        ended_by = str([p["reason"] for p in kinds(session.events, "finished")])
        assert "acts in a row were refused" in ended_by or len(refused) == 1, "a loop may give up sooner"
        bench.whole(session)


@each_case
def test_sync_and_async_write_the_same(case: LoopCase, bench: Bench) -> None:
    sync, other = bench.begin(case), bench.begin(case)
    assert sync.run() == asyncio.run(other.arun())
    assert written(sync.events) == written(other.events)
    assert list(bench.worlds(sync.id).values()) == list(bench.worlds(other.id).values())


@each_case
def test_it_has_a_report(case: LoopCase, bench: Bench, tmp_path: Path) -> None:
    session = bench.begin(case)
    session.run()
    page = write_report(bench.memory, session.id, tmp_path / "report.html").read_text(encoding="utf-8")
    assert session.id in page
    assert session.state["reason"] in page


class TestServed:
    """`graph_factory`: the graph as a LangGraph server runs it."""

    @each_case
    def test_interrupt_and_resume(self, case: LoopCase, bench: Bench) -> None:
        graph, config = self.served(case, bench, "t1", approval="human")
        state, n_asked = graph.invoke({}, config), 0
        while "__interrupt__" in state:
            assert bench.memory.sessions.get("t1").status == "waiting"
            asked = state["__interrupt__"][0].value
            assert asked["about"] == "approval"
            (wanted,), (review,) = asked["action_requests"], asked["review_configs"]
            assert wanted["name"] == review["action_name"]
            n_asked += 1
            yes = "approve" if n_asked % 2 else {"decisions": [{"type": "approve"}]}  # ours, and that of chat pages
            state = graph.invoke(Command(resume=yes), config)
        assert (state["status"], bench.memory.sessions.get("t1").status) == ("succeeded", "succeeded")
        events = bench.memory.events.read("t1")
        assert len(consented(case, events)) == n_asked > 0
        assert len(kinds(events, "resumed_with")) == n_asked
        assert len(bench.memory.inbox.since("t1", 0)) == n_asked
        assert case.loop.replay("t1", bench.memory).difference is None

    @each_case
    def test_it_writes_what_a_session_writes(self, case: LoopCase, bench: Bench) -> None:
        graph, config = self.served(case, bench, "t1")
        assert asyncio.run(graph.ainvoke({}, config))["status"] == "succeeded"
        session = bench.begin(case)
        session.run()
        assert written(bench.memory.events.read("t1")) == written(session.events)

    @each_case
    def test_events_are_streamed(self, case: LoopCase, bench: Bench) -> None:
        graph, config = self.served(case, bench, "t1")

        async def names() -> set[str]:
            return {event["name"] async for event in graph.astream_events({}, config, version="v2")}

        assert asyncio.run(names()) >= case.loop.all_nodes.keys()

    def served(self, case: LoopCase, bench: Bench, thread: str, **config: Any) -> tuple[Any, Any]:
        settings = {**case.config, **config, "thread_id": thread, "models": case.models(), "devices": bench.devices}
        return served_graph(case.loop, bench.memory, None), {"configurable": settings}
