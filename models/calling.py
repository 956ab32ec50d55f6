"""One call of any LangChain chat model, which ends when the cancel token is set.

This project's models, and others that say so with the attribute `takes_cancel = True`, take the token as the keyword
`cancel`. Any other model is given nothing that LangChain's interface has not: it runs by `astream` on the background
event loop, is left as soon as the token is set, and what it answers after that is dropped. Knows no answer format.
"""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.runnables import Runnable

from loopwright.errors import LoopwrightError, OperatorError
from loopwright.models.background import on_loop, wait_for
from loopwright.models.characters import whole
from loopwright.models.images import with_pixels
from loopwright.schema import BlobReader, CancelToken

T = TypeVar("T")
MAX_REPLY_BYTES = 256 * 1024
"""A model that is not this project's is left when it says more."""
CHARS_A_TOKEN = 4
"""Rule of thumb, for what a model does not report."""


class Usage(NamedTuple):
    """Tokens of prompts and replies. `is_estimated`: some were not reported, and are counted by their characters."""

    input_tokens: int = 0
    output_tokens: int = 0
    is_estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Of both."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: "Usage") -> "Usage":
        """The sum of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.is_estimated or other.is_estimated,
        )


def call(
    model: Runnable[LanguageModelInput, AIMessage],
    messages: Sequence[BaseMessage],
    *,
    cancel: CancelToken | None = None,
    images: BlobReader | None = None,
    **options: Any,
) -> AIMessage:
    """The model's reply to `messages`, whole. Blocks; may be called on any thread, also one that runs an event loop.

    Args:
        model: a chat model, or one with options or tools bound to it.
        messages: the prompt.
        cancel: ends the call within a token, or within `POLL_S` where the model does not take it.
        images: gives the pixels of the images that messages refer to, for a model that does not take `cancel`;
            this project's models are opened with a reader of their own.
        options: keywords of the call that the model knows.

    Raises:
        Stopped, Paused: `cancel` was set.
        OperatorError: a model that is not this project's failed; the message says how.
        BadInput: messages refer to images, and there is no reader.
        LoopwrightError: what this project's models raise.
    """
    cancel = cancel or CancelToken()
    cancel.raise_if_set()
    if getattr(model, "takes_cancel", False):
        return model.invoke(list(messages), cancel=cancel, **options)
    replying = on_loop(_reply(model, with_pixels(messages, images), options))
    try:
        return _reply_or_error(replying, cancel, _name(model))
    finally:
        replying.cancel()


def usage_of(messages: Sequence[BaseMessage], reply: AIMessage) -> Usage:
    """What a call cost: as the model reports it, else by the characters of prompt and reply."""
    if (reported := reply.usage_metadata) is not None:
        return Usage(reported["input_tokens"], reported["output_tokens"])
    asked = sum(len(message.text) for message in messages)
    said = len(reply.text) + sum(len(str(call["args"])) for call in reply.tool_calls)
    return Usage(-(-asked // CHARS_A_TOKEN), -(-said // CHARS_A_TOKEN), is_estimated=True)


def chunk_of(reply: AIMessage, content: str = "") -> AIMessageChunk:
    """The last chunk of `reply`, with `content`, and all of it but its text."""
    calls = [
        *(
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"])
            for call in reply.tool_calls
        ),
        *(tool_call_chunk(name=call["name"], args=call["args"], id=call["id"]) for call in reply.invalid_tool_calls),
    ]
    for index, call in enumerate(calls):
        call["index"] = index
    return AIMessageChunk(
        content=content,
        tool_call_chunks=calls,
        usage_metadata=reply.usage_metadata,
        response_metadata=reply.response_metadata,
        chunk_position="last",
    )


async def _reply(
    model: Runnable[LanguageModelInput, AIMessage], messages: list[BaseMessage], options: dict[str, Any]
) -> AIMessage:
    chunks: list[Any] = []
    n_bytes = 0
    async for chunk in model.astream(messages, **options):
        chunks.append(chunk)
        n_bytes += len(chunk.text.encode(errors="replace"))
        if n_bytes > MAX_REPLY_BYTES:
            raise OperatorError(
                f"`{_name(model)}` replies with more than {MAX_REPLY_BYTES} bytes; it was left, and nothing of it is "
                "read. Limit the length of its replies (`max_tokens`)."
            )
    if not chunks:
        raise OperatorError(f"`{_name(model)}` ended without a reply. Ask again, or take another model.")
    first, *rest = chunks
    reply = message_chunk_to_message(first + rest if isinstance(first, AIMessageChunk) and rest else first)
    if not isinstance(reply, AIMessage):
        raise OperatorError(f"`{_name(model)}` replied with {reply!r:.200}; expected an `AIMessage`.")
    if isinstance(reply.content, str):
        reply.content = whole(reply.content)
    return reply


def _reply_or_error(replying: Future[T], cancel: CancelToken, name: str) -> T:
    wait_for(replying, cancel)
    error = replying.exception()
    if error is None or isinstance(error, LoopwrightError) or not isinstance(error, Exception):
        return replying.result()
    raise OperatorError(
        f"`{name}` failed: {type(error).__name__}: {str(error)[:500]}. Look at the model, then ask again."
    ) from error


def _name(model: object) -> str:
    """What messages call a model, whatever is bound to it."""
    return type(getattr(model, "bound", model)).__name__
