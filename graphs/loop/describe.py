"""What an event tells a person: the one description that terminal, report and notebook show.

A loop describes its own events, and may describe those of the kit otherwise (`Loop(describe=...)`); the rest is here.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopwright.agents.sessions.gate import Heard, Question
from loopwright.errors import ToolRetry
from loopwright.graphs.loop.lines import Line, Tone
from loopwright.schema import Event, ImageRef

if TYPE_CHECKING:
    from loopwright.graphs.loop.declare import Declaration
    from loopwright.tools.contract import Tool

Describe = Callable[[Event], "Line | Sequence[Line] | None"]
Payload = Mapping[str, Any]
Tools = Mapping[str, "Tool[Any, Any]"]

SHOWN_CHARS = 400
SILENT = ("answered", "checked", "input", "now", "random", "recalled", "resumed_with", "rewinding", "started", "taken")
"""Kinds of the kit that only matter to a replay."""


def describe(event: Event, own: Describe | None = None, tools: "Iterable[Tool[Any, Any]]" = ()) -> list[Line]:
    """What an event tells a person; nothing for one that says nothing new.

    Args:
        event: of any session.
        own: the loop's own description. None of an event: it is described as for any loop.
        tools: the loop's, whose acts are then told in their words.
    """
    said = own(event) if own else None
    if said is not None:
        return [said] if isinstance(said, Line) else list(said)
    if event.kind in _KIT:
        return _KIT[event.kind](event.payload, {each.name: each for each in tools})
    if event.kind in SILENT or own is not None:
        return []
    return [Line(event.kind, shown(event.payload), tone="quiet")]


def describe_in(loop: "Declaration", event: Event) -> list[Line]:
    """What an event of a session of `loop`, or of a loop nested in it, tells a person."""
    loops = [loop, *_nested(loop)]
    described = [each.describe for each in loops if each.describe]

    def own(event: Event) -> "Line | Sequence[Line] | None":
        return next((said for one in described if (said := one(event)) is not None), None)

    return describe(event, own if described else None, [tool for each in loops for tool in each.tools])


def shown(values: Payload) -> str:
    """The plain values of a payload, for reading: 'room_c 15.5, heater_on true'."""
    plain = (str, int, float, bool)
    parts = [f"{name} {_shown(value)}" for name, value in values.items() if isinstance(value, plain) and value != ""]
    return ", ".join(parts)


def understood(words: Payload) -> str:
    """What was made of a message: 'set target: target_c 21'."""
    match words:
        case {"kind": "unclear"}:
            return "not understood, so it is asked about"
        case {"kind": "query"}:
            return "a question about the session"
        case {"kind": "note"}:
            return "a note, kept on record"
        case {"kind": "instead", "arguments": arguments}:
            return f"the same act with {shown(arguments)}"
    fields = {n: ", ".join(map(str, v)) if isinstance(v, list) else v for n, v in words.items() if n != "kind"}
    return ": ".join(filter(None, (str(words["kind"]).replace("_", " "), shown(fields))))


def reply_text(reply: str) -> str:
    """A model's answer without mark-up, as running text."""
    words = " ".join(re.sub(r"<[^<>]*>|```\w*", " ", reply).split())
    return textwrap.shorten(words, SHOWN_CHARS, placeholder=" ...")


def reply_flaws(payload: Payload) -> str:
    """'repaired', 'after 3 attempts', both, why there is no answer, or '' for one that was in its format at once."""
    if "error" in payload:
        return f"no answer: {payload['error']}"
    parts = [] if payload["is_exact"] else ["repaired"]
    parts += [f"after {payload['attempts']} attempts"] if payload["attempts"] > 1 else []
    return ", ".join(parts)


def _nested(loop: "Declaration") -> "list[Declaration]":
    return [found for inner in loop.nested.values() for found in (inner, *_nested(inner))]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return textwrap.shorten(" ".join(str(value).split()), SHOWN_CHARS, placeholder=" ...")


def _heard(payload: Payload, _: Tools) -> list[Line]:
    return [_message(Heard.model_validate(each)) for each in payload["messages"]]


def _message(heard: Heard) -> Line:
    return Line("heard", f"{heard.author}: “{heard.text}”", understood(heard.words), "human")


