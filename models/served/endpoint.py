"""One model behind an OpenAI-compatible endpoint: a request goes in, its reply comes out chunk by chunk.

The `openai` client keeps the timeouts and retries, with backoff. It runs on an event loop in a thread of its own, so
that a halt reaches a call in every phase: connecting, waiting for the first token, between tokens, waiting to retry.
The connection is closed then, and servers stop generating. Knows neither LangChain nor what a request says.
"""

import json
import os
import queue
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any

import openai
from openai import AsyncOpenAI
from pydantic import BaseModel, BeforeValidator, ConfigDict

from loopwright.errors import BadInput, LoopwrightError, OperatorError, UnknownName
from loopwright.models.background import on_loop
from loopwright.models.cards import ModelCard
from loopwright.schema import CancelToken

POLL_S = 0.05
"""How soon a halt reaches a running call, s."""
_http: Any = import_module(openai.Timeout.__init__.__module__.partition(".")[0])
"""The HTTP library that the client runs on: httpx, or its successor."""
CONNECT_S = 10.0
"""How long a connection may take to be made, s; a reply may take much longer."""
MAX_BYTES_A_TOKEN = 128
"""Vocabularies hold runs of as many spaces, and nothing longer that matters."""
MAX_STREAM_BYTES = 64 * 2**20
"""As much of one reply is read, its JSON and all."""


def _or(default: Any) -> BeforeValidator:
    """Take null for `default`."""
    return BeforeValidator(lambda sent: default if sent is None else sent)


def _as_text(sent: Any) -> Any:
    """Arguments that are sent as an object, and content that is sent in blocks, as text."""
    if isinstance(sent, dict):
        return json.dumps(sent)
    if isinstance(sent, list):
        return "".join(block.get("text") or "" for block in sent if isinstance(block, dict))
    return sent


def _whole_usage(sent: Any) -> Any:
    counts = [sent.get("prompt_tokens"), sent.get("completion_tokens")] if isinstance(sent, dict) else []
    return None if isinstance(sent, dict) and None in counts else sent


class RequestRefused(BadInput):
    """The endpoint does not take something that the request asks for."""


class _Sent(BaseModel):
    """What an endpoint sends. Servers add fields of their own, which are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FunctionPart(_Sent):
    """A piece of a function call: its name, once, and the next characters of its JSON arguments."""

    name: str | None = None
    arguments: Annotated[str | None, BeforeValidator(_as_text)] = None


class ToolCallPart(_Sent):
    """A piece of a tool call of the reply, of the `index`-th where the server says so."""

    index: int | None = None
    id: str | None = None
    function: Annotated[FunctionPart, _or(FunctionPart())] = FunctionPart()


class Delta(_Sent):
    """What a chunk adds to the reply."""

    content: Annotated[str | None, BeforeValidator(_as_text)] = None
    tool_calls: tuple[ToolCallPart, ...] | None = None


class Choice(_Sent):
    """One reply's share in a chunk."""

    delta: Annotated[Delta, _or(Delta())] = Delta()
    finish_reason: str | None = None


class Usage(_Sent):
    """Tokens as the endpoint counts them."""

    prompt_tokens: int
    completion_tokens: int


class Chunk(_Sent):
    """One event of the stream. `usage` is None too where the server leaves a part of it out."""

    choices: Annotated[tuple[Choice, ...], _or(())]
    usage: Annotated[Usage | None, BeforeValidator(_whole_usage)] = None

    @property
    def n_bytes(self) -> int:
        """Of its text. At least 1: a piece without text is a token too."""
        said = [choice.delta.content for choice in self.choices]
        said += [part.function.arguments for choice in self.choices for part in choice.delta.tool_calls or ()]
        return max(1, sum(len(each.encode(errors="replace")) for each in said if each))


class _ModelId(_Sent):
    id: str


class _Models(_Sent):
    data: list[_ModelId]


class Endpoint:
    """The endpoint that a served model's card names. Thread-safe; opens no connection before the first request."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def chunks(self, request: Mapping[str, Any], cancel: CancelToken, *, max_tokens: int) -> Iterator[Chunk]:
        """The reply to `request`, the body of a chat completion, as it arrives. Leaving early ends the request.

        Raises:
            Stopped, Paused: `cancel` was set.
            UnknownName: the endpoint has no such model; its nearest are suggested.
            RequestRefused: the request was refused, 400 or 422.
            BadInput: the key was refused, or the request for another reason.
            OperatorError: the endpoint cannot be reached, is silent, overloaded, sends no chat completion, or one that
                is longer than `max_tokens` can be.
        """
        body = {**request, "stream": True}
        if "stream_options" not in self._card.omit_parameters:
            body["stream_options"] = {"include_usage": True}
        inbox: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        reading = on_loop(self._read(body, inbox, max_tokens))
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

    async def _read(self, body: Mapping[str, Any], inbox: "queue.SimpleQueue[Chunk | None]", max_tokens: int) -> None:
        left = (max_tokens + 1) * MAX_BYTES_A_TOKEN  # and one for the ending
        async for event in self._sent(body):
            if isinstance(event, dict) and (error := event.get("error")):
                said = error.get("message") if isinstance(error, dict) else error
                raise OperatorError(f"`{self._card.base_url}` failed while it answered: {said or error!s:.300}.")
            chunk = Chunk.model_validate(event)
            if (left := left - chunk.n_bytes) < 0:
                raise OperatorError(
                    f"The endpoint of `{self._card.name}` does not keep to `{self._card.token_limit_parameter}` = "
                    f"{max_tokens}: its reply goes on and on, and was left. Mend the endpoint, or name the limit as it "
                    "does (`token_limit_parameter`)."
                )
            inbox.put(chunk)

    async def _sent(self, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The events of the reply to `body`."""
        others = {key: value for key, value in body.items() if key not in ("model", "messages")}
        completions = self._client.with_streaming_response.chat.completions
        async with completions.create(model=body["model"], messages=body["messages"], extra_body=others) as response:
            try:
                async for event in _events(response.iter_bytes()):
                    yield event
            except _http.TimeoutException as error:
                raise openai.APITimeoutError(error.request) from error
            except _http.TransportError as error:
                raise openai.APIConnectionError(request=error.request) from error

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
            case openai.BadRequestError(status_code=code) | openai.UnprocessableEntityError(status_code=code):
                return RequestRefused(f"`{url}` refuses the request ({code}): {said}.")
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


async def _events(body: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """The JSON values of a stream of server-sent events, up to `[DONE]`.

    Raises:
        OperatorError: it is longer than `MAX_STREAM_BYTES`: nothing says that a line ends.
        ValueError: it is no JSON.
    """
    left, line = MAX_STREAM_BYTES, bytearray()
    async for data in body:
        if (left := left - len(data)) < 0:
            raise OperatorError(f"The reply is longer than {MAX_STREAM_BYTES} bytes, and was left. Mend the endpoint.")
        line += data
        *lines, rest = line.splitlines(keepends=True) if b"\n" in data else [line]
        if rest.endswith(b"\n"):
            lines, rest = [*lines, rest], bytearray()
        line = bytearray(rest)
        for each in lines:
            field, _, value = each.strip().partition(b":")
            if field != b"data" or not value.strip():
                continue
            if value.strip() == b"[DONE]":
                return
            yield json.loads(value)


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
