"""The surgery loop's own parts of a session's report: what was done against what was planned, and one card a clip."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loopwright.agents.surgery.advice import Advice
from loopwright.graphs.loop.declare import ReadBlob
from loopwright.graphs.loop.describe import describe as described
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import picture_uris, short_name
from loopwright.graphs.step_view import Picture, StepView
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.graphs.surgery.describe import describe
from loopwright.graphs.surgery.run import SurgeryRun
from loopwright.schema import Event
from loopwright.tools.surgery.safety import SafetyReview
from loopwright.tools.surgery.tools import ShownClip

PACKAGE = "loopwright.graphs.surgery"
"""Whose `templates` this report is drawn with."""
CELL_PX = 26
"""Width of a clip in the strip."""
IN_THE_CARD = ("clip", "saw", "progress", "safety", "note")
"""Labels of lines that say what the card shows elsewhere."""


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
    clip: ShownClip | None
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
    run: SurgeryRun, prepared: Mapping[str, Any], events: Sequence[Event], read_blob: ReadBlob
) -> list[Section]:
    """The sections of a surgery session, whatever became of it."""
    steps = read_steps_as(SessionStep, events)
    clips = [_clip(one) for one in steps]
    images = (clip.image for clip in clips if clip is not None and clip.image is not None)
    return [
        Section(
            title="Foreseen and done",
            html=render_template("strip.html.j2", PACKAGE, cells=_strip(steps), cell=CELL_PX, tally=_tally(steps)),
            facts=tuple(_facts(run, prepared, steps)),
        ),
        Section(
            title="Clip by clip",
            html=render_template(
                "clips.html.j2", PACKAGE, cards=list(map(_card, steps)), pictures=picture_uris(images, read_blob)
            ),
        ),
    ]


def show(run: SurgeryRun, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """A step in the console: the clip's last picture, and what was planned to come next."""
    card = _card(step)
    title = "" if card.clip is None else f"Clip {card.clip.clip}: {card.clip.action}"
    image = None if card.clip is None else card.clip.image
    html = render_template("planned.html.j2", PACKAGE, card=card)
    return StepView((Picture(image, title),) if image is not None else (), html)


def _facts(run: SurgeryRun, prepared: Mapping[str, Any], steps: Sequence[SessionStep]) -> Iterator[Fact]:
    yield Fact("Video", run.video)
    yield Fact("Procedure", prepared["knowledge"]["name"])
    yield Fact("Goal", prepared["goal"] or prepared["knowledge"]["goal"])
    yield Fact("Planner", run.planner)
    if prepared["statistics"]:
        yield Fact("Fitted to", prepared["statistics"]["source"].partition(". ")[0])
    for event in (e for one in steps for e in one.events if e.kind == "started"):
        for role, used in event.payload["models"].items():
            yield Fact(f"Model of the {role}", used["model"])
    if run.planner == "model":
        yield Fact("Shown of the past", f"{run.memory_mode}, {run.near_steps} near as {run.near_as}")
    seen = [clip for one in steps if one.origin == "taken" and (clip := _clip(one)) is not None]
    yield Fact("Clips", str(len(seen)))
    if without := sum(clip.image is None for clip in seen):
        yield Fact("Clips without a picture", str(without))
    yield Fact("Corrections", str(sum(e.kind == "corrected" for one in steps for e in one.events)))
    yield Fact("When unsure", run.on_uncertain)


def _tally(steps: Sequence[SessionStep]) -> dict[str, int] | None:
    """The newest count of plans that came true on the line that was not left behind."""
    found = [scored for one in steps if not one.is_left_behind and (scored := _last(one, "scored"))]
    return found[-1]["tally"] if found else None


def _strip(steps: Sequence[SessionStep]) -> list[Cell]:
    """The clips of the line that was not left behind, each with the plan that was made for it before."""
    cells: list[Cell] = []
    planned, rank = "", 0
    for one in (one for one in steps if not one.is_left_behind):
        clip = _clip(one)
        if clip is None or (cells and cells[-1].name == str(clip.clip)):
            continue
        cells.append(Cell(len(cells) * CELL_PX, str(clip.clip), clip.action, planned, rank))
        advice, scored = _advice(one), _last(one, "scored")
        planned = advice.first if advice else ""
        rank = (scored["rank"] or 0) if scored else 0
    return cells


def _card(one: SessionStep) -> Card:
    clip, advice, scored = _clip(one), _advice(one), _last(one, "scored")
    notes = SafetyReview.model_validate(_last(one, "validated") or {}).notes
    newest = next((e for e in reversed(one.events) if e.kind == "planned"), None)
    told = [event for event in one.events if event is not newest]
    return Card(
        step=one,
        clip=clip,
        picture="" if clip is None or clip.image is None else short_name(clip.image),
        caption=(_last(one, "captioned") or {"caption": ""})["caption"],
        advice=advice,
        ranked=[
            Ranked(
                ranked.action,
                advice.probabilities[ranked.action],
                ranked.rationale,
                tuple(note.reason for note in notes if note.rank == rank),
                scored is not None and ranked.action == scored["action"],
            )
            for rank, ranked in enumerate(advice.plan.actions, start=1)
        ]
        if advice
        else [],
        lines=[line for event in told for line in described(event, describe) if line.label not in IN_THE_CARD],
    )


def _clip(one: SessionStep) -> ShownClip | None:
    return None if one.seen is None else ShownClip.model_validate(one.seen)


def _advice(one: SessionStep) -> Advice | None:
    planned = _last(one, "planned")
    return None if planned is None else Advice.model_validate(planned)


def _last(one: SessionStep, kind: str) -> dict[str, Any] | None:
    """The payload of a step's newest event of a kind."""
    return next((event.payload for event in reversed(one.events) if event.kind == kind), None)
