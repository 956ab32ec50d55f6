"""A replay compares the state after each node too: what a node did not take from `ctx` is named."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.graphs.loop.small import one
from tests.loops.bench import Bench

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State


@pytest.mark.parametrize("chance", [random.random, time.time_ns], ids=["random", "time"])
def test_chance_that_only_the_state_holds_is_named(bench: Bench, chance: Callable[[], Any]) -> None:
    def count(state: State, ctx: Context) -> None:
        state["n"] += 1

    def wander(state: State, ctx: Context) -> None:
        if state["n"] == 2:
            state["spot"] = chance()

    def end(state: State, ctx: Context) -> None:
        if state["n"] == 3:
            ctx.end("succeeded", "three steps")

    loop = one(count, wander, end, roles={}, state={"n": 0, "spot": 0})
    session = bench.start(loop)
    assert session.run() == "succeeded"
    said = loop.replay(session.id, bench.memory).difference
    assert said is not None
    assert said.startswith("node 'wander' of step 1 left the state key 'spot' as ")
    assert "`ctx.random()`" in said


def test_what_it_leads_to_is_said_too(bench: Bench) -> None:
    def wander(state: State, ctx: Context) -> None:
        state["spot"] = random.random()

    def tell(state: State, ctx: Context) -> None:
        ctx.computed("told", {"spot": state["spot"]})
        ctx.end("succeeded", "once")

    loop = one(wander, tell, roles={}, state={"spot": 0.0})
    session = bench.start(loop)
    session.run()
    said = str(loop.replay(session.id, bench.memory).difference)
    assert "node 'wander' of step 0 left the state key 'spot'" in said and "(told, step 0)" in said


def test_a_replay_comes_to_the_failure_that_is_on_record(bench: Bench) -> None:
    def divide(state: State, ctx: Context) -> None:
        state["n"] = 1 // state["n"]

    loop = one(divide, roles={}, state={"n": 0})
    session = bench.start(loop)
    with pytest.raises(ZeroDivisionError):
        session.run()
    assert loop.replay(session.id, bench.memory).difference is None
    with pytest.raises(KeyError):
        loop.replace(divide=lambda state, ctx: state["m"]).replay(session.id, bench.memory)


def test_a_replay_that_never_comes_to_a_rewound_step_differs(bench: Bench) -> None:
    def count(state: State, ctx: Context) -> None:
        state["n"] += 1

    def judge(state: State, ctx: Context) -> None:
        if ctx.computed("judged", {"n": state["n"]})["n"] == 3:
            ctx.end("succeeded", "three")

    loop = one(count, judge, roles={}, state={"n": 0})
    session = bench.start(loop)
    session.run()
    session.rewind(1)
    session.run()
    bench.whole(session)
    early = loop.replace(judge=lambda state, ctx: ctx.end("failed", "at once"))
    assert "was recorded and not replayed" in str(early.replay(session.id, bench.memory).difference)


@pytest.mark.parametrize(("before", "after"), [(0.0, -0.0), (1, 1.0), (1, True), ([[0.0]], [[-0.0]])])
def test_a_value_that_only_python_takes_for_the_same_is_kept(bench: Bench, before: Any, after: Any) -> None:
    def change(state: State, ctx: Context) -> None:
        state["spot"] = after

    def tell(state: State, ctx: Context) -> None:
        ctx.end("succeeded", repr(state["spot"]))

    session = bench.start(one(change, tell, roles={}, state={"spot": before}))
    assert session.run() == "succeeded"
    assert session.state["reason"] == repr(after)
    bench.whole(session)
