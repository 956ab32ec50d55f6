"""LangGraph's checkpoints in the memory: the official suite, a strict allow-list, the lease, and never an image."""

import asyncio
import hashlib
import operator
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from loopwright.errors import DeveloperError, IntegrityError, MemoryUnavailable, SessionBusy
from loopwright.memory import Memory, open_memory
from loopwright.memory.checkpointer import ALLOWED, Checkpointer, StrictSerializer
from loopwright.schema import Act, ImageRef, Outcome, Verdict

Execute = Callable[[str], list[tuple[Any, ...]]]


class Stranger(BaseModel):
    """A class that no checkpoint may hold."""

    command: str


class AnyThread(Checkpointer):
    """As the official suite wants a saver: it names the threads itself, and holds no lease of them."""

    def __init__(self, memory: Memory, held: ExitStack) -> None:
        super().__init__(memory._store)
        self._memory, self._held = memory, held

    def _hold(self, thread_id: str) -> None:
        if thread_id in self._store.tokens:
            return
        self._memory.sessions.create("carm", {}, session_id=thread_id)
        self._held.enter_context(self._memory.sessions.acquire(thread_id))

    def put(self, config: RunnableConfig, *rest: Any) -> RunnableConfig:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._hold(config.get("configurable", {})["thread_id"])
        return super().put(config, *rest)

    def put_writes(self, config: RunnableConfig, *rest: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._hold(config.get("configurable", {})["thread_id"])
        super().put_writes(config, *rest)


def test_the_official_suite_passes(memory: Memory) -> None:
    """Its calls are the async ones, which run the sync ones in threads."""

    @checkpointer_test(name=f"loopwright {memory.url}")
    async def ours() -> AsyncGenerator[BaseCheckpointSaver[int], None]:
        with ExitStack() as held:
            yield AnyThread(memory, held)

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
    tables = ("checkpoints", "checkpoint_writes")
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
    checkpoint["channel_values"] = {"state": Stranger(command="rm")}
    foreign = memory.checkpointer()
    foreign.serde = JsonPlusSerializer(allowed_msgpack_modules=True)
    stored = foreign.put(config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"state": 1})
    with pytest.raises(IntegrityError, match="Stranger"):
        checkpointer.get_tuple(stored)


def test_a_locked_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with open_memory(f"sqlite:///{path}", busy_timeout_s=0.1) as memory:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        with pytest.raises(MemoryUnavailable, match="locked"):
            memory.checkpointer().put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
        blocker.close()


def test_pruning_forgets_the_checkpoints(memory: Memory, session_id: str) -> None:
    config: Any = {"configurable": {"thread_id": session_id}}
    other = memory.sessions.create("carm", {}).id
    other_config: Any = {"configurable": {"thread_id": other}}
    _graph(memory, session_id, n_steps=2).invoke({"step": 0, "images": [], "verdict": None}, config)
    with memory.sessions.acquire(other):
        _graph(memory, other, n_steps=2).invoke({"step": 0, "images": [], "verdict": None}, other_config)
    memory.retention.prune(other)
    assert memory.checkpointer().get_tuple(other_config) is None
    assert memory.checkpointer().get_tuple(config) is not None


class Count(TypedDict):
    n: Annotated[int, operator.add]
    seen: Annotated[list[str], operator.add]


def _parallel(memory: Memory) -> Any:
    """One compiled graph: two branches at once, one of them a subgraph that asks, and then both once more."""

    def ask(state: Count) -> dict[str, Any]:
        return {"n": 1, "seen": [str(interrupt("how many?"))]}

    inner: Any = StateGraph(Count)
    inner.add_node("before", lambda _: {"n": 1, "seen": ["before"]})
    inner.add_node("ask", ask)
    inner.add_edge(START, "before")
    inner.add_edge("before", "ask")
    outer: Any = StateGraph(Count)
    outer.add_node("inner", inner.compile())
    outer.add_node("beside", lambda _: {"n": 10, "seen": ["beside"]})
    outer.add_node("join", lambda _: {"n": 100, "seen": ["join"]})
    outer.add_edge(START, "inner")
    outer.add_edge(START, "beside")
    outer.add_edge(["inner", "beside"], "join")
    return outer.compile(checkpointer=memory.checkpointer())


@pytest.mark.parametrize("is_async", [False, True])
def test_one_graph_runs_sessions_with_subgraphs_branches_and_interrupts(
    memory: Memory, new_session: Callable[..., str], is_async: bool
) -> None:
    graph = _parallel(memory)

    def run(given: Any, config: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, config)) if is_async else graph.invoke(given, config)

    configs = [{"configurable": {"thread_id": new_session()}} for _ in range(2)]
    for config in configs:
        assert run({"n": 0, "seen": []}, config)["__interrupt__"][0].value == "how many?"
    for config, answer in zip(configs, ("two", "three"), strict=True):
        nested = graph.get_state(config, subgraphs=True).tasks
        (inner,) = [task.state for task in nested if task.name == "inner"]
        assert (inner.values["seen"], inner.next) == (["before"], ("ask",))
        done = run(Command(resume=answer), config)
        assert done["n"] == 112
        assert sorted(done["seen"]) == sorted(["beside", "before", answer, "join"])


def test_history_time_travel_and_deletion(memory: Memory, session_id: str) -> None:
    graph = _parallel(memory)
    config: Any = {"configurable": {"thread_id": session_id}}
    graph.invoke({"n": 0, "seen": []}, config)
    graph.invoke(Command(resume="two"), config)
    history = list(graph.get_state_history(config))
    assert history[0].values["n"] == 112
    assert [h.config for h in graph.get_state_history(config, limit=2)] == [h.config for h in history[:2]]
    assert [h.config for h in graph.get_state_history(config, filter={"step": 1})] == [
        h.config for h in history if h.metadata["step"] == 1
    ]
    assert [h.config for h in graph.get_state_history(config, before=history[0].config)] == [
        h.config for h in history[1:]
    ]
    before_join = next(h for h in history if h.next == ("join",))
    changed = graph.update_state(before_join.config, {"n": 1000, "seen": ["changed"]}, as_node="beside")
    assert graph.get_state(changed).values["n"] == 1012
    memory.checkpointer().delete_thread(session_id)
    assert list(graph.get_state_history(config)) == []


def test_an_overtaken_run_leaves_no_late_checkpoint(url: str, memory: Memory, unheld_id: str, execute: Execute) -> None:
    """It is suspended in a node; another process takes over and goes on. What wakes writes neither state nor task."""
    config: Any = {"configurable": {"thread_id": unheld_id}}
    lease = memory.sessions.acquire(unheld_id)

    def sleep(state: Count) -> dict[str, Any]:
        execute("DELETE FROM leases")  # as if it had slept for longer than a lease holds
        with open_memory(url) as other, other.sessions.acquire(unheld_id):
            other.checkpointer().delete_thread(unheld_id)
        return {"n": 1, "seen": ["late"]}

    builder = StateGraph(Count)
    builder.add_node("sleep", sleep)
    builder.add_edge(START, "sleep")
    with pytest.raises(SessionBusy, match="held with token 2, this process comes with token 1"):
        builder.compile(checkpointer=memory.checkpointer()).invoke({"n": 0, "seen": []}, config, durability="sync")
    assert execute("SELECT count(*) FROM checkpoints") == execute("SELECT count(*) FROM checkpoint_writes") == [(0,)]
    lease.release()
