"""A driver by rules: what is thought of a moment, which trajectory is taken, and what passengers' wishes make of both.

Candidates are the planner's (`loopwright.tools.drive.planner`), rated by whatever futures are imagined. The same
sentences are written for training rows. Knows no prompt, no model and no graph.
"""

from collections.abc import Collection
from itertools import pairwise
from math import atan2, hypot, pi, remainder
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loopwright.agents.drive.feedback import Wishes
from loopwright.agents.drive.formats import THINK_CHARS
from loopwright.agents.drive.perception import risk_of
from loopwright.schema import Frozen
from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.futures import Foresee
from loopwright.tools.drive.paths import path_of
from loopwright.tools.drive.planner import Candidate, Rated, Style, propose, rate
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Action, Command, Lane, Pose, Scene, Waypoints, headings

STAND_MPS = 0.5
BRAKING_MPS2 = 6.0
"""Of the fallback that sees nothing."""
THERE_M = 1.0
"""A lane is reached this near to its middle."""
TURN_RAD = 0.5
"""A lane that turns by more than this within sight leads to that side."""
_YIELDING = 2.0
"""How much more headway is kept while somebody is let in."""


class Thought(Frozen):
    """What was thought, and the trajectory that came of it."""

    by: Literal["rule", "model", "fallback"]
    think: str = Field(max_length=THINK_CHARS)
    action: Action
    waypoints: Waypoints
    why: str = Field(default="", max_length=400, description="what speaks for it, or made the fallback necessary")


def style_of(cruise_mps: float, wishes: Wishes, time_s: float) -> Style:
    """How passengers want to be driven."""
    style = Style(cruise_mps=cruise_mps * wishes.pace)
    if not wishes.yields(time_s):
        return style
    return style._replace(headway_s=style.headway_s * _YIELDING, standstill_m=style.standstill_m * _YIELDING)


def think_by_rule(
    scene: Scene, foresee: Foresee, style: Style, without: Collection[Waypoints] = (), most: int | None = None
) -> Thought:
    """The candidate of least cost that was not rejected; the fallback where all of them were.

    Args:
        scene: the moment.
        foresee: the futures that follow from a candidate's waypoints.
        style: how to drive.
        without: trajectories that the verifier rejected.
        most: only so many candidates, the best that there are where nobody is in the way.
    """
    left = [one for one in propose(scene, style)[:most] if one.waypoints not in without]
    if not left:
        return brake(scene, "every trajectory was rejected")
    best = _cheapest(scene, left, foresee, style)
    return Thought(
        by="rule",
        think=risk_of(scene),
        action=_action(best.candidate),
        waypoints=best.candidate.waypoints,
        why=_reason(best),
    )


def brake(scene: Scene, why: str) -> Thought:
    """The fallback: along the path that the ego is on, as hard as the planner brakes and the envelope allows."""
    hardest = sorted(propose(scene, Style()), key=lambda one: (one.acceleration_mps2, one.cost))
    can_be = [one.waypoints for one in hardest if check_envelope(one.waypoints, scene.speed_mps).ok]
    waypoints = can_be[0] if can_be else _straight_on(scene.speed_mps)
    think = risk_of(scene)
    return Thought(by="fallback", think=think, action="stop", waypoints=waypoints, why=why[:400])


