"""The properties that DESIGN.md lists under *What the kit has to get right*, a class for each point: 1 to 6."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.forking import Processes
from tests.graphs.loop.small import always_on, one, warm
from tests.loops.bench import Bench, Template, kinds
from tests.loops.cases import CASES, heating
from tests.loops.kiln import kiln
from tests.loops.thermostat import set_heater, thermostat

from loopwright.agents.sessions.replay import first_difference
from loopwright.errors import BadInput, DeveloperError, Diverged, SessionBusy
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.factory import served_graph
from loopwright.graphs.loop.serve import graph_of
from loopwright.graphs.loop.session import Session


class TestOneGraphPerLoop:
    """1. Nodes find their session by `thread_id`; without a lease nothing acts."""

    def test_it_is_compiled_once(self, bench: Bench) -> None:
        assert graph_of(thermostat, bench.memory) is graph_of(thermostat, bench.memory)
        assert graph_of(thermostat, bench.memory) is not graph_of(kiln, bench.memory)

    def test_nothing_acts_where_nobody_holds_the_session(self, bench: Bench) -> None:
        session = bench.start(thermostat, heating())
        config: Any = {"configurable": {"thread_id": session.id}}
        with pytest.raises((BadInput, SessionBusy)):
            graph_of(thermostat, bench.memory).invoke({}, config)
        assert (session.events, bench.worlds(session.id)) == ([], {})

    def test_two_sessions_of_a_loop_at_once_do_not_mix(self, bench: Bench) -> None:
        first, second = bench.start(thermostat, heating()), bench.start(kiln, CASES["kiln"].models())
        streams = [first.stream(), second.stream()]
        while streams:
            streams = [stream for stream in streams if next(stream, None) is not None]
        assert (first.status, second.status) == ("succeeded", "succeeded")
        bench.whole(first)
        bench.whole(second)


class TestKeys:
    """2. A node that is run again finds what it recorded, and may not do something else."""

    def test_a_node_that_does_something_else_when_it_is_run_again_sends_nothing(self, bench: Bench) -> None:
        asked = ["one", "two"]

        def ask(state: State, ctx: Context) -> None:
            call = ctx.ask("navigator", asked.pop(0), tools=[set_heater])
            if asked:
                raise RuntimeError("the process dies here")
            ctx.act(call)

        session = bench.start(one(ask), always_on())
        with pytest.raises(RuntimeError):
            session.run()
        with pytest.raises(Diverged, match=r"`?'0/ask\.0/0'"):
            session.run()
        assert bench.memory.ledger.of(session.id) == []
        assert (session.status, session.events[-1].payload["type"]) == ("paused", "Diverged")

    def test_an_empty_look_is_on_record(self, tmp_path: Path, processes: Processes) -> None:
        """Feedback that comes after a kill is not answered with the reply that was given without it."""
        case = CASES["thermostat"]
        template = Template(case, tmp_path, processes)
        for n in range(5, 40):  # the first writes are the session's own
            folder = template.copy()
            assert template.obey(folder, "run", kill_after=n) is None
            bench = Bench(folder)
            events = bench.memory.events.read(template.session_id)
            if events and events[-1].kind == "replied":
                break
            bench.close()
        else:
            pytest.fail("no write left a reply as the last event")
        session = bench.resume(case, template.session_id)
        session.say("target 19")
        assert session.run() == "succeeded"
        looks = [e for e in session.events if e.kind == "heard" and e.payload["messages"]]
        assert looks[0].seq > events[-1].seq
        prompts = [p["prompt"][-1]["content"] for p in kinds(session.events, "replied")]
        assert prompts == ["15.0 of 16.5", "16.5 of 19.0", "18.0 of 19.0"][: len(prompts)]
        assert len(prompts) > 1
        bench.whole(session)
        bench.close()

    def test_a_verb_of_another_kind_diverges(self, bench: Bench) -> None:
        verbs: list[Callable[[Context], Any]] = [lambda ctx: ctx.now(), lambda ctx: ctx.random()]

        def look(state: State, ctx: Context) -> None:
            verbs.pop(0)(ctx)
            raise RuntimeError("it dies")

        session = bench.start(one(look), always_on())
        with pytest.raises(RuntimeError):
            session.run()
        with pytest.raises(Diverged):
            session.run()


class TestReplay:
    """3. Replay compares by key."""

    def test_what_ran_at_once_has_no_order(self, bench: Bench) -> None:
        session = bench.begin(CASES["kiln"])
        session.run()
        record = session.events
        assert first_difference(record, record[:1] + record[:0:-1]) is None

    def test_every_payload_is_compared(self, bench: Bench) -> None:
        session = bench.begin(CASES["kiln"])
        session.run()
        record = session.events
        for n, event in enumerate(record):
            if event.key is not None:
                changed = event.model_copy(update={"payload": {**event.payload, "more": 1}})
                assert f"event {event.seq} " in str(first_difference(record, [*record[:n], changed, *record[n + 1 :]]))
                assert f"event {event.seq} " in str(first_difference(record, [*record[:n], *record[n + 1 :]]))

    def test_code_that_decides_otherwise_is_found(self, bench: Bench) -> None:
        session = bench.begin(CASES["kiln"])
        session.run()
        changed = kiln.replace(guess=lambda state, ctx: ctx.computed("marked", {"marks": []}))
        assert changed.replay(session.id, bench.memory).difference is not None


class TestStateIsACopy:
    """4. A node gets a deep copy; `goto` and `end` leave it at once."""

    def test_what_a_node_that_raises_did_to_its_state_is_gone(self, bench: Bench) -> None:
        raises = [True]

        def spoil(state: State, ctx: Context) -> None:
            state["list"].append({"n": len(state["list"])})
            if raises.pop() if raises else False:
                raise RuntimeError("it dies")

        session = bench.start(one(spoil, warm, state={"list": [{"n": 0}]}), always_on())
        with pytest.raises(RuntimeError):
            session.run()
        assert session.run() == "succeeded"
        assert session.state["list"] == [{"n": 0}, {"n": 1}]

    def test_items_of_a_map_have_copies_too(self, bench: Bench) -> None:
        def spoil(state: State, ctx: Context) -> None:
            def item(n: int, own: Context) -> int:
                own.state["list"].append(n)
                return len(own.state["list"])

            state["lengths"] = ctx.map(item, range(5))

        session = bench.start(one(spoil, warm, state={"list": [], "lengths": []}), always_on())
        session.run()
        assert (session.state["list"], session.state["lengths"]) == ([], [1] * 5)

    @pytest.mark.parametrize("leave", ["end", "goto"])
    def test_leaving_is_at_once_whatever_the_node_catches(self, bench: Bench, leave: str) -> None:
        def go(state: State, ctx: Context) -> None:
            with suppress(BaseException):  # what an author may write
                ctx.end("succeeded", "done") if leave == "end" else ctx.goto("warm")
            ctx.act(set_heater, on=True)

        session = bench.start(one(go, warm), always_on())
        assert session.run() == "succeeded"
        assert session.state["reason"] == ("done" if leave == "end" else "it is warm")
        assert bench.memory.ledger.of(session.id) == []

    def test_a_node_goes_only_where_it_is_declared_to_go(self, bench: Bench) -> None:
        def go(state: State, ctx: Context) -> None:
            ctx.goto("third")

        def third(state: State, ctx: Context) -> None: ...

        session = bench.start(one(go, warm, third), always_on())
        with pytest.raises(DeveloperError, match=r"`@node\(to=\('third',\)\)`"):
            session.run()


def swallowing(first: Callable[[Context], Any]) -> Callable[[State, Context], None]:
    """A node whose author catches whatever comes, and goes on to act."""

    def node(state: State, ctx: Context) -> None:
        with suppress(Exception):  # what an author may write
            first(ctx)
        ctx.act(set_heater, on=False)

    return node


class TestHaltsPass:
    """5. After a halt or an interrupt `ctx` refuses every verb."""

    def test_an_interrupt(self, bench: Bench) -> None:
        session = bench.start(one(swallowing(lambda ctx: ctx.ask_human("Well?")), warm), always_on())
        assert session.run() == "waiting"
        assert bench.memory.ledger.of(session.id) == []

    @pytest.mark.parametrize("hides", [False, True])
    def test_a_stop(self, bench: Bench, hides: bool) -> None:
        def stopped(ctx: Context) -> None:
            session.say("STOP")
            ctx.now()

        def hiding(state: State, ctx: Context) -> None:
            try:
                stopped(ctx)
            except Exception as error:
                raise ValueError("something else") from error

        node = hiding if hides else swallowing(stopped)
        session = bench.start(one(node, warm), always_on())
        assert session.run() == "stopped"
        assert bench.memory.ledger.of(session.id) == []

    def test_what_an_operator_has_to_see(self, bench: Bench) -> None:
        """Also in an item of a map."""
        kind = ["now"]

        def item(_: int, ctx: Context) -> None:
            with suppress(Exception):  # what an author may write
                ctx.external(kind[0], dict)

        def node(state: State, ctx: Context) -> None:
            ctx.map(item, [1])
            if kind == ["now"]:
                kind[0] = "then"
                raise RuntimeError("it dies")
            ctx.act(set_heater, on=False)

        session = bench.start(one(node, warm), always_on())
        with pytest.raises(RuntimeError):
            session.run()
        with pytest.raises(Diverged):
            session.run()
        assert bench.memory.ledger.of(session.id) == []


class TestCancelling:
    """6. Cancelling waits for the node's thread before the lease is released."""

    @pytest.mark.parametrize("served", [False, True])
    def test_it_waits_for_the_node(self, bench: Bench, served: bool) -> None:
        begun, goes_on, done = threading.Event(), threading.Event(), threading.Event()

        def slow(state: State, ctx: Context) -> None:
            def wait() -> dict[str, Any]:
                begun.set()
                assert goes_on.wait(30)
                assert bench.memory.sessions.get(session.id).status == "running"
                with pytest.raises(SessionBusy):
                    bench.memory.sessions.acquire(session.id)
                done.set()
                return {}

            ctx.external("waited", wait)
            ctx.act(set_heater, on=True)

        loop = one(slow, warm)
        session = bench.start(loop, always_on())

        async def cancel() -> None:
            graph, config = served_graph(loop, bench.memory, None), self.config(session, bench)
            running = asyncio.create_task(graph.ainvoke({}, config) if served else session.arun())
            await asyncio.to_thread(begun.wait, 30)
            running.cancel()
            await asyncio.sleep(0.1)
            goes_on.set()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert done.is_set()

        asyncio.run(cancel())
        assert (session.status, bench.memory.ledger.of(session.id)) == ("paused", [])
        assert bench.resume_loop(loop, session.id, always_on()).run() == "succeeded"

    def test_a_reader_that_goes_away_leaves_it_paused(self, bench: Bench) -> None:
        session = bench.start(thermostat, heating())
        for event in session.stream():
            if event.kind == "acted":
                break
        assert session.status == "paused"
        assert session.run() == "succeeded"
        bench.whole(session)

    def config(self, session: Session, bench: Bench) -> Any:
        return {"configurable": {"thread_id": session.id, "models": always_on(), "devices": bench.devices}}
