"""Formats of a model's answer: what it may write, how that is read to the letter, and how it is repaired.

`JsonFormat` is an instance of a pydantic model, `TextFormat` text in a fixed form, `ToolCallFormat` one call of one of
several tools. Knows no role and no model; `loopwright.models.asking` holds models to formats.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from typing_extensions import is_typeddict

from loopwright.errors import BadInput, DeveloperError, UnknownName
from loopwright.models.calling import MAX_REPLY_BYTES
from loopwright.models.json_schema import checker, json_instructions, plain_schema
from loopwright.models.local import tool_calls
from loopwright.models.markup import json_object, without_fences, without_thoughts
from loopwright.schema import Frozen

if TYPE_CHECKING:
    from loopwright.models.grammar import Grammar

T = TypeVar("T")

_SHOWN_CHARS = 200
_SHOWN_PROBLEMS = 5
_COMPLAINT_CHARS = 600


@runtime_checkable
class AnswerFormat(Protocol[T]):
    """One answer format, with T the value that an answer stands for."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def instructions(self) -> str:
        """What is added to the prompt of a model that can only be told in words; "" where the prompt says it."""
        ...

    def grammar(self) -> "Grammar":
        """What models decode under whose tokens are drawn here."""
        ...

    def text_of(self, message: AIMessage) -> str:
        """What of a reply is the answer."""
        ...

    def render(self, value: T, /) -> str:
        """A value as an answer to the letter."""
        ...

    def parse(self, text: str) -> T:
        """The value of `text`, which must be in the format to the letter.

        Raises:
            BadInput: it is not; the message shows the text and what is expected.
        """
        ...

    def repair(self, text: str) -> T:
        """The value of `text`, forgiving what changes no meaning: thoughts, Markdown fences, words around, space, case.

        Raises:
            BadInput: what `text` means cannot be told; nothing is guessed.
        """
        ...


class Parsed(NamedTuple, Generic[T]):
    """What an answer stands for, and whether it kept to its format to the letter; else it was repaired."""

    value: T
    is_exact: bool


def read(text: str, answer: AnswerFormat[T]) -> Parsed[T]:
    """`text` as a value of the format `answer`, exactly or else repaired.

    Raises:
        BadInput: what it means cannot be told.
    """
    try:
        return Parsed(answer.parse(text), is_exact=True)
    except BadInput:
        return Parsed(answer.repair(text), is_exact=False)


@dataclass(frozen=True, kw_only=True)
class TextFormat(Generic[T]):
    """Text in a fixed form. The prompt has to say what is expected: its author shows `example`.

    Attributes:
        name: what messages call it.
        pattern: bounded regular expression, without look-around, of what decoding may produce. All of it is exact.
        longest_chars: no match of `pattern` is longer.
        example: one answer in this form, for prompts and messages.
        render: a value as text in this form, to the letter.
        read: text in this form as a value; raises ValueError, which says what is wrong.
        tidy: text that means well as text in this form; raises ValueError where it cannot be told what it means.
    """

    name: str
    pattern: str
    longest_chars: int
    example: str
    render: Callable[[T], str]
    read: Callable[[str], T]
    tidy: Callable[[str], str]
    instructions: str = ""

    def grammar(self) -> "Grammar":
        """That of `pattern`."""
        from loopwright.models.grammar import regex_grammar

        return regex_grammar(self.pattern, self.longest_chars)

    def text_of(self, message: AIMessage) -> str:
        """All of it."""
        return message.text

    def parse(self, text: str) -> T:
        """See `AnswerFormat.parse`."""
        return self._checked(self.read, text)

    def repair(self, text: str) -> T:
        """See `AnswerFormat.repair`."""
        own = "<think>" in self.pattern
        return self._checked(
            lambda answer: self.read(self.tidy(without_fences(answer if own else without_thoughts(answer)))), text
        )

    def _checked(self, read: Callable[[str], T], text: str) -> T:
        return _checked(self.name, f"Expected the form of {self.example!r}, and nothing else.", read, text)


