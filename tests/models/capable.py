"""A chat endpoint that answers as a capable model would, by rules: it calls the tool that is asked for, with arguments.

It stands in for the model alone; protocol, streaming and parsing are real.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.models.chat_server import Turn


def answer(body: Mapping[str, Any]) -> Turn:
    """The reply to one request: a tool call, a JSON object, or a few words."""
    last = body["messages"][-1]
    asked = (
        last["content"] if isinstance(last["content"], str) else " ".join(b.get("text", "") for b in last["content"])
    )
    choice = body.get("tool_choice", "auto")
    if body.get("tools") and (choice not in ("auto", "none") or last["role"] == "user"):
        named = choice["function"]["name"] if isinstance(choice, dict) else body["tools"][0]["function"]["name"]
        (function,) = [tool["function"] for tool in body["tools"] if tool["function"]["name"] == named]
        return _call(named, _value(function.get("parameters") or {}, asked))
    if response_format := body.get("response_format"):
        text = json.dumps(_value(response_format["json_schema"]["schema"], asked), ensure_ascii=False)
        return Turn(pieces=(text[:5], text[5:]))
    return Turn(pieces=("Hello", ", hello."))


def _call(name: str, arguments: dict[str, Any]) -> Turn:
    text = json.dumps(arguments, ensure_ascii=False)
    pieces = [
        {"index": 0, "id": "call_0", "type": "function", "function": {"name": name, "arguments": text[:3]}},
        {"index": 0, "function": {"arguments": text[3:]}},
    ]
    return Turn(deltas=[{"tool_calls": [piece]} for piece in pieces], finish_reason="tool_calls")


def _value(schema: Mapping[str, Any], asked: str) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(child, asked) for name, child in schema.get("properties", {}).items()}
    if kind in ("integer", "number"):
        return int((re.findall(r"-?\d+", asked) or ["1"])[0])
    quoted = re.search("'(.+?)'", asked)
    return quoted[1] if quoted else asked
