"""What an agent may ask its memory: bounded whatever was recorded, on the line of history that counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from loopwright.errors import DeveloperError
from loopwright.memory import Memory, open_memory
from loopwright.schema import World
from loopwright.tools.contract import ToolContext
from loopwright.tools.recall import leave_note, recall_history, recall_similar

NO_WORLD = cast(World, object())


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def context(memory: Memory) -> ToolContext:
    return ToolContext(session_id=held(memory, "carm"), step=9, world=NO_WORLD, memory=memory)


def held(memory: Memory, loop: str) -> str:
    """A new session, held until the memory is closed."""
    return memory.sessions.acquire(memory.sessions.create(loop, {}).id).session_id


def record(memory: Memory, session_id: str, labels: str, signature: str = "near Skull", **detail: Any) -> None:
    for step, label in enumerate(labels):
        memory.steps.record(session_id, 0, step, label=label, signature=signature, detail=detail)


def test_a_new_session_has_no_past(context: ToolContext) -> None:
    past = recall_history.run({"n": 5}, context)
    assert (past.steps, past.earlier, past.n_omitted) == ((), (), 0)
    assert recall_similar.run({"n": 5}, context).steps == ()


def test_the_latest_rounds_are_whole_and_the_earlier_ones_are_runs(context: ToolContext, memory: Memory) -> None:
    record(memory, context.session_id, "aaabb", moved={"left_mm": 20})
    past = recall_history.run({"n": 2}, context)
    assert [(r.step, r.label, r.detail) for r in past.steps] == [
        (3, "b", '{"moved":{"left_mm":20}}'),
        (4, "b", '{"moved":{"left_mm":20}}'),
    ]
    assert [(r.label, r.first_step, r.last_step, r.n) for r in past.earlier] == [("a", 0, 2, 3)]


def test_what_is_recalled_is_bounded_whatever_was_recorded(context: ToolContext, memory: Memory) -> None:
    for step in range(90):
        label = f"{step}" * 100
        memory.steps.record(context.session_id, 0, step, label=label, signature="s", detail={"x": "y" * 5000})
    reply = recall_history.call({"n": 20}, context)
    assert reply.status == "ok"
    assert reply.output is not None
    assert len(reply.for_model) < 30_000
    assert len(reply.output["earlier"]) + reply.output["n_omitted"] == 70
    assert reply.output["steps"][-1]["detail"].endswith("…")


def test_precedents_are_of_any_session_of_the_loop_and_not_the_present_one(
    context: ToolContext, memory: Memory
) -> None:
    other, stranger = held(memory, "carm"), held(memory, "drive")
    record(memory, other, "uv")
    record(memory, stranger, "w")
    record(memory, context.session_id, "ab")
    steps = recall_similar.run({"n": 20}, context).steps
    assert [(r.session_id, r.label) for r in steps] == [(context.session_id, "a"), (other, "v"), (other, "u")]
    assert len(recall_similar.run({"n": 1}, context).steps) == 1


def test_a_note_is_an_event_and_a_node_that_is_run_again_leaves_it_once(context: ToolContext, memory: Memory) -> None:
    first = leave_note.run({"text": "the patient coughs"}, context)
    assert leave_note.run({"text": "the patient coughs"}, context) == first
    assert leave_note.run({"text": "again"}, context).seq == first.seq + 1
    notes = [(e.step, e.payload) for e in memory.events.read(context.session_id) if e.kind == "note"]
    assert notes == [(9, {"text": "the patient coughs"}), (9, {"text": "again"})]


def test_without_a_memory_nothing_can_be_recalled() -> None:
    with pytest.raises(DeveloperError, match="give the `ToolContext` a `memory="):
        recall_history.call({"n": 1}, ToolContext(session_id="s", step=1, world=NO_WORLD))
