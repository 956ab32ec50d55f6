"""The properties that DESIGN.md lists under *What the kit has to get right*, a class for each point: 7 to 13.

The order of an act (8) is in `test_acts.py`, the checkpointer's suite (11) in `tests/memory/test_checkpointer.py`.
"""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from langgraph.types import Command
from sqlalchemy import update
from tests.graphs.loop.small import always_on, one, room_c, warm
from tests.loops.bench import Bench, kinds
from tests.loops.cases import heating
from tests.loops.kiln import Kiln, kiln, nested, photograph
from tests.loops.thermostat import set_heater, thermostat

from loopwright.errors import DeveloperError, Diverged, SessionBusy
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.factory import served_graph
from loopwright.graphs.loop.session import Session
from loopwright.graphs.loop.versions import code_digest
from loopwright.memory import open_memory
from loopwright.memory.tables import LeaseTable
from loopwright.memory.values import STALE_S
from loopwright.schema import Act


class Watched(Kiln):
    """Counts how many judge at once."""

    at_once: ClassVar[list[int]] = []
    now = 0

    def check(self, act: Act) -> Any:
        """As the kiln."""
        cls = type(self)
        cls.now += 1
        threading.Event().wait(0.05)
        cls.at_once.append(cls.now)
        cls.now -= 1
        return super().check(act)


class TestActsAndQuestions:
    """7. Acts are serialised; questions have ids; a resume value enters the inbox once."""

    def test_acts_of_nodes_that_run_at_once_come_one_after_another(self, bench: Bench) -> None:
        def begin(state: State, ctx: Context) -> None: ...

        def left(state: State, ctx: Context) -> None:
            ctx.act(set_heater, on=True)

        def right(state: State, ctx: Context) -> None:
            ctx.act(set_heater, on=False)

        session = bench.start(one(begin, (left, right), warm, world=Watched), always_on())
        assert session.run() == "succeeded"
        assert (Watched.at_once, room_c(bench, session)) == ([1, 1], 16.0)
        bench.whole(session)

    @pytest.mark.parametrize("verb", ["act", "ask_human", "observe"])
    def test_an_item_neither_acts_nor_asks(self, bench: Bench, verb: str) -> None:
        def item(_: int, ctx: Context) -> None:
            if verb == "act":
                ctx.act(set_heater, on=True)
            elif verb == "observe":
                ctx.observe(photograph)
            else:
                ctx.ask_human("Well?")

        loop = one(lambda state, ctx: ctx.map(item, [1]), world=Kiln, tools=[set_heater, photograph])
        session = bench.start(loop.varied(nodes=[*loop.nodes]), always_on())
        with pytest.raises(DeveloperError, match=r"An item of `ctx\.map`"):
            session.run()
        assert bench.memory.ledger.of(session.id) == []

    def test_two_questions_are_told_apart(self, bench: Bench) -> None:
        def begin(state: State, ctx: Context) -> None: ...

        def left(state: State, ctx: Context) -> None:
            state["left"] = ctx.ask_human("Left?")[-1].kind

        def right(state: State, ctx: Context) -> None:
            state["right"] = ctx.ask_human("Right?")[-1].kind

        session = bench.start(one(begin, (left, right), warm, state={"left": "", "right": ""}), always_on())
        assert session.run() == "waiting"
        ids = {p["question"]["text"]: p["question"]["id"] for p in kinds(session.events, "asked")}
        session.say("yes")
        assert session.run() == "waiting"
        which = kinds(session.events, "asked")[-1]["question"]
        assert (which["about"], "Which question" in which["text"]) == ("unclear", True)
        session.say(f"{ids['Right?']} approve")
        session.run()
        session.say(f"{ids['Left?']}: reject: no")
        while session.run() == "waiting":
            session.say(f"{ids['Left?']} reject")
        assert (session.status, session.state["left"], session.state["right"]) == ("succeeded", "reject", "approve")
        bench.whole(session)

    @pytest.mark.parametrize(
        ("last", "status"), [("approve", "succeeded"), ("q1 reject", "succeeded"), ("target 9", "")]
    )
    def test_an_answer_after_what_is_not_understood_counts(self, bench: Bench, last: str, status: str) -> None:
        """An answer to the open question does; another order does not say which of the two holds."""

        def heat(state: State, ctx: Context) -> None:
            ctx.act(set_heater, on=True)

        session = bench.start(one(heat, warm), always_on(), approval="human")
        session.run()
        for text in ("banana", last):
            session.say(text)
        assert session.run() == (status or "waiting")
        assert len(bench.memory.ledger.of(session.id)) == (1 if status else 0)
        if not status:
            asked = kinds(session.events, "asked")[-1]["question"]
            assert asked["about"] == "unclear" and "`target 21`" in asked["text"]
            assert asked["text"].endswith("(I heard: 'banana') Still open: q1: May I switch the heater on?")
        bench.whole(session)

    def test_an_answer_before_what_is_not_understood_waits(self, bench: Bench) -> None:
        def heat(state: State, ctx: Context) -> None:
            ctx.act(set_heater, on=True)

        session = bench.start(one(heat, warm), always_on(), approval="human")
        session.run()
        for text in ("approve", "banana"):
            session.say(text)
        assert (session.run(), bench.memory.ledger.of(session.id)) == ("waiting", [])
        session.say("approve")
        assert session.run() == "succeeded"
        bench.whole(session)

    def test_a_resume_value_is_a_message_like_any_other(self, bench: Bench) -> None:
        def ask(state: State, ctx: Context) -> None:
            state["heard"] = [one.text for one in ctx.ask_human("First?")] + [
                one.text for one in ctx.ask_human("Second?")
            ]

        loop = one(ask, warm, state={"heard": []})
        graph = served_graph(loop, bench.memory, None)
        config: Any = {"configurable": {"thread_id": "t", "models": always_on(), "devices": bench.devices}}
        graph.invoke({}, config)
        graph.invoke(Command(resume="reject: no"), config)
        state = graph.invoke(Command(resume={"text": "reject: nor this", "author": "surgeon"}), config)
        assert (state["status"], state["heard"]) == ("succeeded", ["reject: no", "reject: nor this"])
        messages = bench.memory.inbox.since("t", 0)
        assert [(m.text, m.author) for m in messages] == [("reject: no", "clinician"), ("reject: nor this", "surgeon")]


