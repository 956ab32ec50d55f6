"""The C-arm's own parts of a session's report: the targets, the path over the body, the distances, one card a step."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loopwright.agents.carm.navigator import Decision
from loopwright.agents.replies import reply_flaws
from loopwright.errors import LoopwrightError
from loopwright.graphs.carm.drawings import (
    OVERLAY,
    Overlay,
    distance_chart,
    overlay,
    path_map,
    project_body,
    true_distance_mm,
)
from loopwright.graphs.carm.steps import CArmStep, read_steps
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import Line, asked_line, heard_line, picture_uris, process_line, reply_line
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event, ImageRef, Verdict
from loopwright.settings import CArmSettings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.landmarks import Landmarks, nearest
from loopwright.tools.carm.sources import open_case
from loopwright.tools.carm.world import optics_of

PACKAGE = "loopwright.graphs.carm"
"""Whose `templates` this report is drawn with."""


class Card(NamedTuple):
    """One step as the page shows it."""

    step: CArmStep
    target: str
    picture: str
    overlay: Overlay | None
    ranking: list[tuple[str, float]]
    nearest_set: tuple[str, ...] | None
    coverage: float | None
    truth: str
    lines: list[Line]


class Arrival(NamedTuple):
    """One target: how far off it was, as claimed and in truth, when it was taken to be centred. mm, None: unknown."""

    target: str
    exposures: int | None
    claimed_mm: float | None
    true_mm: float | None


def carm_sections(
    kept: Mapping[str, Any],
    events: Sequence[Event],
    read_blob: Callable[[ImageRef], bytes],
    case: Case | None = None,
) -> list[Section]:
    """The sections of a C-arm session, whatever became of it.

    Args:
        kept: what the session keeps of its configuration (`loopwright.graphs.carm.run.prepare`).
        events: the session's log, whole or as far as it got.
        read_blob: a picture's bytes.
        case: the patient; None opens what `kept` names, and the page says so where that is not to be had any more.
    """
    steps = read_steps(events)
    world = CArmSettings.model_validate(kept["settings"])
    view_mm = optics_of(world).field_of_view_mm
    landmarks = {name: np.asarray(point, dtype=np.float64) for name, point in kept["landmarks"].items()}
    arrivals = _arrivals(steps, kept["run"]["target"], landmarks)
    chart = distance_chart(steps, landmarks, world.success_radius_mm)
    cards = [_card(one, view_mm, landmarks) for one in steps]
    pictures = picture_uris((one.observation.image for one in steps if one.observation), read_blob)
    shown = {"steps": steps, "landmarks": landmarks, "size": OVERLAY}
    return [
        Section(
            title="Targets",
            html=render_template(
                "targets.html.j2", PACKAGE, arrivals=arrivals, chart=chart, success_mm=world.success_radius_mm, **shown
            ),
            facts=tuple(_facts(kept, steps, arrivals)),
        ),
        Section(title="The way over the body", html=_path(kept, steps, landmarks, arrivals, view_mm, case)),
        Section(
            title="Step by step",
            html=render_template("steps.html.j2", PACKAGE, cards=cards, pictures=pictures, **shown),
        ),
    ]


def _facts(kept: Mapping[str, Any], steps: Sequence[CArmStep], arrivals: Sequence[Arrival]) -> Iterator[Fact]:
    run, exposures = kept["run"], [one.observation.exposures for one in steps if one.observation]
    yield Fact("Volume", run["volume"])
    yield Fact("Start", run["start"])
    reached = {a.target for a in arrivals if a.claimed_mm is not None}
    yield Fact("Targets", ", then ".join(f"{a.target}{' ✓' if a.target in reached else ''}" for a in arrivals))
    yield Fact("Exposures", f"{max(exposures, default=0)} of at most {kept['limits']['max_exposures']}")
    moved = [one.proposed.motion.length_mm for one in steps if one.has_moved and one.proposed]
    yield Fact("Travelled", f"{sum(moved):.0f} mm in {len(moved)} motions")
    yield Fact("Approved by", "a human" if run["approval"] == "human" else "the guard")
    yield Fact("When unsure", run["on_uncertain"])
    if kept.get("card"):
        yield Fact("Localiser", run["localiser"])
        yield Fact("Navigator", run["navigator"])
        yield Fact("Model", kept["card"]["name"])


def _arrivals(steps: Sequence[CArmStep], targets: Sequence[str], landmarks: Landmarks) -> list[Arrival]:
    """Every target there was, in the order in which they were reached, then those that were not."""
    found: dict[str, Arrival] = {name: Arrival(name, None, None, None) for name in targets}
    for one in steps:
        if one.is_left_behind and not any(e.kind == "reached" for e in one.events):
            continue
        for claim in one.claims:
            found.setdefault(claim.target, Arrival(claim.target, None, None, None))
            if claim.arrived and not one.is_left_behind and one.observation:
                true_mm = true_distance_mm(one, landmarks, claim.target)
                found[claim.target] = Arrival(claim.target, one.observation.exposures, claim.distance_mm, true_mm)
    return sorted(found.values(), key=lambda a: float("inf") if a.exposures is None else a.exposures)


def _path(
    kept: Mapping[str, Any],
    steps: Sequence[CArmStep],
    landmarks: Landmarks,
    arrivals: Sequence[Arrival],
    view_mm: float,
    case: Case | None,
) -> Any:
    missing = ""
    if case is None:
        run = kept["run"]
        try:
            case = open_case(run["volume"], Path(run["landmarks"]) if run["landmarks"] else None)
        except LoopwrightError as error:
            missing = str(error)
    body = project_body(case.volume) if case else None
    return render_template(
        "path.html.j2",
        PACKAGE,
        map=path_map(steps, landmarks, [a.target for a in arrivals], view_mm, case.volume if case else None),
        body=body,
        body_uri=_png_uri(body.grey) if body else "",
        missing=missing,
    )


def _card(one: CArmStep, view_mm: float, landmarks: Landmarks) -> Card:
    seen, decided = one.localisation, one.decisions
    target = decided[-1].target if decided else ""
    proposed = one.proposed
    drawn = None
    if one.observation is not None:
        motion = proposed.motion if proposed else None
        drawn = overlay(seen, one.observation.pose, motion, target, landmarks, view_mm)
    return Card(
        step=one,
        target=target,
        picture=one.observation.image.sha256[:16] if one.observation else "",
        overlay=drawn,
        ranking=[(name, seen.nearest[name]) for name in seen.ranking[:3]] if seen else [],
        nearest_set=seen.nearest_set if seen else None,
        coverage=seen.coverage if seen else None,
        truth=nearest(landmarks, one.observation.pose.isocentre_world, 1)[0] if landmarks and one.observation else "",
        lines=[line for event in one.events for line in _told(event)],
    )


def _png_uri(grey: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _told(event: Event) -> Iterator[Line]:
    """What a reader is told of one event; nothing of what the card shows elsewhere."""
    payload = event.payload
    match event.kind:
        case "asked":
            yield asked_line(event)
        case "heard":
            yield heard_line(event, _understood)
        case "reviewed" if payload["uncertain"]:
            n = len(payload["nearest_set"])
            yield Line("Reviewed", f"Not sure which landmark is nearest: {n} are possible.", tone="warn")
        case "consulted":
            yield from _consulted(payload)
        case "relocalised":
            revised = Localisation.model_validate(payload)
            yield Line("Revised", f"{revised.ranking[0]} is now taken to be the nearest.", tone="warn")
        case "decided":
            yield _decided(Decision.model_validate(payload))
        case "guarded":
            verdict = Verdict.model_validate(payload)
            refused = Line("Checked", f"Refused by the {verdict.rule} rule: {verdict.reason}", tone="bad")
            yield Line("Checked", "The guard allows it.", tone="ok") if verdict.ok else refused
        case "moved":
            done = payload["status"] == "done"
            yield Line("Moved", "Done.", tone="ok") if done else Line("Not moved", payload["reason"], tone="bad")
        case "reached":
            yield Line("Reached", f"{payload['target']} is centred.", tone="ok")
        case "finished":
            tone = "ok" if payload["status"] == "succeeded" else "bad"
            yield Line("Finished", f"{payload['status']}: {payload['reason']}", tone=tone)
        case "observed" | "measured" | "localised" | "reviewed":
            pass
        case _:
            yield process_line(event)


def _consulted(payload: Mapping[str, Any]) -> Iterator[Line]:
    """The model's replies. What it saw is on the picture, so the localiser's answers show only where one was odd."""
    if payload["role"] != "localiser" or reply_flaws(payload):
        yield reply_line(payload)


def _decided(decision: Decision) -> Line:
    about = f"{decision.target} is taken to be {decision.distance_mm:.0f} ± {decision.sd_mm:.0f} mm away"
    why = decision.rationale[:1].upper() + decision.rationale[1:]
    if decision.arrived:
        return Line("Decided", f"Stay: {decision.target} is taken to be centred.", f"{why}; {about}.")
    claims_nothing = decision.source == "clinician" and decision.sd_mm == 0
    text = f"Move the view {decision.motion.describe()}, towards {decision.target}."
    return Line("Decided", text, f"{why}." if claims_nothing else f"{why}; {about}.")


def _understood(words: Mapping[str, Any]) -> str:
    match words["kind"]:
        case "move_view":
            return f"move the view {Motion.towards(words['direction'], words['distance_mm']).describe()}"
        case "identify":
            return f"what is in the middle is {words['landmark']}"
        case "retarget":
            return f"the target is {words['landmark']}"
        case kind:
            return str(kind)
