"""LangChain's agents inside a node: a chat model and tools whose every reply and call is an entry of the record.

An agent's loop runs anew when its node does, and finds what it said and did: nobody is asked, nothing moves twice.
"""

import threading
from collections.abc import Callable, Iterator
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from loopwright.graphs.loop.acts import ActResult
from loopwright.models.asking import LoopwrightChatModel
from loopwright.models.calling import chunk_of
from loopwright.schema import CancelToken
from loopwright.tools.call import ToolReply
from loopwright.tools.contract import Tool
from loopwright.tools.langchain import langchain_tool

Ask = Callable[[list[BaseMessage], dict[str, Any]], AIMessage]
"""Asks the model of a role, given options of the call."""
Act = Callable[[str, Tool[Any, Any], dict[str, Any]], ActResult]
"""Carries out the call of a tool that has this key."""


class RecordedChatModel(LoopwrightChatModel):
    """The model of a role in one visit of a node. `cancel` is the session's, so that a call's own is not needed."""

    role: str
    ask: Any = Field(exclude=True, repr=False)

    @property
    def _llm_type(self) -> str:
        return "loopwright-recorded"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self.ask(messages, options | ({"stop": stop} if stop else {}))
        yield ChatGenerationChunk(message=chunk_of(reply, reply.text))


class AgentRun:
    """What the agents of one visit of a node share: keys of calls, and one call at a time.

    Args:
        next_key: gives the next entry's key.
        ask: asks a role under a key.
        act: carries a call out.
    """

    def __init__(
        self,
        next_key: Callable[[], str],
        ask: Callable[[str, str, list[BaseMessage], dict[str, Any]], AIMessage],
        act: Act,
    ) -> None:
        self._next_key, self._ask, self._act = next_key, ask, act
        self._keys: dict[str, str] = {}
        self._lock = threading.RLock()
        self._variables = copy_context()  # LangGraph's, of the node

    def chat_model(self, role: str, *, is_held: bool) -> RecordedChatModel:
        """The model in `role`; `is_held`: it holds replies to a `response_format` itself."""

        def ask(messages: list[BaseMessage], options: dict[str, Any]) -> AIMessage:
            with self._lock:
                reply = self._ask(self._next_key(), role, messages, options)
                for call in reply.tool_calls:  # they may be carried out in any order
                    self._keys[str(call["id"])] = self._next_key()
            return reply

        profile: ModelProfile = {"tool_calling": True, "structured_output": is_held}
        return RecordedChatModel(role=role, ask=ask, profile=profile)

    def chat_tool(self, tool: Tool[Any, Any]) -> BaseTool:
        """`tool`, whose calls are acts of the session."""

        def call(arguments: dict[str, Any], call_id: str) -> ToolReply:
            with self._lock:
                key = self._keys.pop(call_id, None) or self._next_key()
                result = self._variables.copy().run(self._act, key, tool, arguments)
            status = {"done": "ok"}.get(result.status, result.status)
            told = {"status": status, "for_model": result.text, "for_human": result.text}
            return ToolReply.model_validate(told | {"output": result.output if result.ok else None})

        return langchain_tool(tool, call)


def run_apart(agent: Runnable[Any, Any], given: Any) -> Any:
    """What `agent` makes of `given`, apart from the graph around it and from its checkpoints."""
    return Variables().run(agent.invoke, given)
