"""Tool calls as text, in the Hermes format that Qwen's models are trained on.

A call is `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, an answer `<tool_response>...</tool_response>`.
Chat templates that know this format write all of it themselves; for the others the functions here do, with the list of
tools in the system message. Gemma, LLaVA and SmolLM2 have no format of their own and are given this one, and so are
models whose own is another, such as Llama 3.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

from langchain_core.messages import ToolCall, ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_JSON = json.JSONDecoder()
_SPACE = re.compile(r"\s*")


class Spoken(NamedTuple):
    """A reply taken apart: what is said, and what is called."""

    text: str
    calls: list[ToolCallChunk]


def knows_tools(chat_template: str) -> bool:
    """Whether a template writes tools and their calls by itself, in this format."""
    return OPENING in chat_template and re.search(r"\btools\b", chat_template) is not None


def instructions(tools: Sequence[dict[str, Any]]) -> str:
    """What the system message says of `tools`, given as OpenAI function schemas."""
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return (
        "# Tools\n\nThese functions may be called, none, one or several in a reply:\n"
        f"<tools>\n{listed}\n</tools>\n\nA call is one JSON object between tags:\n"
        '<tool_call>\n{"name": <function name>, "arguments": <object>}\n</tool_call>'
    )


def call_text(call: ToolCall) -> str:
    """One call as the model would have written it."""
    body = json.dumps({"name": call["name"], "arguments": call["args"]}, ensure_ascii=False)
    return f"{OPENING}\n{body}\n{CLOSING}"


def response_text(text: str) -> str:
    """A tool's answer as the model expects it."""
    return f"<tool_response>\n{text}\n</tool_response>"


def parse(reply: str) -> Spoken:
    """Take `reply` apart. No two calls ever have the same id."""
    said: list[str] = []
    calls: list[ToolCallChunk] = []
    at = 0
    while (opening := reply.find(OPENING, at)) >= 0:
        said.append(reply[at:opening])
        body, at = _body(reply, _skip_space(reply, opening + len(OPENING)))
        name, arguments = _name_and_arguments(body)
        index = len(calls)
        calls.append(tool_call_chunk(name=name, args=arguments, id=f"call_{uuid4().hex}", index=index))
    return Spoken("".join([*said, reply[at:]]).rstrip() if calls else reply, calls)


def _body(reply: str, begin: int) -> tuple[str, int]:
    """What is called from `begin` on, and where the call ends. A closing mark inside its strings does not end it."""
    try:
        end = _JSON.raw_decode(reply, begin)[1]
    except (ValueError, RecursionError):
        end = begin
    closing = _skip_space(reply, end)
    if end == begin or not reply.startswith(CLOSING, closing):
        closing = reply.find(CLOSING, begin)
        if closing < 0:
            return reply[begin:].rstrip(), len(reply)
        end = closing
    return reply[begin:end].rstrip(), closing + len(CLOSING)


def _skip_space(text: str, begin: int) -> int:
    return cast(re.Match[str], _SPACE.match(text, begin)).end()


def _name_and_arguments(body: str) -> tuple[str | None, str]:
    """What LangChain makes a valid call of, or, with all that was said as one JSON string, an invalid one.

    Not as it was said: LangChain completes torn JSON, and a call that was cut off must not be made.
    """
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None, json.dumps(body)
    match call:
        case {"name": str(name), "arguments": dict(arguments)}:
            return name, json.dumps(arguments, ensure_ascii=False)
        case {"name": str(name)} if call.keys() == {"name"}:
            return name, "{}"
        case _:
            return None, json.dumps(body)
