"""The drive loop's own parts of a session's report: the film strip (seen, imagined, came), and step by step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from loopwright.graphs.drive.describe import describe
from loopwright.graphs.drive.drawings import cross, trajectory
from loopwright.graphs.drive.run import DriveRun
from loopwright.graphs.drive.steps import DriveStep, Shot, film, read_steps
from loopwright.graphs.loop.declare import ReadBlob
from loopwright.graphs.loop.describe import describe as described
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import picture_uris, short_name, steps_section
from loopwright.schema import Event
from loopwright.tools.drive.scene import STEP_S
from loopwright.tools.drive.tools import TOOLS
from loopwright.tools.drive.views import TOP_PX

PACKAGE = "loopwright.graphs.drive"
"""Whose `templates` this report is drawn with."""


class Column(NamedTuple):
    """One moment of the film strip; pictures by their short names, "" where there is none."""

    name: str
    time_s: float
    seen: str
    over: Markup
    imagined: str
    came: str
    action: str
    is_fallback: bool
    alike: dict[str, Any] | None


def drive_sections(
    run: DriveRun, prepared: Mapping[str, Any], events: Sequence[Event], read_blob: ReadBlob
) -> list[Section]:
    """The sections of a drive session, whatever became of it."""
    steps = read_steps(events)
    shots = film(steps)
    columns = [_column(shot, run.horizon_s) for shot in shots]
    refs = [ref for shot in shots for ref in _pictures(shot)]
    strip = render_template(
        "film.html.j2", PACKAGE, columns=columns, pictures=picture_uris(refs, read_blob), size=TOP_PX,
        horizon_s=run.horizon_s,
    )  # fmt: skip
    return [
        Section(title="Seen, imagined, came", html=strip, facts=tuple(_facts(run, steps))),
        steps_section(events, lambda event: described(event, describe, TOOLS), read_blob),
    ]


def over(step: DriveStep, horizon_s: float) -> Markup:
    """What is drawn over what a step saw: what was decided, and where the ego was expected at the horizon."""
    marks = Markup("")
    if step.expected:
        marks += cross(step.expected[round(horizon_s / STEP_S) - 1])
    if step.thoughts:
        thought = step.thoughts[-1]
        marks += trajectory(thought.waypoints, is_fallback=thought.by == "fallback")
    return marks


def _column(shot: Shot, horizon_s: float) -> Column:
    step, road = shot.step, shot.step.road
    assert road is not None
    assert road.images.top is not None
    thought = step.thoughts[-1] if step.thoughts else None
    return Column(
        name=step.name,
        time_s=road.totals.time_s,
        seen=short_name(road.images.top),
        over=over(step, horizon_s),
        imagined="" if step.imagined is None else short_name(step.imagined.image),
        came="" if shot.came is None else short_name(shot.came),
        action="" if thought is None else thought.action,
        is_fallback=thought is not None and thought.by == "fallback",
        alike=shot.alike,
    )


def _pictures(shot: Shot) -> Iterator[Any]:
    assert shot.step.road is not None
    yield shot.step.road.images.top
    if shot.step.imagined is not None:
        yield shot.step.imagined.image
    if shot.came is not None:
        yield shot.came


def _facts(run: DriveRun, steps: Sequence[DriveStep]) -> Iterator[Fact]:
    yield Fact("Drive", f"{run.scenario} {run.seed}")
    yield Fact("Planner", run.planner)
    yield Fact("Imagination", run.imagine)
    live = [one for one in steps if not one.is_left_behind]
    roads = [one.road for one in live if one.road is not None]
    if roads:
        totals = roads[-1].totals
        yield Fact("Driven", f"{totals.progress_m:.0f} m in {totals.time_s:g} s")
        yield Fact("Mean speed", f"{totals.mean_speed_mps:.1f} m/s")
        yield Fact("Collisions", f"{totals.collisions}")
        yield Fact("Uncomfortable steps", f"{totals.uncomfortable_steps} of {totals.steps}")
    events = [event for one in live for event in one.events]
    rejected = sum(e.kind == "verified" and not e.payload["ok"] for e in events)
    yield Fact("Rejected by the verifier", str(rejected))
    yield Fact("Fallbacks", str(sum(thought.by == "fallback" for one in live for thought in one.thoughts)))
    yield Fact("Sensor faults", str(sum(len(e.payload["faults"]) for e in events if e.kind == "faulty")))
    yield Fact("Unreadable answers", str(sum(e.kind == "unread" for e in events)))
    came = [e.payload for e in events if e.kind == "came"]
    if came:
        mean = {name: sum(one[name] for one in came) / len(came) for name in ("psnr_db", "ssim", "iou")}
        alike = f"PSNR {mean['psnr_db']:.1f} dB, SSIM {mean['ssim']:.3f}, road users' IoU {mean['iou']:.2f}"
        yield Fact(f"Imagined and came, N = {len(came)}", alike)
