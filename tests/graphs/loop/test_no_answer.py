"""A node that can do without a model's answer: the failure is on record, and the node goes on."""

from pathlib import Path
from typing import Any

import pytest
from tests.loops.bench import Bench, kinds
from tests.loops.cases import Answering

from loopwright.errors import NoAnswer, OperatorError
from loopwright.graphs.loop.declare import Role
from loopwright.graphs.loop.loop import Loop
from loopwright.schema import Frozen


class Answer(Frozen):
    yes: bool


def leave(state: dict[str, Any], ctx: Any) -> None:
    try:
        ctx.ask("oracle", "Is it?", Answer, may_fail=True)
    except NoAnswer:
        found = ctx.computed("decided", {"alone": True})
        ctx.end("succeeded", f"alone: {found['alone']}")


def insist(state: dict[str, Any], ctx: Any) -> None:
    try:
        ctx.ask("oracle", "Is it?", Answer)
    except OperatorError:
        ctx.end("succeeded", "a node cannot swallow it")


def begin(bench: Bench, node: Any) -> Any:
    loop = Loop("doubt", nodes=[node], roles={"oracle": Role()})
    return bench.start(loop, {"oracle": Answering(answer=lambda _: "Perhaps.")})


def test_it_goes_on_and_the_failure_is_on_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    session = begin(bench, leave)
    assert session.run() == "succeeded"
    (replied,) = kinds(session.events, "replied")
    assert "None of 3 answers was a `Answer`" in replied["error"]
    bench.whole(session)
    bench.close()


def test_without_saying_so_the_session_stops_at_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    session = begin(bench, insist)
    with pytest.raises(OperatorError, match="None of 3 answers"):
        session.run()
    assert kinds(session.events, "replied") == []
    bench.close()
