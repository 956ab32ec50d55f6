"""A model behind an OpenAI-compatible endpoint (vLLM, Ollama, OpenAI, ...) as a LangChain chat model.

Every call streams, also `invoke`: that is what lets a halt end it. Pictures go in by reference and leave as data URLs.
With a cassette, calls are recorded, or played back without the endpoint and without the pictures.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import Field, PrivateAttr, SkipValidation, ValidationError

from loopwright.errors import BadInput, ToolRetry, UnknownName
from loopwright.log import get_logger
from loopwright.models.answers import AnswerFormat, JsonFormat
from loopwright.models.asking import LoopwrightChatModel
from loopwright.models.calling import CHARS_A_TOKEN
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.images import base64_image, image_refs, reader_for, ref_of
from loopwright.models.json_schema import json_instructions
from loopwright.models.served.assembly import Assembly
from loopwright.models.served.cassette import Cassette
from loopwright.models.served.endpoint import Choice, Chunk, Endpoint, RequestRefused, Usage
from loopwright.models.served.spending import Meter, Spent
from loopwright.schema import BlobReader, CancelToken, ImageRef

_log = get_logger(__name__)
_PASSED_ON = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "model")


class ServedChatModel(LoopwrightChatModel):
    """The chat model of a served card.

    Keywords of a call: `cancel` (a `CancelToken`), those of `Decoding`, `model` (another one of the endpoint's),
    `tools`, `tool_choice`, `parallel_tool_calls`, `response_format`; an endpoint that refuses the latter is asked in
    words. A reply's `usage_metadata` holds its tokens, its `response_metadata` `model_name`, `finish_reason`,
    `latency_s` and `first_token_s`. Ids of tool calls are this model's own.

    Raises, from a call:
        BadInput, OperatorError, UnknownName, Stopped, Paused: as `Endpoint.chunks`.
        OperatorError: the card's budget is spent.
        ToolRetry: the reply calls a tool with what is no JSON object.
    """

    card: ModelCard
    decoding: Decoding = Field(default_factory=lambda given: given["card"].decoding)
    images: SkipValidation[BlobReader | None] = None
    cassette: SkipValidation[Cassette | None] = None

    _endpoint: Endpoint = PrivateAttr()
    _meter: Meter = PrivateAttr()
    _refuses_schemas: bool = PrivateAttr(default=False)

    def model_post_init(self, context: Any, /) -> None:
        """Set up what has state."""
        self._endpoint = Endpoint(self.card)
        self._meter = Meter(self.card.name, self.card.budget)

    @property
    def spent(self) -> Spent:
        """What this model has used since it was opened. Replayed calls cost nothing."""
        return self._meter.spent

    @property
    def _llm_type(self) -> str:
        return "loopwright-served"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.card.base, "base_url": self.card.base_url, **self.decoding.model_dump()}

    @property
    def format_retries(self) -> int:
        """The card's."""
        return self.card.format_retries

    def options_for(self, answer: AnswerFormat[Any]) -> dict[str, Any]:
        """A JSON answer is held by the endpoint's schema mode, where it has one."""
        if not isinstance(answer, JsonFormat) or self.card.schema_mode == "prompt":
            return {}
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", answer.name)  # as endpoints allow it
        schema = {"name": name, "schema": answer.json_schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        decoding = self._decoding(kwargs)
        request = self._request(messages, stop or self.stop, decoding, kwargs)
        began = time.perf_counter()
        metadata: dict[str, Any] = {"model_name": request["model"]}
        usage: Usage | None = None
        calls = _ToolCalls()
        for chunk in self._chunks(request, image_refs(messages), decoding.max_tokens, cancel or CancelToken()):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                metadata.setdefault("first_token_s", time.perf_counter() - began)
                metadata |= {"finish_reason": choice.finish_reason} if choice.finish_reason else {}
                calls.add(choice)
                yield ChatGenerationChunk(message=_piece(choice))
        calls.check()
        metadata["latency_s"] = time.perf_counter() - began
        last = AIMessageChunk(
            content="", response_metadata=metadata, usage_metadata=_usage_metadata(usage), chunk_position="last"
        )
        yield ChatGenerationChunk(message=last)

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, decoding: Decoding, keywords: dict[str, Any]
    ) -> dict[str, Any]:
        """The body to send, with pictures by reference: plain JSON, equal for equal calls."""
        known = (*Decoding.model_fields, *_PASSED_ON)
        for keyword in keywords:
            if keyword not in known:
                raise UnknownName("keyword of a call", keyword, ("cancel", "stop", *known))
        sent = decoding.model_dump(exclude_none=True)
        sent[self.card.token_limit_parameter] = sent.pop("max_tokens")
        request = {
            "model": self.card.base,
            "messages": convert_to_openai_messages([_by_reference(message) for message in messages]),
            **{key: value for key, value in sent.items() if key not in self.card.omit_parameters},
            **self.card.extra_parameters,
            **{key: keywords[key] for key in _PASSED_ON if key in keywords},
        }
        return request | ({"stop": stop} if stop else {})

    def _decoding(self, keywords: dict[str, Any]) -> Decoding:
        given = {key: value for key, value in keywords.items() if key in Decoding.model_fields}
        try:
            return Decoding.model_validate(self.decoding.model_dump() | given)
        except ValidationError as error:
            said = "; ".join(f"`{e['loc'][0]}` = {e['input']!r}: {e['msg']}" for e in error.errors())
            raise BadInput(f"Decoding is wrong. {said}.") from error

    def _chunks(
        self, request: dict[str, Any], refs: list[ImageRef], max_tokens: int, cancel: CancelToken
    ) -> Iterator[Chunk]:
        """From the cassette, or from the endpoint, on the meter and onto the cassette."""
        if self.cassette is not None and self.cassette.mode == "replay":
            for recorded in self.cassette.play(request):
                cancel.raise_if_set()
                yield Chunk.model_validate(recorded)
            return
        self._meter.check()
        received: list[Chunk] = []
        assembly = Assembly()
        try:
            for chunk in self._sent(self._with_pixels(request, refs), max_tokens, cancel):
                received.append(assembly.mended(chunk))
                yield received[-1]
        finally:  # a call that was broken off has cost something too
            if received:
                self._charge(request, received)
        if self.cassette is not None:
            self.cassette.keep(request, [chunk.model_dump(mode="json", exclude_none=True) for chunk in received])

    def _sent(self, request: dict[str, Any], max_tokens: int, cancel: CancelToken) -> Iterator[Chunk]:
        """The endpoint's reply to `request`; a schema that it refuses is said in words, from then on at once."""
        in_words = _in_words(request)
        if in_words is None or not self._refuses_schemas:
            try:
                yield from self._endpoint.chunks(request, cancel, max_tokens=max_tokens)
                return
            except RequestRefused as refused:
                if in_words is None:
                    raise
                _log.warning("endpoint refuses a JSON schema, asking in words", model=self.card.name, said=str(refused))
        yield from self._endpoint.chunks(in_words, cancel, max_tokens=max_tokens)
        self._refuses_schemas = True

    def _charge(self, request: dict[str, Any], received: list[Chunk]) -> None:
        usage = next((chunk.usage for chunk in reversed(received) if chunk.usage), None)
        if usage:
            self._meter.charge(usage.prompt_tokens, usage.completion_tokens, estimated=False)
        else:
            said = sum(len(choice.delta.content or "") for chunk in received for choice in chunk.choices)
            asked = len(str(request["messages"]))
            self._meter.charge(-(-asked // CHARS_A_TOKEN), -(-said // CHARS_A_TOKEN), estimated=True)

    def _with_pixels(self, request: dict[str, Any], refs: list[ImageRef]) -> dict[str, Any]:
        """`request` with each reference to a picture replaced by the picture."""
        if not refs:
            return request
        images = reader_for(refs[0], self.images)
        urls = {_url(ref): _data_url(ref, images) for ref in refs}
        return request | {"messages": [_resolved(message, urls) for message in request["messages"]]}


class _ToolCalls:
    """The tool calls of a reply, as they come in. LangChain would close the brackets of one that was cut off."""

    def __init__(self) -> None:
        self._names: defaultdict[int, str] = defaultdict(str)
        self._arguments: defaultdict[int, str] = defaultdict(str)

    def add(self, choice: Choice) -> None:
        for part in choice.delta.tool_calls or ():
            self._names[part.index or 0] += part.function.name or ""
            self._arguments[part.index or 0] += part.function.arguments or ""

    def check(self) -> None:
        """Raise `ToolRetry` where arguments are no JSON object; none at all stand for an empty one."""
        for index, text in self._arguments.items():
            try:
                arguments = json.loads(text or "{}")
                json.dumps(arguments, ensure_ascii=False).encode()  # an escape may stand for half a character
            except (ValueError, RecursionError):
                arguments = None
            if not isinstance(arguments, dict):
                raise ToolRetry(
                    f"`{self._names[index]}` was called with {text[:200]!r}; expected one whole JSON object. Call it "
                    "again; if the call is long, raise `max_tokens`."
                )


def _by_reference(message: BaseMessage) -> BaseMessage:
    """`message` with its image blocks in the endpoint's form, pictures still by reference."""
    if isinstance(message.content, str):
        return message
    blocks = [
        {"type": "image_url", "image_url": {"url": _url(ref_of(block))}}
        if isinstance(block, dict) and block.get("type") == "image"
        else block
        for block in message.content
    ]
    return message.model_copy(update={"content": blocks})


def _url(ref: ImageRef) -> str:
    return f"sha256:{ref.sha256}"


def _data_url(ref: ImageRef, images: BlobReader) -> str:
    media_type, encoded = base64_image(ref, images)
    return f"data:{media_type};base64,{encoded}"


def _resolved(message: dict[str, Any], urls: dict[str, str]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    blocks = []
    for block in message["content"]:
        url = block["image_url"]["url"] if block["type"] == "image_url" else None
        blocks.append({"type": "image_url", "image_url": {"url": urls[url]}} if url in urls else block)
    return message | {"content": blocks}


def _in_words(request: dict[str, Any]) -> dict[str, Any] | None:
    """`request` with the JSON schema of its `response_format` said to the user's model; None where it has none."""
    match request.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            said = {"type": "text", "text": json_instructions(schema)}
        case _:
            return None
    *before, last = request["messages"]
    if last["role"] == "user":
        content = last["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages = [*before, last | {"content": [*blocks, said]}]
    else:
        messages = [*request["messages"], {"role": "user", "content": [said]}]
    return {key: value for key, value in request.items() if key != "response_format"} | {"messages": messages}


def _piece(choice: Choice) -> AIMessageChunk:
    calls = [
        tool_call_chunk(name=part.function.name, args=part.function.arguments, id=part.id, index=part.index)
        for part in choice.delta.tool_calls or ()
    ]
    return AIMessageChunk(content=choice.delta.content or "", tool_call_chunks=calls)


def _usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    prompt, reply = usage.prompt_tokens, usage.completion_tokens
    return UsageMetadata(input_tokens=prompt, output_tokens=reply, total_tokens=prompt + reply)
