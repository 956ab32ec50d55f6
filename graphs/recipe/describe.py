"""How the recipe loop's own events read: what was predicted, judged and kept, and what is wrong with a draft."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.agents.recipe.prompts import said
from loopwright.agents.recipe.verify import Check
from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.loop.describe import understood
from loopwright.graphs.loop.lines import Line
from loopwright.schema import Event

Payload = Mapping[str, Any]
SHOWN_SCORES = 8


def describe(event: Event) -> list[Line] | None:
    """The lines of an event; none for one whose outcome another event tells, None for what is not the loop's own."""
    payload = event.payload
    match event.kind:
        case "node" | "heard":
            return [_message(Heard.model_validate(each)) for each in payload["messages"]]
        case "observed":
            return _observed(payload)
        case "looked_again":
            return []
        case "replied" if payload["is_exact"] and payload["attempts"] == 1:
            return []
        case "guarded" if payload["ok"]:
            return []
        case "acted" if payload["status"] == "done" and payload["tool"] == "record_labels":
            return []
    tell = _OWN.get(event.kind)
    return None if tell is None else tell(payload)


def _observed(payload: Payload) -> list[Line]:
    if "output" not in payload or "dish" not in payload["output"]:
        return []
    seen = payload["output"]
    steps = f"{len(seen['steps'])} steps are written" if seen["steps"] else "nothing is written yet"
    return [Line("dish", f"{seen['dish']}, {steps}", "" if seen["image"] else "no picture")]


def _message(heard: Heard) -> Line:
    named = said((*heard.words.get("actions", ()), *heard.words.get("ingredients", ())))
    meaning = {"without": f"without {named}", "with": f"with {named}"}.get(heard.kind) or understood(heard.words)
    return Line("heard", f"{heard.author}: “{heard.text}”", meaning, "human")


def _predicted(payload: Payload) -> list[Line]:
    return [Line(payload["what"], said(payload["labels"]) or "nothing was recognised", payload["think"])]


def _judged(payload: Payload) -> list[Line]:
    scores = sorted(payload["initial"], key=lambda one: -one["confidence"])[:SHOWN_SCORES]
    told = ", ".join(f"{said([one['label']])} {one['confidence']:.0%}" for one in scores)
    return [Line("judged", told or "nothing", payload["what"], "quiet")]


def _unjudged(payload: Payload) -> list[Line]:
    return [Line("unjudged", f"{payload['what']} stand as predicted: {payload['why']}", tone="warn")]


def _selected(payload: Payload) -> list[Line]:
    return [Line("kept", said(payload["labels"]) or "nothing", f"{payload['what']}, by {payload['rule']}")]


def _drafted(payload: Payload) -> list[Line]:
    label = "wrote" if payload["from"] == "labels" else "plain"
    detail = "" if payload["from"] == "labels" else "from the picture alone"
    lines = [Line("", step, tone="model") for step in payload["steps"]]
    return [lines[0]._replace(label=label, detail=detail), *lines[1:]]


def _verified(payload: Payload) -> list[Line]:
    found = Check.model_validate({name: payload[name] for name in Check.model_fields})
    return [Line("verified", found.in_words(), tone="ok" if found.ok else "warn")]


_OWN: dict[str, Callable[[Payload], list[Line]]] = {
    "predicted": _predicted,
    "judged": _judged,
    "unjudged": _unjudged,
    "selected": _selected,
    "drafted": _drafted,
    "verified": _verified,
}
