"""Nodes that run at once: which of them ends the loop, and what they may not both write."""

from typing import Any

import pytest
from tests.graphs.loop.small import one, warm
from tests.loops.bench import Bench, kinds
from tests.loops.thermostat import read_room

from loopwright.errors import DeveloperError
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.loop import Loop


def begin(state: State, ctx: Context) -> None:
    """Nothing."""


def zeta(state: State, ctx: Context) -> None:
    """Declared first, though its name comes last."""
    ctx.end("succeeded", "zeta says so")


def alpha(state: State, ctx: Context) -> None:
    """Declared second."""
    ctx.end("failed", "alpha says so")


def beta(state: State, ctx: Context) -> None:
    """Goes on."""


def loop_of(*nodes: Any, **fields: Any) -> Loop:
    """A loop without models."""
    return one(*nodes, roles={}, **fields)


@pytest.mark.parametrize("after", [(warm,), ((warm, beta),), ()], ids=["one", "several", "the first again"])
def test_the_first_declared_of_several_that_end_it_does(bench: Bench, after: tuple[Any, ...]) -> None:
    session = bench.start(loop_of(begin, (zeta, alpha), *after))
    assert session.run() == "succeeded"
    assert session.state["reason"] == "zeta says so"
    (ended,) = [event for event in session.events if event.kind == "finished"]
    assert (ended.key, ended.payload["status"]) == ("0/zeta.0/end", "succeeded")
    assert session.events[-1] == ended
    bench.whole(session)


def test_one_of_several_ends_a_nested_loop(bench: Bench) -> None:
    inner = loop_of(begin, (beta, alpha)).varied(name="inner")
    session = bench.start(loop_of(inner, warm))
    assert session.run() == "succeeded"
    assert session.state["inner"] == {"status": "failed", "reason": "alpha says so"}
    assert [payload["path"] for payload in kinds(session.events, "finished")] == ["inner.0/", ""]
    bench.whole(session)


def test_a_budget_that_is_used_up_ends_it_once(bench: Bench) -> None:
    session = bench.start(loop_of(begin, (beta, alpha), budget=Budget(seconds=1e-9)))
    assert session.run() == "failed"
    assert len(kinds(session.events, "finished")) == 1


@pytest.mark.parametrize("key", ["target_c", "observation"])
def test_what_two_of_them_write_is_refused_by_name(bench: Bench, key: str) -> None:
    def left(state: State, ctx: Context) -> None:
        if key == "target_c":
            state["target_c"] = 1.0
        else:
            ctx.observe(read_room)

    def right(state: State, ctx: Context) -> None:
        left({"target_c": 0.0} if key == "observation" else state, ctx)

    loop = loop_of(begin, (left, right), warm)
    session = bench.start(loop)
    said = f"Nodes 'left' and 'right' run at once, and both wrote the state key '{key}'"
    for _ in range(2):  # it says the same when it is resumed
        with pytest.raises(DeveloperError, match=said):
            session.run()
    assert said in session.events[-1].payload["text"]
    assert loop.replay(session.id, bench.memory).difference is None
    session.rewind(0)
    mended = loop.replace(right=beta).resume(session.id, bench.memory, devices=bench.devices)
    assert mended.run() == "succeeded"
