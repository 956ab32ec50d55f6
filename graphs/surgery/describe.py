"""How the surgery loop's own events read: the clip, the plan with its odds and notes, and what came."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.loop.describe import understood
from loopwright.graphs.loop.lines import Line, Tone
from loopwright.schema import Event

Payload = Mapping[str, Any]


def describe(event: Event) -> list[Line] | None:
    """The lines of an event; none for one whose outcome another event tells, None for what is not the loop's own."""
    payload = event.payload
    match event.kind:
        case "node" | "heard":
            return [_message(Heard.model_validate(each)) for each in payload["messages"]]
        case "observed":
            return _observed(payload["output"])
        case "replied" if payload["is_exact"] and payload["attempts"] == 1:
            return []
        case "guarded" if payload["ok"]:
            return []
        case "acted" if payload["status"] == "done":
            return []
    tell = _OWN.get(event.kind)
    return None if tell is None else tell(payload)


def _observed(seen: Payload) -> list[Line]:
    seconds = seen["end_s"] - seen["start_s"] + 1
    return [Line("clip", f"{seen['clip']}: {seen['action']}, {seconds} s", "" if seen["image"] else "no picture")]


def _message(heard: Heard) -> Line:
    match heard.words:
        case {"kind": "prefer", "action": action, "denied": denied}:
            meaning = f"{action} comes first" + (f", not {', '.join(denied)}" if denied else "")
        case {"kind": "deny", "denied": denied}:
            meaning = f"not {', '.join(denied)}"
        case {"kind": "aim", "goal": goal}:
            meaning = f"the goal is: {goal}"
        case {"kind": "remark"}:
            meaning = "told to the planner"
        case words:
            meaning = understood(words)
    return Line("heard", f"{heard.author}: “{heard.text}”", meaning, "human")


def _captioned(payload: Payload) -> list[Line]:
    return [Line("saw", payload["caption"] or "nothing was described")]


def _planned(payload: Payload) -> list[Line]:
    plan = payload["plan"]
    lines = [Line("progress", plan["progress"]), Line("safety", plan["safety"])]
    for rank, ranked in enumerate(plan["actions"], start=1):
        odds = f"{payload['probabilities'][ranked['action']]:.0%}"
        said = f"{rank}. {ranked['action']:<17} {odds:>4}  {ranked['rationale']}"
        lines.append(Line("planned" if rank == 1 else "", said))
    return lines


def _validated(payload: Payload) -> list[Line]:
    notes = [Line("note", f"{note['action']}: {note['reason']}", tone="warn") for note in payload["notes"]]
    unchecked = ", ".join(payload["unchecked"])
    nobody = [Line("unchecked", f"{unchecked}: nobody knows what is truly visible", tone="quiet")]
    return [*notes, *(nobody if unchecked else [])]


def _corrected(payload: Payload) -> list[Line]:
    label = payload["action"] or f"not {', '.join(payload['denied'])}"
    return [Line("learned", f"{label} after {payload['near'][-1]['action']}", "kept as a labelled example", "human")]


def _scored(payload: Payload) -> list[Line]:
    rank, tally = payload["rank"], payload["tally"]
    said = f"was ranked {rank}" if rank else "was not in the plan"
    so_far = f"first right in {tally['top_1']} of {tally['n']}" if payload["is_counted"] else "not counted"
    tone: Tone = "bad" if rank is None else "ok" if rank == 1 else "warn"
    return [Line("came", f"{payload['action']}, which {said}", so_far, tone)]


def _reached(payload: Payload) -> list[Line]:
    return [Line("reached", payload["target"], tone="ok")]


_OWN: dict[str, Callable[[Payload], list[Line]]] = {
    "captioned": _captioned,
    "planned": _planned,
    "validated": _validated,
    "corrected": _corrected,
    "scored": _scored,
    "reached": _reached,
}
