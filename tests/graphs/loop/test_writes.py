"""What a session writes, and what of it is on the disk before anything outside depends on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.graphs.loop.small import always_on, one
from tests.loops.bench import Bench
from tests.loops.thermostat import Room, read_room, set_heater

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.memory.store import Store


class Writes:
    """The transactions of a session in order, "late" or "now", and the acts of its world between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        real, apply = Store.write, Room.apply

        @contextmanager
        def write(store: Store, *, late: bool = False) -> Iterator[Any]:
            with real(store, late=late) as connection:
                yield connection
            self.done.append("late" if late else "now")

        def applied(room: Room, *args: Any) -> Any:
            self.done.append("world")
            return apply(room, *args)

        monkeypatch.setattr(Store, "write", write)
        monkeypatch.setattr(Room, "apply", applied)


def begin(state: State, ctx: Context) -> None:
    """Its checkpoint is written after that of the input, which is written while it runs."""


def test_a_node_that_only_computes_is_one_transaction(bench: Bench, writes: Writes) -> None:
    def read(state: State, ctx: Context) -> None:
        writes.done.clear()
        ctx.observe(read_room)
        ctx.random()
        ctx.computed("decided", {"on": True})

    def after(state: State, ctx: Context) -> None:
        ended.append(list(writes.done))
        ctx.end("succeeded", "it was read")

    ended: list[list[str]] = []
    session = bench.start(one(begin, read, after), always_on())
    assert session.run() == "succeeded"
    assert ended == [["late"]], "its entries and its checkpoint, together"
    assert {e.kind for e in session.events} >= {"observed", "random", "decided"}


def test_what_the_outside_depends_on_is_on_the_disk_first(bench: Bench, writes: Writes) -> None:
    def act(state: State, ctx: Context) -> None:
        writes.done.clear()
        call = ctx.ask("navigator", "Heat?", tools=[set_heater])
        replied.extend(writes.done)
        ctx.act(call)
        sent.extend(writes.done[writes.done.index("world") - 1 :][:3])
        ctx.end("succeeded", "it is on")

    replied: list[str] = []
    sent: list[str] = []
    session = bench.start(one(begin, act), always_on(), approval="guard")
    assert session.run() == "succeeded"
    assert replied == ["now"], "a reply cannot be had again"
    assert sent == ["now", "world", "now"], "authorised before, settled after"


def test_writes_of_nodes_are_kept_only_where_they_halt(bench: Bench) -> None:
    def ask(state: State, ctx: Context) -> None:
        ctx.ask_human("Heat?")

    def after(state: State, ctx: Context) -> None:
        ctx.end("succeeded", "it was asked")

    session = bench.start(one(ask, after), always_on())
    assert session.run() == "waiting"
    with bench.memory.store.read() as connection:
        kept = connection.exec_driver_sql("SELECT DISTINCT channel FROM checkpoint_writes").scalars().all()
    assert kept == ["__interrupt__"]


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    """Of whatever runs from here on."""
    return Writes(monkeypatch)