def _asked(payload: Payload, _: Tools) -> list[Line]:
    question = Question.model_validate(payload["question"])
    options = f"for example: {', '.join(question.options)}" if question.options else ""
    return [Line("asked", f"{question.id}: {question.text}", options, "warn")]


def _observed(payload: Payload, tools: Tools) -> list[Line]:
    if payload.get("status", "done") != "done":
        return _acted(payload, tools)
    return [Line("observed", f"{payload['tool']}: {shown(_without_images(payload['output']))}".rstrip(": "))]


def _replied(payload: Payload, _: Tools) -> list[Line]:
    adapter = f" with the adapter {payload['adapter']}" if payload["adapter"] else ""
    flaws = reply_flaws(payload)
    detail = "; ".join(filter(None, (f"{payload['model']}{adapter}", flaws)))
    return [Line(payload["role"], reply_text(payload["reply"]), detail, "warn" if flaws else "model")]


def _guarded(payload: Payload, _: Tools) -> list[Line]:
    """What was refused says so as an act, with the reason."""
    return [Line("checked", "allowed", tone="ok")] if payload["ok"] else []


def _acted(payload: Payload, tools: Tools) -> list[Line]:
    what, status = _call(payload, tools), payload["status"]
    if status == "done":
        return [Line("acted", what, shown(_without_images(payload["output"])), "ok")]
    why = f"{status} by the rule {payload['rule']!r}" if payload.get("rule") else status
    return [Line("acted", f"{what}: {why}: {payload['reason']}", tone="bad")]


def _call(payload: Payload, tools: Tools) -> str:
    """A tool call as its tool says it; by name where the tool says nothing, or cannot read these arguments."""
    tool = tools.get(payload["tool"])
    if tool is not None and tool.words is not None:
        with suppress(ToolRetry):
            return tool.in_words(payload["arguments"])
    return f"{payload['tool']} {shown(payload['arguments'])}".strip()


def _uncertain(payload: Payload, _: Tools) -> list[Line]:
    return [Line("unsure", payload["text"], f"goes on as the run says: {payload['policy']}", "warn")]


_ENDINGS: Mapping[str, Tone] = {"succeeded": "ok", "failed": "bad", "not_found": "warn"}


def _finished(payload: Payload, _: Tools) -> list[Line]:
    inner = f"in {payload['path'].strip('/')}" if payload.get("path") else ""
    return [Line("finished", f"{payload['status']}: {payload['reason']}", inner, _ENDINGS[payload["status"]])]


def _stopped(payload: Payload, tools: Tools) -> list[Line]:
    last = payload["last_act_sent"]
    sent = f"already sent: {_call(last, tools)}" if last else "nothing had been sent"
    return [Line("STOPPED", f"by {payload['reason']}; nothing further is sent", sent, "bad")]


def _rewound(payload: Payload, _: Tools) -> list[Line]:
    return [Line("rewound", f"from step {payload['from']} back to step {payload['to']}", tone="warn")]


def _forked(payload: Payload, _: Tools) -> list[Line]:
    ended = f"the parent's record ended at {payload['parent_head'][:16]}…"
    return [Line("forked", f"from step {payload['step']} of session {payload['parent']}", ended, "warn")]


def _error(payload: Payload, _: Tools) -> list[Line]:
    return [Line("error", payload["text"], payload["type"], "bad")]


def _paused(payload: Payload, _: Tools) -> list[Line]:
    return [Line("paused", payload["reason"], tone="quiet")]


def _resumed(payload: Payload, _: Tools) -> list[Line]:
    return [Line("resumed", f"it was {payload['from']}", tone="quiet")]


def _without_images(values: Payload) -> Payload:
    return {n: v for n, v in values.items() if not (isinstance(v, dict) and v.keys() == ImageRef.model_fields.keys())}


_KIT: dict[str, Callable[[Payload, Tools], list[Line]]] = {
    "node": _heard,
    "heard": _heard,
    "asked": _asked,
    "observed": _observed,
    "replied": _replied,
    "guarded": _guarded,
    "acted": _acted,
    "uncertain": _uncertain,
    "finished": _finished,
    "stopped": _stopped,
    "rewound": _rewound,
    "forked": _forked,
    "error": _error,
    "paused": _paused,
    "resumed": _resumed,
}
