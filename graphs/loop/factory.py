"""A loop's graph for whoever runs LangGraph graphs: nodes open the session of their `thread_id`."""

import threading
from contextlib import ExitStack
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphInterrupt

from loopwright.errors import Halted
from loopwright.graphs.loop.compile import build
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.runtime import Runtime, find_runtime
from loopwright.graphs.loop.session import Session
from loopwright.graphs.loop.starting import configured, prepared
from loopwright.memory import Memory


def served_graph(loop: Declaration, memory: Memory, config: RunnableConfig | None) -> Any:
    """The loop's compiled graph over `memory`. See `Loop.graph_factory`."""
    served = _Served(loop, memory)
    compiled = build(loop, served.find, served.rest).compile(checkpointer=memory.checkpointer(), name=loop.name)
    return compiled.with_config(config) if config else compiled


class _Served:
    """Opens sessions for the nodes of one graph, and closes each when its graph comes to rest."""

    def __init__(self, loop: Declaration, memory: Memory) -> None:
        self._loop, self._memory = loop, memory
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Session, ExitStack]] = {}

    def find(self, config: RunnableConfig) -> Runtime:
        """The live session of the thread; a new one is begun with the settings in `configurable`."""
        given = config["configurable"]
        with self._lock:
            runtime = find_runtime(given["thread_id"])
            if runtime is not None:
                return runtime
            session, stack = self._session(given), ExitStack()
            with stack:
                runtime = stack.enter_context(session.held())
                self._open[session.id] = session, stack.pop_all()
            return runtime

    def rest(self, runtime: Runtime, how: "str | BaseException") -> None:
        """The graph has ended, waits, was halted or failed."""
        with self._lock:
            session, stack = self._open.pop(runtime.session_id, (None, None))
        if session is None or stack is None:
            return
        with stack:
            if isinstance(how, str):
                session.rest(how)
            elif isinstance(how, GraphInterrupt):
                session.rest("waiting")
            elif isinstance(how, Halted):
                session.halted(how)
            elif isinstance(how, Exception):
                session.failed(how)

    def _session(self, given: dict[str, Any]) -> Session:
        session_id = given["thread_id"]
        if not self._memory.sessions.exists(session_id):
            settings = {name: given[name] for name in self._loop.config.model_fields if name in given}
            kept = prepared(self._loop, configured(self._loop, settings), given.get("models"))
            self._memory.sessions.create(self._loop.name, kept, session_id=session_id)
        return Session(self._loop, self._memory, session_id, models=given.get("models"))
