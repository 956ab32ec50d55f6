"""The surgery loop's own parts of a session's report: what was done against what was planned, and one card a clip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loopwright.agents.replies import reply_flaws
from loopwright.agents.surgery.advice import Advice
from loopwright.agents.surgery.history import MemorySettings
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import Line, asked_line, heard_line, picture_uris, process_line, reply_line
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.schema import Event, ImageRef, Verdict
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.safety import SafetyReview

PACKAGE = "loopwright.graphs.surgery"
"""Whose `templates` this report is drawn with."""


CELL_PX = 26
"""Width of a clip in the strip."""


class Ranked(NamedTuple):
    """One recommended action as a card shows it."""

    action: str
    probability: float
    rationale: str
    notes: tuple[str, ...]
    came: bool


class Card(NamedTuple):
    """One clip as the page shows it; `advice` is the last plan that was made for it."""

    step: SessionStep
    clip: Clip | None
    picture: str
    caption: str
    advice: Advice | None
    ranked: list[Ranked]
    lines: list[Line]


class Cell(NamedTuple):
    """A clip in the strip: what was done, and what had been planned first for it. `rank` 0: not in the plan."""

    x: int
    name: str
    action: str
    planned: str
    rank: int


def surgery_sections(
    kept: Mapping[str, Any], events: Sequence[Event], read_blob: Callable[[ImageRef], bytes]
) -> list[Section]:
    """The sections of a surgery session, whatever became of it.

    Args:
        kept: what the session keeps of its configuration (`loopwright.graphs.surgery.run.prepare`).
        events: the session's log, whole or as far as it got.
        read_blob: a picture's bytes.
    """
    steps = read_steps_as(SessionStep, events)
    cards = [_card(one) for one in steps]
    images = (ImageRef.model_validate(one.seen["image"]) for one in steps if one.seen and one.seen["image"])
    cells = _strip(steps)
    return [
        Section(
            title="Foreseen and done",
            html=render_template("strip.html.j2", PACKAGE, cells=cells, cell=CELL_PX, tally=_tally(steps)),
            facts=tuple(_facts(kept, steps)),
        ),
        Section(
            title="Clip by clip",
            html=render_template("clips.html.j2", PACKAGE, cards=cards, pictures=picture_uris(images, read_blob)),
        ),
    ]


def _facts(kept: Mapping[str, Any], steps: Sequence[SessionStep]) -> Iterator[Fact]:
    run = kept["run"]
    yield Fact("Video", run["video"])
    yield Fact("Procedure", kept["knowledge"]["name"])
    yield Fact("Goal", run["goal"] or kept["knowledge"]["goal"])
    yield Fact("Planner", run["planner"])
    if kept["statistics"]:
        yield Fact("Fitted to", kept["statistics"]["source"].partition(". ")[0])
    for name, card in (("Model", kept["card"]), ("Captions by", kept["captioning_card"])):
        if card:
            yield Fact(name, card["name"])
    if run["planner"] == "model":
        view = MemorySettings(
            mode=run["memory"], near_as=run["near_as"], near_steps=run["near_steps"], distant_steps=run["distant_steps"]
        )
        yield Fact("Shown of the past", f"{view.mode}, {view.near_steps} near as {view.near_as}")
    yield Fact("Clips", str(sum(one.origin == "taken" and one.seen is not None for one in steps)))
    without = sum(one.origin == "taken" and one.seen is not None and not one.seen["image"] for one in steps)
    if without:
        yield Fact("Clips without a picture", str(without))
    yield Fact("Corrections", str(sum(e.kind == "corrected" for one in steps for e in one.events)))
    yield Fact("When unsure", run["on_uncertain"])


def _tally(steps: Sequence[SessionStep]) -> dict[str, int] | None:
    """The newest count of plans that came true on the line that was not left behind."""
    payloads = [e.payload for one in steps if not one.is_left_behind for e in one.events if e.kind == "scored"]
    return payloads[-1]["tally"] if payloads else None


def _strip(steps: Sequence[SessionStep]) -> list[Cell]:
    """The clips of the line that was not left behind, each with the plan that was made for it before."""
    cells: list[Cell] = []
    planned, rank = "", 0
    for one in (one for one in steps if not one.is_left_behind and one.seen is not None):
        clip = Clip.model_validate(one.seen["clip"]) if one.seen else None
        if clip is None or (cells and cells[-1].name == str(clip.index)):
            continue
        cells.append(Cell(len(cells) * CELL_PX, str(clip.index), clip.action, planned, rank))
        advice = _advice(one)
        scored = [e.payload for e in one.events if e.kind == "scored"]
        planned = advice.first if advice else ""
        rank = (scored[-1]["rank"] or 0) if scored else 0
    return cells


def _advice(one: SessionStep) -> Advice | None:
    payloads = [e.payload for e in one.events if e.kind == "planned"]
    return Advice.model_validate(payloads[-1]) if payloads else None


def _card(one: SessionStep) -> Card:
    by_kind = {event.kind: event.payload for event in one.events}
    advice, image = _advice(one), (one.seen or {}).get("image")
    notes = SafetyReview.model_validate(by_kind.get("validated", {})).notes
    came = by_kind.get("scored", {}).get("action", "")
    return Card(
        step=one,
        clip=Clip.model_validate(one.seen["clip"]) if one.seen else None,
        picture=image["sha256"][:16] if image else "",
        caption=by_kind.get("captioned", {}).get("caption", ""),
        advice=advice,
        ranked=[
            Ranked(
                ranked.action,
                advice.probabilities[ranked.action],
                ranked.rationale,
                tuple(note.reason for note in notes if note.rank == rank),
                ranked.action == came,
            )
            for rank, ranked in enumerate(advice.plan.actions, start=1)
        ]
        if advice
        else [],
        lines=[line for event in one.events for line in _told(event)],
    )


def _told(event: Event) -> Iterator[Line]:
    """What a reader is told of one event; nothing of what the card shows elsewhere."""
    payload = event.payload
    match event.kind:
        case "asked":
            yield asked_line(event)
        case "heard":
            yield heard_line(event, _understood)
        case "planned":
            advice = Advice.model_validate(payload)
            by = "the surgeon asks for it" if advice.is_asked_for else advice.source
            yield Line("Planned", f"{', '.join(advice.plan.ranking)} ({by})")
        case "reviewed" if payload["uncertain"]:
            yield Line("Reviewed", f"Not sure: {payload['probability']:.0%} for the first action.", tone="warn")
        case "validated" if payload["unchecked"]:
            yield Line("Unchecked", f"{', '.join(payload['unchecked'])}: nobody knows what is truly visible.")
        case "corrected":
            label = payload["action"] or f"not {', '.join(payload['denied'])}"
            yield Line("Learned", f"Here comes {label}.", "Kept as a labelled example.", "human")
        case "guarded":
            verdict = Verdict.model_validate(payload)
            if not verdict.ok:
                yield Line("Checked", f"Not performed, by the rule {verdict.rule}: {verdict.reason}.", tone="bad")
        case "scored":
            yield _came(payload)
        case "reached":
            yield Line("Reached", f"{payload['target']}.", tone="ok")
        case "finished":
            tone = "ok" if payload["status"] == "succeeded" else "bad"
            yield Line("Finished", f"{payload['status']}: {payload['reason']}", tone=tone)
        case "consulted" if reply_flaws(payload):
            yield reply_line(payload)
        case "observed" | "recalled" | "captioned" | "validated" | "recorded" | "advanced" | "reviewed" | "consulted":
            pass
        case _:
            yield process_line(event)


def _came(scored: Mapping[str, Any]) -> Line:
    rank, detail = scored["rank"], "" if scored["is_counted"] else "Not counted: the surgeon had a say in it."
    if rank is None:
        return Line("Came", f"{scored['action']}, which was not in the plan.", detail, "bad")
    return Line("Came", f"{scored['action']}, ranked {rank}.", detail, "ok" if rank == 1 else "warn")


def _understood(words: Mapping[str, Any]) -> str:
    match words["kind"]:
        case "prefer":
            denied = f", not {', '.join(words['denied'])}" if words["denied"] else ""
            return f"{words['action']} comes first{denied}"
        case "deny":
            return f"not {', '.join(words['denied'])}"
        case "aim":
            return f"the goal is: {words['goal']}"
        case "remark":
            return "told to the planner"
        case kind:
            return str(kind)
