"""One model behind an OpenAI-compatible endpoint: a request goes in, its reply comes out chunk by chunk.

The `openai` client keeps the timeouts and retries, with backoff. It runs on an event loop in a thread of its own, so
that a halt reaches a call in every phase: connecting, waiting for the first token, between tokens, waiting to retry.
The connection is closed then, and servers stop generating. Knows neither LangChain nor what a request says.
"""

import os
import queue
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream
from pydantic import BaseModel, ConfigDict

from loopwright.errors import BadInput, LoopwrightError, OperatorError, UnknownName
from loopwright.models.background import on_loop
from loopwright.models.cards import ModelCard
from loopwright.schema import CancelToken

POLL_S = 0.05
"""How soon a halt reaches a running call, s."""
CONNECT_S = 10.0
"""How long a connection may take to be made, s; a reply may take much longer."""


class _Sent(BaseModel):
    """What an endpoint sends. Servers add fields of their own, which are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FunctionPart(_Sent):
    """A piece of a function call: its name, once, and the next characters of its JSON arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCallPart(_Sent):
    """A piece of the reply's `index`-th tool call."""

    index: int = 0
    id: str | None = None
    function: FunctionPart = FunctionPart()


class Delta(_Sent):
    """What a chunk adds to the reply."""

    content: str | None = None
    tool_calls: tuple[ToolCallPart, ...] | None = None


class Choice(_Sent):
    """One reply's share in a chunk."""

    delta: Delta
    finish_reason: str | None = None


class Usage(_Sent):
    """Tokens as the endpoint counts them."""

    prompt_tokens: int
    completion_tokens: int


class Chunk(_Sent):
    """One event of the stream."""

    choices: tuple[Choice, ...]
    usage: Usage | None = None


class _ModelId(_Sent):
    id: str


class _Models(_Sent):
    data: list[_ModelId]


class Endpoint:
    """The endpoint that a served model's card names. Thread-safe; opens no connection before the first request."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def chunks(self, request: Mapping[str, Any], cancel: CancelToken) -> Iterator[Chunk]:
        """The reply to `request`, the body of a chat completion, as it arrives. Leaving early ends the request.

        Raises:
            Stopped, Paused: `cancel` was set.
            UnknownName: the endpoint has no such model; its nearest are suggested.
            BadInput: the key or the request was refused.
            OperatorError: the endpoint cannot be reached, is silent, overloaded, or sends no chat completion.
        """
        body = {**request, "stream": True, "stream_options": {"include_usage": True}}
        inbox: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        reading = on_loop(self._read(body, inbox))
        reading.add_done_callback(lambda _: inbox.put(None))
        finished = False
        try:
            while (chunk := _next(inbox, cancel)) is not None:
                finished |= any(choice.finish_reason for choice in chunk.choices)
                yield chunk
            reading.result()
        except openai.OpenAIError as error:
            raise self._explained(error) from error
        except ValueError as error:  # JSON that does not parse, or says something else than a chunk
            raise self._malformed(str(error)) from error
        finally:
            reading.cancel()
        if not finished:
            raise self._malformed("the stream ended before the reply did")

    def model_ids(self) -> list[str]:
        """The models that the endpoint offers.

        Raises:
            BadInput, OperatorError: as `chunks`.
        """
        try:
            return self._listed()
        except openai.OpenAIError as error:
            raise self._explained(error) from error
        except ValueError as error:
            raise self._malformed(str(error)) from error

    def _listed(self) -> list[str]:
        listed = on_loop(self._client.get("/models", cast_to=object)).result()
        return sorted(model.id for model in _Models.model_validate(listed).data)

    async def _read(self, body: Mapping[str, Any], inbox: "queue.SimpleQueue[Chunk | None]") -> None:
        stream = await self._client.post(
            "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
        )
        async with stream:
            async for event in stream:
                inbox.put(Chunk.model_validate(event))

    @cached_property
    def _client(self) -> AsyncOpenAI:
        card = self._card
        key = "none" if card.api_key_env is None else os.environ.get(card.api_key_env)
        if not key:
            raise BadInput(f"`{card.api_key_env}`, which holds the key of model `{card.name}`, is not set. Export it.")
        timeout = openai.Timeout(card.timeout_s, connect=min(CONNECT_S, card.timeout_s))
        return AsyncOpenAI(base_url=card.base_url, api_key=key, timeout=timeout, max_retries=card.max_retries)

    def _explained(self, error: openai.OpenAIError) -> LoopwrightError:
        """What the client raised, said in terms of the card and split by who has to act."""
        card, url, said = self._card, self._card.base_url, _said(error)
        match error:
            case openai.APITimeoutError():
                return OperatorError(
                    f"`{url}` was silent for {card.timeout_s:g} s. Look at the server, or raise `timeout_s`."
                )
            case openai.APIConnectionError():
                return OperatorError(
                    f"`{url}` cannot be reached, or broke off: {error.__cause__ or error}. Start the server, or "
                    "correct `base_url`."
                )
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                key = f"the key in `{card.api_key_env}`" if card.api_key_env else "a request without a key"
                return BadInput(f"`{url}` refuses {key} ({error.status_code}): {said}. Correct `api_key_env`.")
            case openai.NotFoundError():
                return self._not_found(said)
            case openai.RateLimitError():
                return OperatorError(
                    f"`{url}` takes no more requests (429) after {card.max_retries} retries: {said}. Wait, or raise "
                    "the limit there."
                )
            case openai.APIStatusError(status_code=code) if code < 500:
                return BadInput(f"`{url}` refuses the request ({code}): {said}.")
            case openai.APIStatusError(status_code=code):
                return OperatorError(f"`{url}` failed ({code}) after {card.max_retries} retries: {said}.")
            case _:
                return OperatorError(f"`{url}` failed while it answered: {said}.")

    def _not_found(self, said: str) -> LoopwrightError:
        try:
            known = self._listed()
        except (openai.OpenAIError, ValueError):  # then it is the address that is wrong
            known = [self._card.base]
        if self._card.base not in known:
            return UnknownName(f"model at `{self._card.base_url}`", self._card.base, known)
        return BadInput(
            f"`base_url` = {self._card.base_url!r} has no `/chat/completions` (404): {said}. It usually ends in `/v1`."
        )

    def _malformed(self, why: str) -> OperatorError:
        return OperatorError(
            f"`{self._card.base_url}` sent what is no streamed chat completion: {why:.500}. Is it an OpenAI-compatible "
            "endpoint?"
        )


def _next(inbox: "queue.SimpleQueue[Chunk | None]", cancel: CancelToken) -> Chunk | None:
    """The next chunk, None at the end."""
    while True:
        cancel.raise_if_set()
        try:
            return inbox.get(timeout=POLL_S)
        except queue.Empty:
            continue


def _said(error: openai.OpenAIError) -> str:
    """The endpoint's own words, as far as it sent some."""
    body = error.body if isinstance(error, openai.APIError) else None
    message = body.get("message") if isinstance(body, dict) else body
    return str(message or error)[:300].rstrip(".")
