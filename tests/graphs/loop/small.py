"""Loops of one node, for tests of one property: `one(function)` over the thermostat's room and tools."""

from collections.abc import Callable
from typing import Any

from tests.loops.bench import Bench
from tests.loops.cases import Answering, Models
from tests.loops.thermostat import Room, SetTarget, read_room, set_heater

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role, State
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.session import Session

NodeFunction = Callable[[State, Context], Any]
ON = '{"name": "set_heater", "arguments": {"on": true}}'


def one(function: NodeFunction, *more: Any, **fields: Any) -> Loop:
    """A loop of `function`, and of further nodes."""
    return Loop("small", **{
        "nodes": [function, *more], "world": Room, "tools": [read_room, set_heater], "feedback": [SetTarget],
        "state": {"target_c": 20.0}, "roles": {"navigator": Role()}, **fields,
    })  # fmt: skip


def warm(state: State, ctx: Context) -> None:
    """End it."""
    ctx.end("succeeded", "it is warm")


def always_on() -> Models:
    """A model that switches the heater on whatever it is asked."""
    return {"navigator": Answering(answer=lambda _: ON)}


def room_c(bench: Bench, session: Session) -> float:
    """How warm it is, without a session."""
    return float(bench.worlds(session.id)[""]["room_c"])
