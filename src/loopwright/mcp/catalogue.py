"""What the server offers: `run_LOOP` and `open_LOOP`, the tools of every loop, and what holds for any session."""

from collections.abc import Mapping
from typing import Any

from mcp_types import Tool, ToolAnnotations

from loopwright.errors import BadInput
from loopwright.graphs.loop.loop import Loop
from loopwright.tools.contract import Tool as LoopTool

SESSION = {"type": "string", "description": "the session's id"}
WAIT_S = {
    "type": "number",
    "minimum": 0,
    "maximum": 600,
    "default": 60,
    "description": "how long to wait until it ends, or asks a person, s",
}
_QUESTION = {"type": "string", "description": "the question that is answered: q1, q2, ..."}
_STEP = {"type": "integer", "minimum": 0, "description": "the step, counted from 0"}
_ON_SESSIONS: tuple[tuple[str, str, dict[str, Any], tuple[str, ...]], ...] = (
    ("sessions", "The newest sessions of every loop, and what each is about.", {}, ()),
    ("session_status", "How a session stands, what it asks a person, and its newest picture.", {"wait_s": WAIT_S}, ()),
    (
        "say",
        "Say something to a session: a correction, a note. What would approve an act is a person's to say.",
        {"text": {"type": "string", "maxLength": 2000}, "question": _QUESTION, "wait_s": WAIT_S},
        ("text",),
    ),
    ("stop", "STOP: nothing further is sent, whatever the session is doing.", {}, ()),
    ("resume", "Go on where a session was paused, stopped, killed or left waiting.", {"wait_s": WAIT_S}, ()),
    ("rewind", "Go back to the observation of a step. Nothing is deleted.", {"step": _STEP}, ("step",)),
    ("fork", "A new session that begins where another stood at a step.", {"step": _STEP}, ("step",)),
    (
        "close",
        "End a session that you opened: everything that was asked for is done, or cannot be done.",
        {"summary": {"type": "string", "minLength": 1, "maxLength": 500, "description": "what was done"}},
        ("summary",),
    ),
)
RESERVED = frozenset(name for name, *_ in _ON_SESSIONS)


def catalogue(loops: Mapping[str, Loop]) -> dict[str, Tool]:
    """Every tool by name.

    Raises:
        BadInput: two things have one name.
    """
    found: dict[str, Tool] = {}
    for name, about, properties, required in _ON_SESSIONS:
        of_one = name != "sessions"
        schema = _object({"session": SESSION, **properties} if of_one else properties, ("session",) * of_one + required)
        found[name] = Tool(
            name=name,
            description=about,
            input_schema=schema,
            annotations=ToolAnnotations(read_only_hint=name.startswith("session")),
        )
    shared: dict[str, list[str]] = {}
    own: dict[str, LoopTool[Any, Any]] = {}
    for loop in loops.values():
        found[f"run_{loop.name}"] = _begins(
            f"run_{loop.name}", f"Run a whole session: {loop.summary}.", loop, runs=True
        )
        found[f"open_{loop.name}"] = _begins(
            f"open_{loop.name}",
            f"Open a session whose tools ({', '.join(t.name for t in loop.tools)}) you call yourself, one by one.",
            loop,
            runs=False,
        )
        for each in loop.tools:
            shared.setdefault(each.name, []).append(loop.name)
            own[each.name] = each
    for name, one in own.items():
        if name in found:
            raise BadInput(f"The tool {name!r} of {shared[name][0]!r} has the name of a tool of the server. Rename it.")
        found[name] = _by_hand(one, shared[name])
    return found


def _begins(name: str, about: str, loop: Loop, *, runs: bool) -> Tool:
    schema = loop.config.model_json_schema()
    models = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "model cards by role, where they shall not be the loop's own",
    }
    more = {"models": models, "wait_s": WAIT_S} if runs else {}
    whole = {**schema, "properties": {**schema["properties"], **more}, "additionalProperties": False}
    return Tool(
        name=name,
        description=about,
        input_schema=whole,
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=runs),
    )


def _by_hand(tool: LoopTool[Any, Any], loops: list[str]) -> Tool:
    told = tool.mcp_schema()
    schema = told["inputSchema"]
    properties = {"session": SESSION, **schema.get("properties", {})}
    opened = " or ".join(f"`open_{name}`" for name in loops)
    return Tool(
        name=tool.name,
        description=f"{tool.description} In a session that {opened} opened.",
        input_schema={**schema, "properties": properties, "required": ["session", *schema.get("required", ())]},
        annotations=ToolAnnotations(read_only_hint=tool.effect == "read", destructive_hint=tool.effect == "actuate"),
    )


def _object(properties: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
