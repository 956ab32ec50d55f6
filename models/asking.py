"""Asks a model for an answer in a format: the one place that decides how a reply is held to it.

A model whose tokens are drawn here is held by a grammar, an endpoint by its schema mode, and a model that calls
tools by its own tool calling. Any other is told in words. What means well is then repaired, and what does not goes back
with what was wrong, a few times. Every attempt is counted. Knows any LangChain chat model, and no role.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, overload

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel, model_validator

from loopwright.errors import BadInput, OperatorError, ToolRetry
from loopwright.log import get_logger
from loopwright.models.answers import AnswerFormat, JsonFormat, ToolCallFormat, read
from loopwright.models.background import in_thread
from loopwright.models.binding import AnyTool, Choice, tool_schemas
from loopwright.models.binding import tool_choice as chosen_tool
from loopwright.models.calling import Usage, call, usage_of
from loopwright.models.cards import Decoding, ModelCard
from loopwright.schema import BlobReader, CancelToken

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

FORMAT_RETRIES = 2
"""How often an answer that cannot be read is asked for again, where nobody says otherwise."""
SENT_BACK_CHARS = 8000
"""As much of an answer that cannot be read goes into the next prompt."""
_log = get_logger(__name__)


class Reply(NamedTuple, Generic[T]):
    """One answer.

    Attributes:
        value: what it stands for.
        text: what was said, to the letter of the format where `is_exact`; else it was repaired.
        is_exact: see `text`.
        attempts: how often the model was asked.
        usage: tokens of all attempts.
        message: the last reply, as the model gave it.
    """

    value: T
    text: str
    is_exact: bool
    attempts: int
    usage: Usage
    message: AIMessage


class LoopwrightChatModel(BaseChatModel):
    """What this project's chat models have beyond LangChain's interface. A subclass writes `_stream`.

    `cancel` is a keyword of each call, and options of a call may hold the reply to a format. LangChain's standard
    parameters (`temperature`, `max_tokens`, `stop`) change what the card says.
    """

    takes_cancel: ClassVar[bool] = True

    stop: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_decoding(cls, given: Any) -> Any:
        """Parameters of decoding that are given by themselves."""
        if not isinstance(given, dict) or "decoding" not in cls.model_fields:
            return given
        own = {name: given[name] for name in Decoding.model_fields if given.get(name) is not None}
        if not own or not isinstance(card := given.get("card"), ModelCard):
            return given
        decoding = given.get("decoding") or card.decoding
        rest = {name: value for name, value in given.items() if name not in own}
        return rest | {"decoding": Decoding.model_validate(decoding.model_dump() | own)}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "loopwright"
        card: ModelCard | None = getattr(self, "card", None)
        own = type(self).__name__ if card is None else card.base if card.kind == "served" else card.name
        params["ls_model_name"] = kwargs.get("model", own)
        if decoding := getattr(self, "decoding", None):
            params["ls_temperature"] = kwargs.get("temperature", decoding.temperature)
            params["ls_max_tokens"] = kwargs.get("max_tokens", decoding.max_tokens)
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """As `_generate`; cancelling the task ends the call."""
        manager = run_manager.get_sync() if run_manager else None
        return await in_thread(lambda token: self._generate(messages, stop, manager, cancel=token, **kwargs), cancel)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        """As `_stream`; cancelling the task, or closing the iterator, ends the call."""
        token = (cancel or CancelToken()).child()
        chunks = self._stream(messages, stop, run_manager.get_sync() if run_manager else None, cancel=token, **kwargs)
        try:
            while (chunk := await in_thread(lambda _: next(chunks, None))) is not None:
                yield chunk
        finally:
            token.stop("the call was cancelled")  # for a thread that still waits for the next chunk
            with suppress(ValueError):  # it is executing
                chunks.close()  # type: ignore[attr-defined]  # it is a generator

    @property
    def format_retries(self) -> int:
        """How often an answer that cannot be read is asked for again."""
        return FORMAT_RETRIES

    def options_for(self, answer: AnswerFormat[Any]) -> dict[str, Any]:
        """Options of a call that hold its reply to `answer`; none where the model has to be told in words."""
        return {}

    def bind_tools(
        self,
        tools: Sequence[AnyTool],
        *,
        tool_choice: Choice = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools that its replies may call.

        Args:
            tools: of any kind, see `loopwright.models.binding`.
            tool_choice: `auto`, `none`, `any` (or `required`), or the name of the one tool that is to be called.
            strict: whether an endpoint is to hold arguments to their schema; models here always do.
            parallel_tool_calls: False: one call in a reply at most.
            kwargs: options of every call.

        Raises:
            UnknownName, BadInput: `tool_choice` is none of these.
        """
        schemas = tool_schemas(tools, strict=strict)
        said = {"tool_choice": chosen_tool(tool_choice, schemas), "parallel_tool_calls": parallel_tool_calls}
        return self.bind(tools=schemas, **{name: value for name, value in said.items() if value is not None}, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Replies that fit `schema`, a pydantic class, a `TypedDict` or a JSON schema, by `ask`.

        With `include_raw` a reply is `{"raw": message, "parsed": value or None, "parsing_error": error or None}`. How a
        reply is held to the schema is the model's to decide: LangChain's `method` and `strict` change nothing. Further
        `kwargs` go with every call.

        Raises:
            DeveloperError: `schema` is none of these, or one that no grammar can be made of.
            OperatorError: from a call, when no reply fitted; with `include_raw` it is returned.
        """
        answer = format_of(schema)
        self.options_for(answer)
        method = {"method": kwargs.pop("method", None) or "json_schema"}
        kwargs.pop("strict", None)
        kwargs["ls_structured_output_format"] = {"kwargs": method, "schema": schema}

        def raw_and_parsed(prompt: LanguageModelInput, cancel: CancelToken | None, keywords: Any) -> Any:
            asked = _Asking(self, _messages(prompt), answer, kwargs | keywords, cancel)
            reply = asked.until_read(self.format_retries)
            value, error = (None, reply) if isinstance(reply, OperatorError) else (reply.value, None)
            if include_raw:
                return {"raw": asked.message, "parsed": value, "parsing_error": error}
            if error is not None:
                raise error
            return value

        def invoke(prompt: LanguageModelInput, *, cancel: CancelToken | None = None, **keywords: Any) -> Any:
            return raw_and_parsed(prompt, cancel, keywords)

        async def ainvoke(prompt: LanguageModelInput, *, cancel: CancelToken | None = None, **keywords: Any) -> Any:
            return await in_thread(lambda token: raw_and_parsed(prompt, token, keywords), cancel)

        return RunnableLambda(invoke, ainvoke, name=f"ask for {answer.name}")


@overload
def ask(
    model: BaseChatModel,
    messages: LanguageModelInput,
    answer: type[M],
    *,
    cancel: CancelToken | None = None,
    retries: int | None = None,
    images: BlobReader | None = None,
) -> Reply[M]: ...
@overload
def ask(
    model: BaseChatModel,
    messages: LanguageModelInput,
    answer: AnswerFormat[T],
    *,
    cancel: CancelToken | None = None,
    retries: int | None = None,
    images: BlobReader | None = None,
) -> Reply[T]: ...
@overload
def ask(
    model: BaseChatModel,
    messages: LanguageModelInput,
    answer: None = None,
    *,
    cancel: CancelToken | None = None,
    retries: int | None = None,
    images: BlobReader | None = None,
) -> Reply[str]: ...
def ask(
    model: BaseChatModel,
    messages: LanguageModelInput,
    answer: type[BaseModel] | AnswerFormat[Any] | None = None,
    *,
    cancel: CancelToken | None = None,
    retries: int | None = None,
    images: BlobReader | None = None,
) -> Reply[Any]:
    """The model's answer to `messages`.

    Args:
        model: any chat model.
        messages: all that precedes the answer.
        answer: its format, or a pydantic model class; None: free text.
        cancel: ends a call, see `loopwright.models.calling.call`.
        retries: how often an answer that cannot be read is asked for again; None: as the model's card says, or
            `FORMAT_RETRIES`.
        images: gives the pixels of images to models that are not this project's, see `call`.

    Raises:
        OperatorError: no answer was in the format (the message shows the last), or the model failed.
        DeveloperError: `answer` is no format, or one that cannot be drawn under.
        Stopped, Paused: `cancel` was set.
    """
    prompt = _messages(messages)
    if answer is None:
        message = call(model, prompt, cancel=cancel, images=images)
        return Reply(message.text, message.text, True, 1, usage_of(prompt, message), message)
    if retries is None:
        retries = model.format_retries if isinstance(model, LoopwrightChatModel) else FORMAT_RETRIES
    reply = _Asking(model, prompt, format_of(answer), {"images": images}, cancel).until_read(retries)
    if isinstance(reply, OperatorError):
        raise reply
    return reply


def format_of(answer: object) -> AnswerFormat[Any]:
    """`answer` as a format: a pydantic class, a `TypedDict` or a JSON schema becomes a `JsonFormat`.

    Raises:
        DeveloperError: it is none of these.
    """
    if isinstance(answer, AnswerFormat) and not isinstance(answer, type):
        return answer
    return JsonFormat(answer)  # type: ignore[arg-type]  # which it checks


class _Asking:
    """One question while it is asked, again and again. `message` is the last reply."""

    def __init__(
        self,
        model: BaseChatModel,
        messages: list[BaseMessage],
        answer: AnswerFormat[Any],
        options: dict[str, Any],
        cancel: CancelToken | None,
    ) -> None:
        self._answer, self._cancel = answer, cancel
        self._model: Runnable[LanguageModelInput, AIMessage] = model
        self._messages, self._options = messages, options
        self.message = AIMessage("")
        self._usage = Usage()
        holding = model.options_for(answer) if isinstance(model, LoopwrightChatModel) else {}
        if holding:
            self._options = options | holding
        elif isinstance(answer, ToolCallFormat) and _calls_tools(model):
            self._model = model.bind_tools(answer.schemas, tool_choice="any")
        elif answer.instructions:
            self._messages = _with_text(messages, answer.instructions)

    def until_read(self, retries: int) -> Reply[Any] | OperatorError:
        """The first answer that can be read, or what to raise where none could."""
        text = problem = ""
        for attempt in range(1, retries + 2):
            if problem:
                self._messages = _sent_back(self._messages, text, problem)
            text, problem = self._said()
            try:
                if not problem:
                    value, is_exact = read(text, self._answer)
                    return Reply(value, text, is_exact, attempt, self._usage, self.message)
            except BadInput as error:
                problem = str(error)
            _log.warning("answer is not in its format", format=self._answer.name, attempt=attempt, problem=problem)
        cut = self.message.response_metadata.get("finish_reason") == "length"
        repair = "It was cut off: raise `max_tokens`." if cut else "Ask again later, or take another model."
        return OperatorError(f"None of {retries + 1} answers was a `{self._answer.name}`. {problem} {repair}")

    def _said(self) -> tuple[str, str]:
        """What the model answers, and what is wrong where it made a call that is no JSON."""
        try:
            self.message = call(self._model, self._messages, cancel=self._cancel, **self._options)
            text, problem = self._answer.text_of(self.message), ""
        except ToolRetry as error:
            self.message, text, problem = AIMessage(""), "", str(error)
        self._usage = self._usage.plus(usage_of(self._messages, self.message))
        return text, problem


def _calls_tools(model: BaseChatModel) -> bool:
    return type(model).bind_tools is not BaseChatModel.bind_tools


def _messages(prompt: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(prompt, PromptValue):
        return prompt.to_messages()
    return convert_to_messages([prompt] if isinstance(prompt, str) else prompt)


def _sent_back(messages: list[BaseMessage], text: str, problem: str) -> list[BaseMessage]:
    """`messages` with what was answered and what is wrong with it. Many endpoints refuse a turn that is empty."""
    if not text.strip():
        return _with_text(messages, problem)
    return [*messages, AIMessage(text[:SENT_BACK_CHARS]), HumanMessage(problem)]


def _with_text(messages: list[BaseMessage], text: str) -> list[BaseMessage]:
    """`messages` with `text` added to the user's last one: many chat templates refuse turns that do not alternate."""
    last = messages[-1]
    if not isinstance(last, HumanMessage):
        return [*messages, HumanMessage(text)]
    content = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else last.content
    return [*messages[:-1], HumanMessage([*content, {"type": "text", "text": text}])]