def brake_blindly(last: Waypoints, why: str) -> Thought:
    """The fallback where the present is not known: on along the trajectory of the step before, ever slower.

    Args:
        last: that trajectory, in the ego frame of then; its first 0.5 s were driven.
        why: what is not known.
    """
    (x, y), yaw = last[0], headings(last)[0]
    onward = [Pose(x, y, yaw).to_inner(*point) for point in last]
    stretches = [hypot(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(onward)]
    lengths = np.concatenate([[0.0], np.cumsum(stretches)])
    along = np.minimum(_stopping_m(stretches[0] / STEP_S), lengths[-1])
    found = [np.interp(along, lengths, [point[axis] for point in onward]) for axis in (0, 1)]
    waypoints = tuple((round(float(px), 3), round(float(py), 3)) for px, py in zip(*found, strict=True))
    return Thought(by="fallback", think="nothing is known", action="stop", waypoints=waypoints, why=why[:400])


def _straight_on(speed_mps: float) -> Waypoints:
    return tuple((round(float(x_m), 3), 0.0) for x_m in _stopping_m(speed_mps))


def _stopping_m(speed_mps: float) -> NDArray[np.float64]:
    """(6,) how far one comes by each waypoint, braking."""
    times = np.minimum(STEP_S * np.arange(1, FUTURE_STEPS + 1), speed_mps / BRAKING_MPS2)
    found: NDArray[np.float64] = speed_mps * times - BRAKING_MPS2 * times**2 / 2
    return found


class Way(NamedTuple):
    """A moment with the route that a passenger asked for."""

    scene: Scene
    aim_m: float | None
    """How far to the left of the lane that is aimed at the ego is; None: no lane beside it is."""
    is_there: bool
    """Whether the wish is fulfilled."""


def way(scene: Scene, command: Command | None, aim_m: float | None) -> Way:
    """The scene with its route along the lane or branch on the side that a passenger wants, if there is one.

    Args:
        scene: the moment.
        command: the wish.
        aim_m: as it came from the step before, so that one wish changes one lane.
    """
    if command is None:
        return Way(scene, None, is_there=False)
    found = [(lane, path) for lane in scene.lanes if (path := path_of(lane)) is not None]
    chosen, sign = None, {"left": 1, "straight": 0, "right": -1}[command]
    turns = [(lane, _turn_rad(lane)) for lane, path in found if abs(path.aside_m) < path.width_m / 2]
    if sign == 0:
        chosen, _ = min(turns, key=lambda one: abs(one[1]), default=(None, 0.0))
    elif sharp := [(lane, turn) for lane, turn in turns if sign * turn > TURN_RAD]:
        chosen, _ = max(sharp, key=lambda one: sign * one[1])
    elif aim_m is not None:
        wanted_m = aim_m
        chosen, path = min(found, key=lambda one: abs(one[1].aside_m - wanted_m))
        aim_m = path.aside_m
    else:
        beside = [(lane, -sign * path.aside_m) for lane, path in found if -sign * path.aside_m > path.width_m / 2]
        chosen, away_m = min(beside, key=lambda one: one[1], default=(None, 0.0))
        aim_m = None if chosen is None else -sign * away_m
    told = scene.model_copy(update={"command": command})
    if chosen is None:
        return Way(told, None, is_there=False)
    lanes = tuple(lane.model_copy(update={"is_route": lane is chosen}) for lane in scene.lanes)
    is_there = aim_m is not None and abs(aim_m) < THERE_M
    return Way(told.model_copy(update={"lanes": lanes}), aim_m, is_there)


def _turn_rad(lane: Lane) -> float:
    """By how much a lane has turned to the left, from the ego's heading, where it is seen to end."""
    (ax, ay), (bx, by) = lane.centre[-2:]
    return remainder(atan2(by - ay, bx - ax), 2 * pi)


def _cheapest(scene: Scene, candidates: Collection[Candidate], foresee: Foresee, style: Style) -> Rated:
    best: Rated | None = None
    for candidate in candidates:
        if best is not None and candidate.cost >= best.cost:
            break
        rated = rate(scene, candidate, foresee(candidate.waypoints), style)
        if best is None or rated.cost < best.cost:
            best = rated
    assert best is not None
    return best


def _action(candidate: Candidate) -> Action:
    if candidate.side != "keep":
        return candidate.side
    if candidate.states[-1, 2] < STAND_MPS:
        return "stop"
    if abs(candidate.acceleration_mps2) < 0.3:
        return "keep"
    return "faster" if candidate.acceleration_mps2 > 0 else "slower"


def _reason(rated: Rated) -> str:
    """What is known of a candidate, for whoever reads along."""
    one = rated.candidate
    what = f"{one.side} at {one.acceleration_mps2:+.1f} m/s2, cost {rated.cost:.1f}"
    if rated.hit_s is not None:
        return f"{what}, though somebody is in the way in {rated.hit_s:g} s"
    gap_m = min(rated.gap_m, default=float("inf"))
    return f"{what}, {f'{gap_m:.0f} m' if gap_m < float('inf') else 'nobody'} ahead at the closest"
