"""A loop's graph for whoever runs LangGraph graphs: each run of it holds and records the session of its `thread_id`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.graph.state import CompiledStateGraph

from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.serve import graph_of
from loopwright.graphs.loop.session import Session
from loopwright.graphs.loop.starting import configured, prepared
from loopwright.memory import Memory


class SessionGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled loop whose runs open and close their sessions. A thread that is new is a new session."""

    def __init__(self, *, loop: Declaration, memory: Memory, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.loop, self.memory = loop, memory

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:
        """See LangGraph."""
        with self._session(config).running():
            yield from super().stream(input, config, **options)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncIterator[Any]:
        """See LangGraph. Nodes run in threads; one that is cancelled comes to its end before the session is let go."""
        with ExitStack() as stack:
            running = (await asyncio.to_thread(self._session, config)).running()
            await asyncio.to_thread(stack.enter_context, running)
            closing = stack.pop_all()
            try:
                async for part in super().astream(input, config, **options):
                    yield part
            except BaseException as error:
                await asyncio.shield(asyncio.to_thread(_leave, closing, error))
                raise
            await asyncio.to_thread(closing.close)

    def _session(self, config: RunnableConfig | None) -> Session:
        given = merge_configs(self.config, config).get("configurable", {})
        session_id = given["thread_id"]
        if not self.memory.sessions.exists(session_id):
            settings = {name: given[name] for name in self.loop.config.model_fields if name in given}
            kept = prepared(self.loop, configured(self.loop, settings), given.get("models"))
            self.memory.sessions.create(self.loop.name, kept, session_id=session_id)
        return Session(self.loop, self.memory, session_id, models=given.get("models"), devices=given.get("devices"))


def _leave(stack: ExitStack, error: BaseException) -> None:
    stack.__exit__(type(error), error, error.__traceback__)


def served_graph(loop: Declaration, memory: Memory, config: RunnableConfig | None) -> SessionGraph:
    """The loop's compiled graph over `memory`. See `Loop.graph_factory`."""
    graph = SessionGraph(loop=loop, memory=memory, **vars(graph_of(loop, memory)))
    return graph.with_config(config) if config else graph
