"""A STOP from another process, one that comes during a resume, and what a loop does that is not sure enough."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.exc import ProgrammingError
from tests.graphs.loop.small import ON, always_on, one, room_c, warm
from tests.loops.bench import Bench, kinds
from tests.loops.cases import heating
from tests.loops.kiln import Kiln, photograph
from tests.loops.thermostat import Room, set_heater, thermostat

from loopwright.errors import BadInput, MemoryUnavailable
from loopwright.graphs.loop import models
from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role, State
from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.runtime import Runtime, find_runtime
from loopwright.graphs.loop.session import Session
from loopwright.memory import open_memory
from loopwright.memory.store import Store
from loopwright.models.open import open_model
from loopwright.schema import Feedback


def flood(bench: Bench, session: Session, n: int) -> None:
    """Put `n` messages into a session's inbox behind the memory's back."""
    row = "INSERT INTO messages (session_id, author, text, is_stop, received_at) VALUES (?, 'a', ?, 0, ?)"
    with closing(sqlite3.connect(bench.folder / "memory.sqlite")) as connection, connection:
        connection.executemany(row, [(session.id, f"note: {i}", "2026-01-01 00:00:00.000000") for i in range(n)])


def bench_runtime(session: Session) -> Runtime:
    """The session's runtime, while it runs."""
    runtime = find_runtime(session.memory, session.id)
    assert runtime is not None
    return runtime


