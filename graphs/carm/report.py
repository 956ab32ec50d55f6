"""The C-arm's own parts of a session's report: the targets, the path over the body, the distances, one card a step."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import LoopwrightError
from loopwright.graphs.carm.describe import describe as own
from loopwright.graphs.carm.drawings import (
    OVERLAY,
    Overlay,
    distance_chart,
    overlay,
    path_map,
    project_body,
    true_distance_mm,
)
from loopwright.graphs.carm.run import CArmRun
from loopwright.graphs.carm.steps import CArmStep, read_steps
from loopwright.graphs.loop.declare import ReadBlob
from loopwright.graphs.loop.describe import describe
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import picture_uris, short_name
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event
from loopwright.tools.carm.landmarks import Landmarks, nearest
from loopwright.tools.carm.sources import open_case
from loopwright.tools.carm.tools import move_c_arm, take_exposure
from loopwright.tools.pictures import encode_png

PACKAGE = "loopwright.graphs.carm"
"""Whose `templates` this report is drawn with."""
DRAWN = ("observed", "localised")
"""Kinds of events that a card shows as its picture."""
TOOLS = (move_c_arm, take_exposure)


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
    run: CArmRun, prepared: Mapping[str, Any], events: Sequence[Event], read_blob: ReadBlob
) -> list[Section]:
    """The sections of a C-arm session, whatever became of it; the page says so where its volume cannot be opened.

    Args:
        run: the session's configuration.
        prepared: what was prepared for it (`loopwright.graphs.carm.run.prepare`).
        events: the session's log, whole or as far as it got.
        read_blob: a picture's bytes.
    """
    steps = read_steps(events)
    view_mm, success_mm = prepared["field_of_view_mm"], prepared["settings"]["success_radius_mm"]
    landmarks = landmarks_of(prepared)
    arrivals = _arrivals(steps, run.target, landmarks)
    chart = distance_chart(steps, landmarks, success_mm)
    cards = [_card(one, view_mm, landmarks) for one in steps]
    pictures = picture_uris((one.observation.image for one in steps if one.observation), read_blob)
    shown = {"steps": steps, "landmarks": landmarks, "size": OVERLAY}
    return [
        Section(
            title="Targets",
            html=render_template(
                "targets.html.j2", PACKAGE, arrivals=arrivals, chart=chart, success_mm=success_mm, **shown
            ),
            facts=tuple(_facts(run, prepared, steps, arrivals)),
        ),
        Section(title="The way over the body", html=_path(run, steps, landmarks, arrivals, view_mm)),
        Section(
            title="Step by step",
            html=render_template("steps.html.j2", PACKAGE, cards=cards, pictures=pictures, **shown),
        ),
    ]


def landmarks_of(prepared: Mapping[str, Any]) -> Landmarks:
    """The known positions, `_world` mm."""
    return {name: np.asarray(point, dtype=np.float64) for name, point in prepared["landmarks"].items()}


def ranked(seen: Localisation | None) -> dict[str, Any]:
    """What a picture is taken to show, as the template `seen.html.j2` takes it."""
    return {
        "ranking": [(name, seen.nearest[name]) for name in seen.ranking[:3]] if seen else [],
        "nearest_set": seen.nearest_set if seen else None,
        "coverage": seen.coverage if seen else None,
    }


def _facts(
    run: CArmRun, prepared: Mapping[str, Any], steps: Sequence[CArmStep], arrivals: Sequence[Arrival]
) -> Iterator[Fact]:
    exposures = [one.observation.exposures for one in steps if one.observation]
    yield Fact("Volume", run.volume)
    yield Fact("Start", run.start)
    reached = {a.target for a in arrivals if a.claimed_mm is not None}
    yield Fact("Targets", ", then ".join(f"{a.target}{' ✓' if a.target in reached else ''}" for a in arrivals))
    yield Fact("Exposures", f"{max(exposures, default=0)} of at most {prepared['limits']['max_exposures']}")
    moved = [one.proposed.motion.length_mm for one in steps if one.has_moved and one.proposed]
    yield Fact("Travelled", f"{sum(moved):.0f} mm in {len(moved)} motions")
    yield Fact("Approved by", "a human" if run.approval == "human" else "the guard")
    yield Fact("When unsure", run.on_uncertain)
    models = {said["model"] for one in steps for e in one.events for said in e.payload.get("models", {}).values()}
    if models:
        yield Fact("Localiser", run.localiser)
        yield Fact("Navigator", run.navigator)
        yield Fact("Model", ", ".join(sorted(models)))


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
    run: CArmRun, steps: Sequence[CArmStep], landmarks: Landmarks, arrivals: Sequence[Arrival], view_mm: float
) -> Any:
    case, missing = None, ""
    try:
        case = open_case(run.volume, run.landmarks)
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
        picture=short_name(one.observation.image) if one.observation else "",
        overlay=drawn,
        **ranked(seen),
        truth=nearest(landmarks, one.observation.pose.isocentre_world, 1)[0] if landmarks and one.observation else "",
        lines=[line for event in one.events if event.kind not in DRAWN for line in describe(event, own, TOOLS)],
    )


def _png_uri(grey: NDArray[np.uint8]) -> str:
    return f"data:image/png;base64,{base64.b64encode(encode_png(grey)).decode()}"