def one_of(choices: Sequence[str]) -> "TextFormat[str]":
    """One of a closed set, said as it is."""

    def tidy(text: str) -> str:
        found = [choice for choice in choices if choice.casefold() == text.strip(" .\"'`\n").casefold()]
        if len(found) != 1:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return found[0]

    def read_choice(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return TextFormat(
        name="choice",
        pattern="|".join(map(re.escape, choices)),
        longest_chars=max(map(len, choices)),
        example=choices[0],
        render=str,
        read=read_choice,
        tidy=tidy,
        instructions=f"Answer with one of these, and nothing else: {', '.join(choices)}.",
    )


@dataclass(frozen=True)
class JsonFormat(Generic[T]):
    """A JSON object that fits `schema`.

    Of a pydantic class of either version values are instances; of a `TypedDict` or a JSON schema, dictionaries.

    Raises:
        DeveloperError: it is none of these.
    """

    schema: type[T] | dict[str, Any]

    def __post_init__(self) -> None:
        known = isinstance(self.schema, type) and (is_basemodel_subclass(self.schema) or is_typeddict(self.schema))
        if not known and not isinstance(self.schema, dict):
            raise DeveloperError(
                f"The answer's format is {self.schema!r:.200}; expected a pydantic model class, a `TypedDict`, a JSON "
                "schema or an `AnswerFormat`."
            )

    @property
    def name(self) -> str:
        """The schema's."""
        return self.schema.__name__ if isinstance(self.schema, type) else str(self.json_schema["title"])

    @cached_property
    def json_schema(self) -> dict[str, Any]:
        """As endpoints enforce it: closed, every field required."""
        if (own := self._own_schema) is not None and "properties" not in own:
            return {"title": "answer", **own}  # any object, or one of several
        return convert_to_json_schema(self._titled, strict=True)

    @cached_property
    def plain_schema(self) -> dict[str, Any]:
        """As grammars are made of it: fields with a default may be left out."""
        own = self._own_schema if self._model is None else self._model.model_json_schema()
        return plain_schema(own or convert_to_json_schema(self._titled), self.name)

    @property
    def instructions(self) -> str:
        """The JSON schema, and that nothing else is wanted."""
        return json_instructions(self.json_schema)

    def grammar(self) -> "Grammar":
        """That of the schema."""
        from loopwright.models.grammar import schema_grammar

        return schema_grammar(json.dumps(self.plain_schema), self.name)

    def text_of(self, message: AIMessage) -> str:
        """All of it."""
        return message.text

    def render(self, value: T) -> str:
        """Without white space, as the grammar has it."""
        if isinstance(value, BaseModel):
            return value.model_dump_json()
        return json.dumps(value if isinstance(value, dict) else value.dict(), ensure_ascii=False, separators=(",", ":"))  # type: ignore[attr-defined]  # pydantic 1

    def parse(self, text: str) -> T:
        """See `AnswerFormat.parse`."""
        return self._checked(self._read, text)

    def repair(self, text: str) -> T:
        """See `AnswerFormat.repair`."""
        return self._checked(lambda answer: self._read(json_object(without_thoughts(answer))), text)

    @property
    def _own_schema(self) -> dict[str, Any] | None:
        """The schema where it is a JSON schema; others are converted."""
        if isinstance(self.schema, type) or self.schema.keys() & {"function", "parameters", "input_schema"}:
            return None
        return self.schema

    @property
    def _titled(self) -> type | dict[str, Any]:
        if isinstance(self.schema, type) or self.schema.keys() & {"title", "name", "function"}:
            return self.schema
        return {"title": "answer", **self.schema}

    @property
    def _model(self) -> type[BaseModel] | None:
        return self.schema if isinstance(self.schema, type) and issubclass(self.schema, BaseModel) else None

    @cached_property
    def _read(self) -> Callable[[str], T]:
        """Reads JSON text as a value; raises ValueError, pydantic's `ValidationError` being one."""
        if self._model is not None:
            return self._model.model_validate_json  # type: ignore[return-value]  # then T is a model
        read = checker(self.plain_schema)
        if isinstance(self.schema, dict) or is_typeddict(self.schema):
            return read
        made: Any = self.schema
        return lambda text: made.parse_obj(read(text))

    def _checked(self, read: Callable[[str], T], text: str) -> T:
        return _checked(self.name, "Reply with the corrected JSON object, and nothing else.", read, text)


class ToolCall(Frozen):
    """A call of a tool. `arguments` are JSON, and valid for the tool's input model."""

    name: str
    arguments: dict[str, Any]


@runtime_checkable
class ToolSpec(Protocol):
    """What has to be known of a tool that may be called; a `loopwright.tools.contract.Tool` is one."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    @property
    def input_model(self) -> type[BaseModel]:
        """What its arguments have to be."""
        ...

    def openai_schema(self) -> dict[str, Any]:
        """OpenAI's function schema: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
        ...


@dataclass(frozen=True)
class ToolCallFormat:
    """One call of one of `tools`. As text it is `{"name":...,"arguments":{...}}`.

    Raises:
        DeveloperError: there are no tools, or two of one name.
    """

    tools: Sequence[ToolSpec]

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if not names or len(set(names)) < len(names):
            raise DeveloperError(f"`tools` are {names!r}; expected at least one, each name once.")

    @property
    def name(self) -> str:
        """What messages call it."""
        return "tool call"

    @cached_property
    def schemas(self) -> list[dict[str, Any]]:
        """OpenAI's function schemas, as `bind_tools` takes them."""
        return [tool.openai_schema() for tool in self.tools]

    @property
    def instructions(self) -> str:
        """The tools, and that one of them is to be called."""
        listed = "\n".join(json.dumps(schema["function"], ensure_ascii=False) for schema in self.schemas)
        return (
            "Call one of these tools. Reply with one JSON object, and nothing else: "
            f'{{"name": <name of the tool>, "arguments": <object that fits its parameters>}}\n{listed}'
        )

    def grammar(self) -> "Grammar":
        """One call of any of the tools, in the format of `loopwright.models.local.tool_calls`."""
        from loopwright.models.grammar import tool_call_grammar

        functions = tuple(json.dumps(schema["function"]) for schema in self.schemas)
        return tool_call_grammar(functions, f"{tool_calls.OPENING}\n", f"\n{tool_calls.CLOSING}")

    def text_of(self, message: AIMessage) -> str:
        """The call that was made, as text; what was said where there was none."""
        calls = [_call_text(call["name"], call["args"]) for call in message.tool_calls]
        calls += [f"{call['name'] or ''} {call['args'] or ''}".strip() for call in message.invalid_tool_calls]
        return "\n".join(calls) or message.text

    def render(self, value: ToolCall) -> str:
        """Without white space."""
        return _call_text(value.name, value.arguments)

    def parse(self, text: str) -> ToolCall:
        """See `AnswerFormat.parse`."""
        return self._checked(self._call, text)

    def repair(self, text: str) -> ToolCall:
        """See `AnswerFormat.repair`."""
        return self._checked(lambda answer: self._call(json_object(without_thoughts(answer))), text)

    def _call(self, text: str) -> ToolCall:
        said = from_json(text, allow_inf_nan=False)
        match {"arguments": {}} | said if isinstance(said, dict) else said:
            case {"name": str(name), "arguments": dict(arguments), **others} if not others:
                tool = next((tool for tool in self.tools if tool.name == name), None)
                if tool is None:
                    raise UnknownName("tool", name, (tool.name for tool in self.tools))
                checked = tool.input_model.model_validate(arguments)
                return ToolCall(name=name, arguments=checked.model_dump(mode="json"))
            case _:
                raise ValueError("it is not one call with `name` and `arguments`")

    def _checked(self, read: Callable[[str], ToolCall], text: str) -> ToolCall:
        names = ", ".join(f"`{tool.name}`" for tool in self.tools)
        return _checked(self.name, f"Expected one call of one tool of {names}, with arguments that fit.", read, text)


def _call_text(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False, separators=(",", ":"))


def _checked(name: str, expected: str, read: Callable[[str], T], text: str) -> T:
    """`read(text)`; what it complains of as `BadInput`, for a model to read."""
    try:
        if (n_bytes := len(text.encode())) > MAX_REPLY_BYTES:
            raise ValueError(f"it is {n_bytes} bytes long, of which {MAX_REPLY_BYTES} at most are read")
        return read(text)
    except (ValueError, BadInput, RecursionError) as error:
        complaint = _complaint(error)[:_COMPLAINT_CHARS].rstrip(".")
        raise BadInput(f"The answer {text[:_SHOWN_CHARS]!r} is no `{name}`: {complaint}. {expected}") from error


def _complaint(error: Exception) -> str:
    """What is wrong, in a few words: of a pydantic report the first complaints."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = []
    for each in error.errors(include_url=False, include_context=False)[:_SHOWN_PROBLEMS]:
        where, said = ".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")
        problems.append(f"`{where}` = {each['input']!r:.80}: {said}" if where else said)
    return "; ".join(problems)