class TestNesting:
    """9. Nested loops share session, budget and lease."""

    def test_tokens_of_the_inner_loop_count(self, bench: Bench) -> None:
        session = bench.start(nested.varied(budget=Budget(tokens=1)), heating())
        assert session.run() == "failed"
        assert len(kinds(session.events, "replied")) == 1

    def test_an_inner_loop_has_an_end_of_its_own(self, bench: Bench) -> None:
        cold = thermostat.varied(name="warm", budget=Budget(steps=3))
        session = bench.start(nested.replace(warm=cold).varied(state={"round": 0, "target_c": 29.0}), heating())
        assert session.run() == "succeeded"
        assert session.state["reason"] == "the budget is used up: 3 steps of 'warm'"
        bench.whole(session)

    def test_what_only_the_inner_loop_understands_is_understood(self, bench: Bench) -> None:
        session = bench.start(nested, heating())
        session.say("target 18")
        assert session.run() == "succeeded"
        assert kinds(session.events, "heard")[0]["messages"] or kinds(session.events, "node")[0]["messages"]
        assert "asked" not in {e.kind for e in session.events}


class TestTakeover:
    """10. Whoever was overtaken neither moves nor writes."""

    def test_a_process_that_slept_finds_itself_overtaken(self, bench: Bench) -> None:
        asleep, wakes = threading.Event(), threading.Event()

        def decide(state: State, ctx: Context) -> None:
            call = ctx.ask("navigator", "Well?", tools=[set_heater])
            if threading.current_thread().name != "second" and not asleep.is_set():
                asleep.set()
                assert wakes.wait(30)
            ctx.act(call)

        loop = one(decide, warm)
        first = bench.start(loop, always_on())
        raised: list[BaseException] = []

        def sleeper() -> None:
            try:
                first.run()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=sleeper)
        thread.start()
        assert asleep.wait(30)
        with bench.memory.sessions._store.write() as connection:  # as if it had not beaten for long
            connection.execute(update(LeaseTable).values(heartbeat_at=datetime.now(UTC) - timedelta(0, STALE_S + 5)))
        with open_memory(bench.url) as memory:
            second = loop.resume(first.id, memory, models=always_on(), devices=bench.devices)
            events = second.stream()
            next(events)
            wakes.set()
            thread.join(30)
            assert [type(error) for error in raised] == [SessionBusy]
            for _ in events:
                pass
            assert second.status == "succeeded"
            assert [e.status for e in memory.ledger.of(first.id)] == ["settled"]
            assert memory.verify(first.id).ok
        assert room_c(bench, first) == 16.5


