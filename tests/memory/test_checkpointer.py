"""LangGraph's checkpointers in the memory: the official suite, a strict allow-list, and never an image."""

import asyncio
import hashlib
import operator
import sqlite3
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from loopwright.errors import DeveloperError, IntegrityError, MemoryUnavailable
from loopwright.memory import Memory, open_memory
from loopwright.memory.checkpointer import ALLOWED, StrictSerializer
from loopwright.schema import Act, ImageRef, Outcome, Verdict

Execute = Callable[[str], list[tuple[Any, ...]]]
CHECKPOINT_TABLES = {
    "sqlite": ("checkpoints", "writes"),
    "postgresql": ("checkpoints", "checkpoint_blobs", "checkpoint_writes"),
}


class Stranger(BaseModel):
    """A class that no checkpoint may hold."""

    command: str


def test_the_official_suite_passes(memory: Memory) -> None:
    @checkpointer_test(name=f"loopwright {memory.url}")
    async def ours() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        yield memory.checkpointer()

    report = asyncio.run(validate(ours))
    failed = {name: r.failures for name, r in report.results.items() if r.passed is False}
    assert not failed
    for capability in BASE_CAPABILITIES:
        assert report.results[capability.value].passed, capability


class State(TypedDict):
    step: int
    images: Annotated[list[ImageRef], operator.add]
    verdict: Verdict | None


def _graph(memory: Memory, session_id: str, n_steps: int) -> Any:
    def look(state: State) -> dict[str, Any]:
        pixels = hashlib.shake_256(str(state["step"]).encode()).digest(200 * 1024)
        ref = memory.blobs.put(pixels, session_id=session_id, media_type="image/png", width_px=256, height_px=256)
        return {"step": state["step"] + 1, "images": [ref], "verdict": Verdict(ok=True)}

    def onward(state: State) -> str:
        return END if state["step"] == n_steps else "look"

    builder = StateGraph(State)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    builder.add_conditional_edges("look", onward)
    return builder.compile(checkpointer=memory.checkpointer())


def test_no_image_enters_a_checkpoint(memory: Memory, session_id: str, execute: Execute) -> None:
    """Six images of 200 KiB pass through a graph; the bytes on disk of its checkpoints hold none of them."""
    config: Any = {"configurable": {"thread_id": session_id}}
    graph = _graph(memory, session_id, n_steps=6)
    final = graph.invoke({"step": 0, "images": [], "verdict": None}, config)
    images = [memory.blobs.read(ref) for ref in final["images"]]
    assert [len(image) for image in images] == [200 * 1024] * 6
    tables = CHECKPOINT_TABLES["sqlite" if memory.url.startswith("sqlite") else "postgresql"]
    cells = [value for table in tables for row in execute(f"SELECT * FROM {table}") for value in row]
    written = [value if isinstance(value, bytes) else str(value).encode() for value in cells]
    assert sum(map(len, written)) > 2 * 1024
    assert sum(map(len, written)) < 64 * 1024
    for image in images:
        assert not any(image[at : at + 32] in blob for at in range(0, len(image), 50_000) for blob in written)


def test_a_graph_resumes_from_another_memory(url: str, memory: Memory, session_id: str) -> None:
    config: Any = {"configurable": {"thread_id": session_id}}
    _graph(memory, session_id, n_steps=2).invoke({"step": 0, "images": [], "verdict": None}, config)
    with open_memory(url) as reopened:
        state = _graph(reopened, session_id, n_steps=2).get_state(config).values
    assert state["verdict"] == Verdict(ok=True)
    assert all(isinstance(ref, ImageRef) for ref in state["images"])


def test_every_schema_value_passes_and_nothing_else() -> None:
    assert {Act, Outcome, Verdict, ImageRef} <= set(ALLOWED)
    serializer = StrictSerializer()
    value = {"act": Act(tool="move", arguments={"left_mm": 1.0}), "outcomes": [Outcome(key="k", status="done")]}
    assert serializer.loads_typed(serializer.dumps_typed(value)) == value
    with pytest.raises(DeveloperError, match=r"what a checkpoint may not: `.*test_checkpointer\.Stranger`"):
        serializer.dumps_typed({"deep": [Stranger(command="rm")]})
    with pytest.raises(DeveloperError):
        serializer.dumps_typed({"path": Path})


def test_an_unlisted_class_is_refused_on_load() -> None:
    foreign = JsonPlusSerializer(allowed_msgpack_modules=True).dumps_typed({"deep": [Stranger(command="rm")]})
    with pytest.raises(IntegrityError, match="Stranger"):
        StrictSerializer().loads_typed(foreign)
    with pytest.raises((IntegrityError, NotImplementedError)):
        StrictSerializer().loads_typed(("pickle", b"cos\nsystem\n(S'true'\ntR."))


def test_a_checkpoint_written_by_another_program_is_refused(memory: Memory, session_id: str) -> None:
    checkpointer = memory.checkpointer()
    config: Any = {"configurable": {"thread_id": session_id, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"state": {"order": "x"}}
    checkpoint["channel_versions"] = {"state": "1"}
    saver = checkpointer._saver
    strict, saver.serde = saver.serde, JsonPlusSerializer(allowed_msgpack_modules=True)
    checkpoint["channel_values"] = {"state": Stranger(command="rm")}
    stored = saver.put(config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"state": "1"})
    saver.serde = strict
    with pytest.raises(IntegrityError, match="Stranger"):
        checkpointer.get_tuple(stored)


def test_a_locked_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with open_memory(f"sqlite:///{path}", busy_timeout_s=0.1) as memory:
        checkpointer = memory.checkpointer()
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        with pytest.raises(MemoryUnavailable, match="locked"):
            checkpointer.put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
        blocker.close()


def test_pruning_forgets_the_checkpoints(memory: Memory, session_id: str) -> None:
    config: Any = {"configurable": {"thread_id": session_id}}
    graph = _graph(memory, session_id, n_steps=2)
    graph.invoke({"step": 0, "images": [], "verdict": None}, config)
    other = memory.sessions.create("carm", {}).id
    other_config: Any = {"configurable": {"thread_id": other}}
    _graph(memory, other, n_steps=2).invoke({"step": 0, "images": [], "verdict": None}, other_config)
    memory.retention.prune(session_id)
    assert memory.checkpointer().get_tuple(config) is None
    assert memory.checkpointer().get_tuple(other_config) is not None
