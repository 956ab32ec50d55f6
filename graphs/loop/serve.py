"""One compiled graph a loop: for its sessions, and for any server that runs LangGraph graphs.

A node finds its session by `thread_id`; `loopwright.graphs.loop.factory` opens one where there is none.
"""

import inspect
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP

from loopwright.agents.sessions.recorder import Recorder
from loopwright.errors import BadInput
from loopwright.graphs.loop.compile import FindRuntime, build
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.models import Given, open_models
from loopwright.graphs.loop.runtime import LateWorld, Runtime, Scope, find_runtime
from loopwright.memory import Lease, Memory, SessionRow, open_memory
from loopwright.memory.checkpointer import Checkpointer
from loopwright.memory.store import Change
from loopwright.settings import settings
from loopwright.tools.devices import device_file

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph


RECURSION_LIMIT = 10_000_000
"""LangGraph's own limit on nodes per run; a loop's budget is the kit's, so this one only has to be out of the way."""

_COMPILED: "WeakKeyDictionary[Memory, dict[int, tuple[Declaration, CompiledStateGraph[Any, Any, Any, Any]]]]" = (
    WeakKeyDictionary()
)
_LOCK = threading.Lock()


class SessionCheckpointer(Checkpointer):
    """Checkpoints of live sessions, each written together with what the session's recorder held back.

    What a task has written is kept only where it halts: nodes that are run again find their entries by key, so that
    LangGraph need not know which of several that ran at once were done.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory.store)
        self._memory = ref(memory)  # the graph is kept as long as its memory

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `BaseCheckpointSaver`."""
        if any(channel in WRITES_IDX_MAP for channel, _ in writes):
            super().put_writes(config, writes, task_id, task_path)

    def write(self, change: Change, session_id: str) -> None:
        """See `Checkpointer.write`."""
        memory = self._memory()
        runtime = None if memory is None else find_runtime(memory, session_id)
        if runtime is None:
            super().write(change, session_id)
        else:
            runtime.is_checkpointed = True
            runtime.recorder.flush(change)


def graph_of(loop: Declaration, memory: Memory) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The loop's graph over a memory's checkpointer, compiled once."""
    with _LOCK:
        known = _COMPILED.setdefault(memory, {})
        if id(loop) not in known:
            compiled = build(loop, _finder(memory)).compile(checkpointer=SessionCheckpointer(memory), name=loop.name)
            known[id(loop)] = loop, compiled
        return known[id(loop)][1]


def bare_graph(loop: Declaration) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The loop's graph without a memory: to be drawn, or compiled by whoever brings a checkpointer."""
    return build(loop, _finder(None)).compile(name=loop.name)


def _finder(memory: Memory | None) -> FindRuntime:
    reference = None if memory is None else ref(memory)  # the graph is kept as long as its memory

    def find(config: RunnableConfig) -> Runtime:
        session_id = config.get("configurable", {}).get("thread_id")
        opened = reference() if reference is not None else None
        runtime = None if opened is None else find_runtime(opened, str(session_id))
        if runtime is None:
            raise BadInput(
                f"Session {session_id!r} is not run by this process, so its graph does nothing. Run it by `Loop.start` "
                "or `Loop.resume`, or get the graph from `loop.graph_factory(config)`."
            )
        return runtime

    return find


@lru_cache(maxsize=4)
def _default_memory(url: str, busy_timeout_s: float) -> Memory:
    return open_memory(url, busy_timeout_s=busy_timeout_s)


def default_memory() -> Memory:
    """The configured memory, opened once in this process."""
    return _default_memory(settings().memory_url, settings().memory.busy_timeout_s)


def default_devices() -> Path:
    """Where simulated devices are kept."""
    return settings().data_dir / "devices"


def open_runtime(
    loop: Declaration,
    row: SessionRow,
    memory: Memory,
    lease: Lease,
    *,
    models: Given | None = None,
    devices: Path | None = None,
    recorder: Recorder | None = None,
) -> Runtime:
    """The runtime of a session that this process holds."""
    kept = row.config
    scopes = _scopes(loop, kept, "", row.id, devices or default_devices(), {})
    return Runtime(
        memory,
        row.id,
        recorder or Recorder(memory, row.id),
        scopes,
        open_models(kept["models"], models, memory.blobs),
        lease=lease,
    )


def worlds_of(loop: Declaration, row: SessionRow, devices: Path) -> dict[Path, LateWorld]:
    """The worlds of a session, by their device files where they have one; none is opened yet."""
    found: dict[Path, LateWorld] = {}
    for path, scope in _scopes(loop, row.config, "", row.id, devices, {}).items():
        if scope.world is not None and scope.world not in found.values():
            found[device_file(devices, row.id, path)] = scope.world
    return found


def _scopes(
    loop: Declaration, kept: dict[str, Any], path: str, session_id: str, devices: Path, worlds: dict[Any, LateWorld]
) -> dict[str, Scope]:
    """The loop's scope and those of the loops nested in it; loops with the same `world` share one."""
    own = kept["scopes"][path]
    config = loop.config.model_validate(own["config"])
    if loop.world is not None and loop.world not in worlds:
        worlds[loop.world] = LateWorld(_opener(loop, config, own["prepared"], device_file(devices, session_id, path)))
    world = None if loop.world is None else worlds[loop.world]
    found = {path: Scope(loop=loop, path=path, config=config, prepared=own["prepared"], world=world)}
    for name, inner in loop.nested.items():
        found |= _scopes(inner, kept, f"{path}/{name}".strip("/"), session_id, devices, worlds)
    return found


def _opener(loop: Declaration, config: Any, prepared: dict[str, Any], device: Path) -> Any:
    """Opens a loop's world: a function of (config, prepared, device), or a class with keywords that the run sets."""
    world = loop.world
    assert world is not None, "only a loop with a world has one to open"
    if not isinstance(world, type):
        return lambda: world(config, prepared, device)
    taken = inspect.signature(world).parameters
    chosen = {name: value for name, value in config if name in taken and name in config.model_fields_set}
    return lambda: world(device=device, **chosen)
