"""A chat model that says what it was told to say: for tests, demos and rehearsals, through the same door as any other.

A script that is too short or too long is an error, never silence: the loop above it did not do what was expected.
"""

import json
import re
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr

from loopwright.errors import DeveloperError, OperatorError
from loopwright.models.asking import LoopwrightChatModel
from loopwright.schema import CancelToken

_WORD = re.compile(r"\s*\S+|\s+")


class ScriptedChatModel(LoopwrightChatModel):
    """Gives its replies in order, streamed word by word. An exception in the script is raised in its turn.

    As a context manager it checks on leaving that the whole script was used, as `finish` does. `cancel` is a keyword of
    a call, as with every model; tools and further keywords are accepted and change nothing: a reply that calls a tool
    is written as an `AIMessage` with `tool_calls`.

    Raises, from a call:
        OperatorError: the script is over.
        Stopped, Paused: `cancel` was set.
    """

    replies: tuple[str | Exception | AIMessage, ...]

    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        """What was asked so far, oldest first."""
        return list(self._prompts)

    def finish(self) -> None:
        """Raise `DeveloperError` where replies are left that nobody asked for."""
        used, written = len(self._prompts), len(self.replies)
        if used < written:
            raise DeveloperError(
                f"The script runs over: {written - used} of its {written} replies were not asked for. The next would "
                f"have been {self.replies[used]!r:.200}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    @property
    def _llm_type(self) -> str:
        return "loopwright-scripted"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        cancel = cancel or CancelToken()
        cancel.raise_if_set()
        reply = self._next(messages)
        for word in _WORD.findall(reply.text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            cancel.raise_if_set()
        yield ChatGenerationChunk(message=_rest(reply))

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        with self._lock:
            turn = len(self._prompts)
            if turn == len(self.replies):
                raise OperatorError(
                    f"The scripted model has no reply left: its `replies` are {turn}, and another was asked for. Add "
                    f"one that answers the prompt, which ends with {messages[-1].text[-200:]!r}."
                )
            self._prompts.append(messages)
        reply = self.replies[turn]
        if isinstance(reply, Exception):
            raise reply
        return AIMessage(reply) if isinstance(reply, str) else reply


def _rest(reply: AIMessage) -> AIMessageChunk:
    """All of a reply but its text."""
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(reply.tool_calls)
    ]
    return AIMessageChunk(
        content="",
        tool_call_chunks=calls,
        usage_metadata=reply.usage_metadata,
        response_metadata=reply.response_metadata,
        chunk_position="last",
    )
