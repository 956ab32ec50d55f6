"""Parts of a report that the loops share: what happened in a step, line by line, and each picture once."""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from loopwright.agents.hearing import Heard, Question
from loopwright.agents.replies import reply_flaws, reply_text
from loopwright.errors import IntegrityError
from loopwright.schema import Event, ImageRef


class Line(NamedTuple):
    """One thing that happened in a step. `tone` is a class of the page: '', 'ok', 'bad', 'warn' or 'human'."""

    label: str
    text: str
    detail: str = ""
    tone: str = ""


def asked_line(event: Event) -> Line:
    """A question to a human."""
    question = Question.model_validate(event.payload)
    return Line("Asked", question.text, f"For example: {', '.join(question.options)}" if question.options else "")


def heard_line(event: Event, understood: Callable[[Mapping[str, Any]], str]) -> Line:
    """What a human said; `understood` puts those words into English that are the loop's own."""
    heard = Heard.model_validate(event.payload)
    return Line("Heard", f"{heard.author}: “{heard.text}”", f"Understood: {_shared_words(heard, understood)}", "human")


def _shared_words(heard: Heard, understood: Callable[[Mapping[str, Any]], str]) -> str:
    words = heard.words
    match words["kind"]:
        case "reject":
            return f"no{': ' + words['reason'] if words['reason'] else ''}"
        case "approve":
            return "yes, go ahead" if heard.is_approval else "yes, before anything was asked: it approves nothing"
        case "note":
            return "a note, kept on record"
        case "unclear":
            return "not understood, so a clarification was asked for"
        case _:
            return understood(words)


def reply_line(consulted: Mapping[str, Any]) -> Line:
    """What a model answered, and whether it came as it should."""
    flaws, adapter = reply_flaws(consulted), f", {consulted['adapter']}" if consulted["adapter"] else ""
    who = f"{consulted['role'].capitalize()} ({consulted['model']}{adapter})"
    return Line("Replied", f"{who}: “{reply_text(consulted)}”", flaws, "warn" if flaws else "")


def process_line(event: Event) -> Line:
    """What happened to the process: rewound, forked, stopped, an error, and anything else by its name."""
    payload = event.payload
    match event.kind:
        case "rewound":
            return Line("Rewound", f"From step {payload['from']} back to step {payload['to']}.", tone="warn")
        case "forked":
            text = f"From step {payload['step']} of session {payload['parent']}."
            return Line("Forked", text, f"The parent's record ended at {payload['parent_head'][:16]}…", "warn")
        case "stopped":
            sent = payload["last_act_sent"]
            last = f"Last act sent: {sent['tool']}." if sent else "Nothing had been sent."
            return Line("Stopped", payload["reason"], last, "bad")
        case "error":
            return Line("Error", payload["text"], payload["type"], "bad")
        case kind:
            words = ", ".join(f"{name} {value}" for name, value in payload.items() if isinstance(value, str | int))
            return Line(kind.capitalize(), words)


def picture_uris(refs: Iterable[ImageRef], read_blob: Callable[[ImageRef], bytes]) -> dict[str, str]:
    """Each picture once: short name to data URI, or to nothing where the memory cannot give it back."""
    found: dict[str, str] = {}
    for ref in refs:
        if ref.sha256[:16] not in found:
            try:
                uri = f"data:{ref.media_type};base64,{base64.b64encode(read_blob(ref)).decode()}"
            except IntegrityError:
                uri = ""
            found[ref.sha256[:16]] = uri
    return found
