"""What a reply is held to where tools or a response format are bound: which tools it may call, and its grammar."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

from loopwright.errors import BadInput
from loopwright.models.grammar import Grammar, either_grammar, schema_grammar, tool_call_grammar
from loopwright.models.json_schema import plain_schema
from loopwright.models.local import tool_calls

ToolPolicy = Literal["auto", "first"]
"""Whether the model calls a tool where `tool_choice` is unsaid: as it likes, or once before it answers a human."""


class Held(NamedTuple):
    """The tools that the prompt lists, and the grammar of the reply, if any."""

    tools: list[dict[str, Any]]
    grammar: Grammar | None


def held(messages: Sequence[BaseMessage], options: Mapping[str, Any], policy: ToolPolicy) -> Held:
    """How the reply to `messages` is drawn, under a call's `tools`, `tool_choice`, `response_format` and `grammar`.

    Raises:
        BadInput: a tool that is no function, or a response format that is not known.
        DeveloperError: a schema that no grammar can be made of.
    """
    choice = options.get("tool_choice")
    tools: list[dict[str, Any]] = list(options.get("tools") or ()) if choice != "none" else []
    if options.get("grammar") is not None:
        return Held(tools, options["grammar"])
    answer = _answer_schema(options.get("response_format"))
    waits = policy == "first" and choice is None and bool(tools)
    if choice == "required" or isinstance(choice, dict) or (waits and not _is_answered(messages)):
        return Held(tools, _call_grammar(_chosen(tools, choice)))
    if answer is None:
        return Held(tools, None)
    grammar = schema_grammar(json.dumps(answer), "response_format")
    return Held(tools, either_grammar(_call_grammar(tools), grammar) if tools and not waits else grammar)


def _is_answered(messages: Sequence[BaseMessage]) -> bool:
    """Whether a tool has answered since the last human message."""
    for message in reversed(messages):
        if isinstance(message, ToolMessage | HumanMessage):
            return isinstance(message, ToolMessage)
    return False


def _chosen(tools: Sequence[dict[str, Any]], choice: Any) -> Sequence[dict[str, Any]]:
    if not isinstance(choice, dict):
        return tools
    return [tool for tool in tools if tool["function"]["name"] == choice["function"]["name"]]


def _call_grammar(tools: Sequence[dict[str, Any]]) -> Grammar:
    functions = []
    for tool in tools:
        if "function" not in tool:
            raise BadInput(f"A local model cannot be made to call {tool!r:.200}; expected a function with a schema.")
        function = tool["function"]
        parameters = plain_schema(function.get("parameters") or {}, function["name"])
        parameters = {"type": "object", "properties": {}, **parameters}
        functions.append(json.dumps({"name": function["name"], "parameters": parameters}))
    return tool_call_grammar(tuple(functions), f"{tool_calls.OPENING}\n", f"\n{tool_calls.CLOSING}")


def _answer_schema(response_format: Any) -> dict[str, Any] | None:
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return plain_schema(schema, "response_format")
        case _:
            raise BadInput(
                f"`response_format` = {response_format!r:.200}; expected "
                '`{"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}`, `json_object` or `text`.'
            )