class TestForeignRewinds:
    """12. A checkpoint that is not the log's tip: no act until it is reconciled."""

    def waiting(self, bench: Bench) -> tuple[Any, Any, Session]:
        session = bench.start(thermostat.varied(name="th"), heating(), approval="human")
        assert session.run() == "waiting"
        session.say("approve")
        assert session.run() == "waiting"
        config = {"configurable": {"thread_id": session.id, "models": heating(), "devices": bench.devices}}
        return served_graph(session.loop, bench.memory, None), config, session

    @pytest.mark.parametrize("change", [{"target_c": 10.0}, {"observation": {"room_c": 1.0, "heater_on": False}}])
    def test_a_state_that_somebody_changed(self, bench: Bench, change: dict[str, Any]) -> None:
        graph, config, session = self.waiting(bench)
        before, n_acts = bench.worlds(session.id), len(bench.memory.ledger.of(session.id))
        with bench.memory.sessions.acquire(session.id):
            graph.update_state(config, Command(update=change, goto="heat"), as_node="review")
        with pytest.raises(Diverged, match="not the checkpoint that its last run left"):
            graph.invoke(None, config)
        assert (bench.worlds(session.id), len(bench.memory.ledger.of(session.id))) == (before, n_acts)
        session.rewind(1)
        assert session.state["target_c"] == 20.0
        session.say("approve")
        assert session.run() == "waiting"

    def test_going_elsewhere(self, bench: Bench) -> None:
        graph, config, session = self.waiting(bench)
        with bench.memory.sessions.acquire(session.id):
            graph.update_state(config, Command(goto="heat"), as_node="review")
        before = bench.worlds(session.id)
        graph.invoke(None, config)
        assert bench.worlds(session.id) == before

    def test_an_older_checkpoint(self, bench: Bench) -> None:
        graph, config, session = self.waiting(bench)
        before = bench.worlds(session.id)
        for old in list(graph.get_state_history(config)):
            if not old.next or "checkpoint_id" not in old.config["configurable"]:
                continue
            place = {**config["configurable"], "checkpoint_id": old.config["configurable"]["checkpoint_id"]}
            with suppress(Diverged):
                graph.invoke(None, {"configurable": place})
            assert bench.worlds(session.id) == before
        session.rewind(0)
        assert room_c(bench, session) == 15.0


class TestVersions:
    """13. Versions of the loop and its models are in the first event."""

    def test_the_first_event_names_them(self, bench: Bench) -> None:
        session = bench.start(thermostat.varied(version="7"), heating())
        session.run()
        first = session.events[0]
        assert first.kind == "started"
        assert first.payload["version"] == "7"
        assert first.payload["nodes"] == [["observe"], ["review"], ["heat"]]
        assert first.payload["models"]["navigator"]["model"] == "Answering"
        assert first.payload["loopwright"]
        assert first.payload["code"] == code_digest(thermostat) != code_digest(kiln)

    def test_other_code_is_on_record_when_it_resumes(self, bench: Bench) -> None:
        session = bench.start(thermostat, heating(), approval="human")
        session.run()
        session.run()
        other = thermostat.insert_after("observe", kiln.all_nodes["dream"])
        with suppress(KeyError):
            bench.resume_loop(other, session.id, heating()).run()
        assert [payload.get("code") for payload in kinds(session.events, "resumed")] == [None, code_digest(other)]
