"""What code says of a trajectory before it is driven: the kinematic envelope, the road, other road users, comfort.

Rejects, never clamps. Braking is never too hard while the envelope allows it: comfort gives way to safety. Knows no
planner: whoever made the trajectory, a rule or a model, is held to the same.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

import numpy as np

from loopwright.schema import Verdict
from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.futures import Future, poses
from loopwright.tools.drive.scene import STEP_S, Box, Lane, Point, Scene
from loopwright.tools.drive.totals import COMFORT_ACCELERATION_MPS2, COMFORT_LATERAL_MPS2

MARGIN_M = 0.2
"""Between the ego and others, on every side; and how far the ego's centre may be beside a lane."""
_OK = Verdict(ok=True)
_SLACK_MPS2 = 1.2
"""Rounding: waypoints may come in tenths of a metre."""


def verify(scene: Scene, waypoints: Sequence[Point], futures: Sequence[Future]) -> Verdict:
    """Whether `waypoints` may be driven, given what is around the ego then.

    The rules, the first that is broken decides: those of the envelope (`loopwright.tools.drive.envelope`), `off_road`
    (where lanes are known), `collision` (with what the futures show at their horizons) and `comfort` (forward and
    lateral acceleration).
    """
    envelope = check_envelope(waypoints, scene.speed_mps)
    if not envelope.ok:
        return envelope
    if (left := _leaves_road(scene.lanes, waypoints)) is not None:
        x, y = waypoints[left]
        return _refused("off_road", f"waypoint {left + 1} ({x:g}, {y:g}) m is beside every known lane.")
    at = poses(waypoints)
    for future in futures:
        x, y, yaw = at[round(future.horizon_s / STEP_S) - 1]
        box = Box(x_m=x, y_m=y, yaw_rad=yaw, length_m=scene.length_m, width_m=scene.width_m)
        if future.covers(box, MARGIN_M, MARGIN_M):
            return _refused("collision", f"somebody is where the ego would be in {future.horizon_s:g} s.")
    return _comfort(scene.speed_mps, waypoints)


def _leaves_road(lanes: Sequence[Lane], waypoints: Sequence[Point]) -> int | None:
    """The first waypoint that no lane reaches; None where all are on lanes, or none are known."""
    if not lanes:
        return None
    points = np.asarray(waypoints, dtype=np.float64)
    on_road = np.zeros(len(points), dtype=bool)
    for lane in lanes:
        centre = np.asarray(lane.centre, dtype=np.float64)
        start, step = centre[:-1], np.diff(centre, axis=0)
        spans = np.maximum((step**2).sum(axis=1), 1e-9)
        share = ((points[:, None] - start) * step).sum(axis=2) / spans
        away = np.linalg.norm(points[:, None] - start - np.clip(share, 0.0, 1.0)[..., None] * step, axis=2)
        on_road |= (away <= lane.width_m / 2 + MARGIN_M).any(axis=1)
    return None if on_road.all() else int(on_road.argmin())


def _comfort(speed_mps: float, waypoints: Sequence[Point]) -> Verdict:
    points = [(0.0, 0.0), *waypoints]
    speeds = [hypot(bx - ax, by - ay) / STEP_S for (ax, ay), (bx, by) in pairwise(points)]
    most = COMFORT_ACCELERATION_MPS2[1]
    for number, (before, then) in enumerate(pairwise([speed_mps, *speeds]), 1):
        gained = (then - before) / (STEP_S if number > 1 else STEP_S / 2)
        if gained > most + _SLACK_MPS2:
            return _refused("comfort", f"waypoint {number} needs {gained:.1f} m/s^2; expected up to {most:g}.")
    yaws = [0.0, *(pose.yaw_rad for pose in poses(waypoints))]
    for number, ((before, then), speed) in enumerate(zip(pairwise(yaws), speeds, strict=True), 1):
        lateral = abs((then - before + np.pi) % (2 * np.pi) - np.pi) / STEP_S * speed
        if lateral > COMFORT_LATERAL_MPS2 + _SLACK_MPS2:
            reason = (
                f"waypoint {number} needs {lateral:.1f} m/s^2 to the side; expected up to {COMFORT_LATERAL_MPS2:g}."
            )
            return _refused("comfort", reason)
    return _OK


def _refused(rule: str, reason: str) -> Verdict:
    return Verdict(ok=False, rule=rule, reason=reason)
