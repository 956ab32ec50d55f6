"""What a drive was worth: the paper's four verifiers (collision, generation, consistency, format), and the progress.

Pure functions of a session's events, for evaluations and for the environment that the loop exports:
`LOOP.environment("driver", reward=drive_reward, planner="model")`.
"""

from collections.abc import Sequence
from math import exp, hypot
from statistics import fmean
from typing import NamedTuple

from loopwright.graphs.loop.environment import Finished
from loopwright.schema import Event
from loopwright.tools.drive.scenarios import SCENARIO
from loopwright.tools.drive.scene import Point, Pose, headings
from loopwright.tools.drive.tools import SeenRoad, drive, look_at_road
from loopwright.tools.drive.totals import Totals

APART_M = 2.0
"""Plans of neighbouring steps that differ by this much on average are as inconsistent as exp(-1)."""
WEIGHTS = {"collision": 1.0, "generation": 0.5, "consistency": 0.25, "format": 0.25, "progress": 0.5}


class Verified(NamedTuple):
    """Each from 0 to 1."""

    collision: float
    """1: neither crashed nor left the road."""
    generation: float
    """How much of the road users imagined frames share with what came: mean IoU; 0 where nothing was imagined."""
    consistency: float
    """How well each trajectory goes on with the one before."""
    format: float
    """Share of answers that were in their format at once."""
    progress: float
    """Mean speed by the road's usual one."""


def verified(events: Sequence[Event]) -> Verified:
    """What the verifiers say of a session, as far as it got."""
    outputs = [e.payload["output"] for e in events if e.kind == "observed" and e.payload["tool"] == look_at_road.name]
    seen = [SeenRoad.model_validate(output) for output in outputs if output]
    replies = [e.payload for e in events if e.kind == "replied"]
    came = [e.payload["iou"] for e in events if e.kind == "came"]
    totals = seen[-1].totals if seen else None
    road = next((one.scene.source for one in seen if one.scene is not None), "")
    good = sum(1 for one in replies if one.get("is_exact") and one.get("attempts") == 1 and "error" not in one)
    return Verified(
        collision=float(totals is not None and not totals.collisions and not totals.off_road),
        generation=fmean(came) if came else 0.0,
        consistency=_consistency(events),
        format=good / len(replies) if replies else 1.0,
        progress=_progress(totals, road),
    )


def drive_reward(finished: Finished) -> float:
    """The weighted mean of what the verifiers say of an episode, from 0 to 1."""
    found = verified(finished.events)._asdict()
    return float(sum(weight * found[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values()))


def _progress(totals: Totals | None, road: str) -> float:
    if totals is None or not totals.steps:
        return 0.0
    cruise_mps = {str(name): of.cruise_mps for name, of in SCENARIO.items()}.get(road, totals.mean_speed_mps)
    return min(1.0, totals.mean_speed_mps / max(cruise_mps, 1.0))


def _consistency(events: Sequence[Event]) -> float:
    driven = {e.step: e.payload["arguments"]["waypoints"] for e in events if _is_driven(e)}
    pairs = [(driven[step], driven[step + 1]) for step in driven if step + 1 in driven]
    return fmean(exp(-_apart_m(one, then) / APART_M) for one, then in pairs) if pairs else 1.0


def _is_driven(event: Event) -> bool:
    return event.kind == "acted" and event.payload["tool"] == drive.name and event.payload["status"] == "done"


def _apart_m(one: Sequence[Point], then: Sequence[Point]) -> float:
    """How far the trajectory of a step is on average from the one before, where both speak of the same moment."""
    (x, y), yaw = one[0], headings(one)[0]
    expected = [Pose(x, y, yaw).to_inner(*point) for point in one[1:]]
    return fmean(hypot(a[0] - b[0], a[1] - b[1]) for a, b in zip(expected, then, strict=False))