@contextmanager
def counted_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads of the transactions that write."""
    write: Any = Store.write
    seen: list[int] = []

    def counted(store: Store, **how: bool) -> Any:
        seen.append(threading.get_ident())
        return write(store, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", counted)
        yield seen


class TestStop:
    @pytest.mark.parametrize("error", [MemoryUnavailable("busy"), ProgrammingError("?", {}, Exception()), OSError()])
    def test_another_process_stops_what_runs_here(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """Also where the database was not to be had for a moment, however it said so."""
        looks = [error] * 3
        active_stop = bench.memory.inbox.active_stop

        def flaky(session_id: str) -> Any:
            if looks:
                raise looks.pop()
            return active_stop(session_id)

        monkeypatch.setattr(bench.memory.inbox, "active_stop", flaky)
        begun = threading.Event()

        def slow(state: State, ctx: Context) -> None:
            def wait() -> dict[str, Any]:
                begun.set()
                assert ctx.runtime.cancel.wait(30)
                return {}

            ctx.external("waited", wait)
            ctx.act(set_heater, on=True)

        session = bench.start(one(slow, warm), always_on())
        running = threading.Thread(target=session.run)
        running.start()
        assert begun.wait(30)
        with open_memory(bench.url) as another:
            deliver(another, session.id, "STOP", author="surgeon")
        running.join(30)
        assert session.status == "stopped"
        assert [p["reason"] for p in kinds(session.events, "stopped")] == ["surgeon: STOP"]
        assert bench.memory.ledger.of(session.id) == []

    def test_one_that_comes_while_it_is_being_resumed_is_obeyed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = bench.start(thermostat, heating())
        acquire = bench.memory.sessions.acquire

        def interrupted(session_id: str) -> Any:
            bench.memory.inbox.put(session_id, "STOP", is_stop=True)
            return acquire(session_id)

        monkeypatch.setattr(bench.memory.sessions, "acquire", interrupted)
        assert session.run() == "stopped"
        monkeypatch.undo()
        assert len(kinds(session.events, "stopped")) == 1
        assert bench.memory.ledger.of(session.id) == []
        assert session.run() == "succeeded"
        bench.whole(session)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_watch_that_fails_for_good_pauses_the_session(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(session_id: str) -> Any:
            if threading.current_thread().name.startswith("stop-watch"):
                raise ZeroDivisionError
            return None

        monkeypatch.setattr(bench.memory.inbox, "active_stop", broken)

        def endless(state: State, ctx: Context) -> None:
            ctx.now()

        session = bench.start(one(endless), always_on())
        assert session.run() == "paused"
        assert "watch for a STOP" in session.events[-1].payload["reason"]

    @pytest.mark.parametrize("status", ["created", "waiting"])
    def test_ten_thousand_messages_do_not_keep_it_waiting(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, status: str
    ) -> None:
        session = bench.start(thermostat, heating(), approval="human")
        if status == "waiting":
            session.run()
        flood(bench, session, 10_000)
        with counted_writes(monkeypatch) as writes:
            session.say("STOP")
        assert session.status == "stopped"
        assert len(writes) < 10
        assert len(kinds(session.events, "stopped")[0]["withdrawn"]) == 10_000
        assert bench.memory.inbox.unread(session.id) == []

    def test_it_ends_the_reading_of_a_flood(self, bench: Bench) -> None:
        n_read = 0

        class Slow(Feedback):
            @classmethod
            def read(cls, text: str) -> None:
                nonlocal n_read
                n_read += 1
                if n_read == 3:
                    session.say("STOP")

        session = bench.start(one(warm, feedback=[Slow]), always_on())
        for n in range(20):
            session.say(f"message {n}")
        assert session.run() == "stopped"
        assert n_read == 3
        assert len(kinds(session.events, "stopped")[0]["withdrawn"]) == 20
        bench.whole(session)

    def test_its_own_process_halts_before_the_database_lets_it_in(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put, halted = bench.memory.inbox.put, []

        def slow(session_id: str, text: str, **how: Any) -> Any:
            halted.append(bench_runtime(session).cancel.is_set)
            return put(session_id, text, **how)

        def stopping(state: State, ctx: Context) -> None:
            monkeypatch.setattr(bench.memory.inbox, "put", slow)
            session.say("STOP")

        session = bench.start(one(stopping, warm), always_on())
        assert session.run() == "stopped"
        assert halted == [True]
        assert [p["reason"] for p in kinds(session.events, "stopped")] == ["clinician: STOP"]
        assert bench.memory.inbox.unread(session.id) == []

    @pytest.mark.parametrize("slow", ["model", "world"])
    def test_it_does_not_wait_for_what_is_being_loaded(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
    ) -> None:
        loading, loaded = threading.Event(), threading.Event()

        def slowly(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
            loading.set()
            assert loaded.wait(60)
            return real(*given, **named)

        if slow == "model":
            monkeypatch.setattr(models, "open_model", partial(slowly, open_model))
        (tmp_path / "card.yaml").write_text(yaml.safe_dump({"kind": "scripted", "replies": [ON, ON]}))

        def heat(state: State, ctx: Context) -> None:
            ctx.act(ctx.ask("navigator", "on?", tools=[set_heater]))

        def open_room(config: RunConfig, prepared: dict[str, Any], device: Path) -> Room:
            return slowly(Room, device=device) if slow == "world" else Room(device=device)

        loop = one(heat, warm, roles={"navigator": Role(card=str(tmp_path / "card.yaml"))}, world=open_room)
        session = bench.start(loop)
        running = threading.Thread(target=session.run)
        running.start()
        assert loading.wait(30)
        session.say("STOP")
        running.join(30)
        assert session.status == "stopped"
        assert all(e.outcome is None for e in bench.memory.ledger.of(session.id))
        loaded.set()
        assert session.run() == "succeeded"
        bench.whole(session)

    def test_what_was_said_before_it_is_withdrawn_and_what_is_said_after_it_is_heard(self, bench: Bench) -> None:
        session = bench.start(thermostat, heating())
        for text in ("target 16.5", "STOP", "target 18"):
            session.say(text)
        assert kinds(session.events, "stopped")[0]["withdrawn"] == ["target 16.5"]
        assert session.run() == "succeeded"
        assert session.state["target_c"] == 18.0


def doubtful(state: State, ctx: Context) -> None:
    """Not sure whether to heat."""
    state["heard"] = [one.text for one in ctx.unsure("Is it cold?", options=("approve", "reject"))]
    ctx.act(set_heater, on=True)


@pytest.mark.parametrize(
    ("policy", "status", "n_asked", "warmed_c"),
    [("proceed", "succeeded", 0, 16.5), ("stop", "failed", 0, 15.0), ("ask", "waiting", 1, 15.0)],
)
def test_what_it_does_when_it_is_not_sure(
    bench: Bench, policy: str, status: str, n_asked: int, warmed_c: float
) -> None:
    session = bench.start(one(doubtful, warm, state={"heard": []}), always_on(), on_uncertain=policy)
    assert session.run() == status
    assert len(kinds(session.events, "asked")) == n_asked
    if policy == "ask":
        session.say("note: hm")
        assert session.run() == "waiting"
        session.say("reject: it is not")
        assert session.run() == "succeeded"
        assert session.state["heard"] == ["note: hm", "reject: it is not"]
    else:
        assert room_c(bench, session) == warmed_c if bench.worlds(session.id) else status == "failed"
        assert kinds(session.events, "uncertain") == [{"text": "Is it cold?", "policy": policy}]
    bench.whole(session)


def test_what_it_does_not_know_ends_as_not_found(bench: Bench) -> None:
    def lost(state: State, ctx: Context) -> None:
        ctx.unsure("Where is the heater?", ending="not_found")

    session = bench.start(one(lost), always_on(), on_uncertain="stop")
    assert session.run() == "not_found"
    assert kinds(session.events, "finished")[0]["reason"] == "not sure enough: Where is the heater?"
    with pytest.raises(BadInput, match="has not_found"):
        session.run()
    bench.whole(session)


def test_a_rewind_restores_the_worlds_of_nested_loops_too(bench: Bench) -> None:
    def look(state: State, ctx: Context) -> None:
        ctx.observe(photograph)

    def over(state: State, ctx: Context) -> None:
        if ctx.visit.step == 1:
            ctx.end("succeeded", "twice is enough")
        state["target_c"] += 3

    loop = Loop(
        "two-worlds", world=Kiln, tools=[photograph], state={"target_c": 16.5},
        nodes=[look, thermostat.varied(name="room"), over],
    )  # fmt: skip
    session = bench.start(loop, heating())
    assert session.run() == "succeeded"
    ended = bench.worlds(session.id)
    assert {name: world["room_c"] for name, world in ended.items()} == {"": 15.0, ".room": 19.5}
    session.rewind(1)
    assert {name: world["room_c"] for name, world in bench.worlds(session.id).items()} == {"": 15.0, ".room": 16.5}
    assert session.run() == "succeeded"
    assert bench.worlds(session.id) == ended
    bench.whole(session)
