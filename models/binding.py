"""What `bind_tools` takes, said as OpenAI's API says it: tools of any kind, and which of them is to be called."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from loopwright.errors import BadInput, UnknownName
from loopwright.models.answers import ToolSpec

AnyTool: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool | ToolSpec
"""A JSON schema or a provider's tool as a dictionary, a pydantic class, a TypedDict, a function, or a tool."""
Choice: TypeAlias = dict[str, Any] | str | bool | None
"""`auto`, `none`, `any` or `required`, a tool's name, or a provider's form of it; True: any, False and None: unsaid."""
Mode = Literal["auto", "none", "required"]
_MODES: dict[str, Mode] = {"auto": "auto", "none": "none", "any": "required", "required": "required"}


def tool_schemas(tools: Sequence[AnyTool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Each of `tools` as OpenAI's function schema; `strict` is said of each, None leaves it as it is."""
    return [_schema(tool, strict) for tool in tools]


def tool_choice(choice: Choice, schemas: Sequence[dict[str, Any]]) -> Mode | dict[str, Any] | None:
    """`choice` in OpenAI's words: a mode, `{"type": "function", "function": {"name": ...}}`, or None.

    Raises:
        UnknownName: it names none of the tools in `schemas`.
        BadInput: it is none of these forms.
    """
    match choice:
        case None | False:
            return None
        case True:
            return "required"
        case str() if choice in _MODES:
            return _MODES[choice]
        case {"type": str(mode)} if mode in _MODES:
            return _MODES[mode]
        case str(name) | {"function": {"name": str(name)}} | {"name": str(name)}:
            names = [schema["function"]["name"] for schema in schemas if "function" in schema]
            if name not in names:
                raise UnknownName("tool in `tool_choice`", name, names)
            return {"type": "function", "function": {"name": name}}
        case _:
            raise BadInput(
                f"`tool_choice` = {choice!r:.200}; expected `auto`, `none`, `any`, `required`, a tool's name, or "
                '`{"type": "function", "function": {"name": ...}}`.'
            )


def _schema(tool: AnyTool, strict: bool | None) -> dict[str, Any]:
    if not isinstance(tool, BaseTool | type | Mapping) and isinstance(tool, ToolSpec):
        schema = tool.openai_schema()
        if strict is not None:
            schema["function"]["strict"] = strict
        return schema
    made: dict[str, Any] = convert_to_openai_tool(tool, strict=strict)  # type: ignore[arg-type]  # as it documents
    return made
