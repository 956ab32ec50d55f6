"""Names what a trajectory does, by the lane that it begins in and how its speed changes."""

from collections.abc import Sequence
from math import hypot

import numpy as np

from loopwright.tools.drive.scene import STEP_S, Action, Lane, Point, Scene

_STANDS_MPS, _CHANGES_MPS, _LEAVES_M = 0.5, 1.5, 2.0


def action_of(scene: Scene, waypoints: Sequence[Point]) -> Action:
    """A change of lane where it ends more than 2 m beside its lane; else by its last speed against the present one."""
    beside_m = _beside(scene.lanes, waypoints[-1])
    if abs(beside_m) > _LEAVES_M:
        return "left" if beside_m > 0 else "right"
    (x, y), (x_before, y_before) = waypoints[-1], waypoints[-2]
    speed_mps = hypot(x - x_before, y - y_before) / STEP_S
    if speed_mps < _STANDS_MPS:
        return "stop"
    change = speed_mps - scene.speed_mps
    return "faster" if change > _CHANGES_MPS else "slower" if change < -_CHANGES_MPS else "keep"


def _beside(lanes: Sequence[Lane], point: Point) -> float:
    """How far `point` lies to the left of the lane that the ego is in, m; 0 where it is in none."""
    here = [(abs(_left_of(lane, (0.0, 0.0))), not lane.is_route, k) for k, lane in enumerate(lanes)]
    inside = [(not_route, off, k) for off, not_route, k in here if off < lanes[k].width_m / 2]
    return _left_of(lanes[min(inside)[2]], point) if inside else 0.0


def _left_of(lane: Lane, point: Point) -> float:
    """How far a point lies to the left of a lane's centre line, by the nearest piece of it, m."""
    centre, at = np.array(lane.centre), np.array(point)
    begin, along = centre[:-1], np.diff(centre, axis=0)
    lengths = np.maximum(np.hypot(*along.T), 1e-6)
    share = np.clip(((at - begin) * along).sum(axis=1) / lengths**2, 0, 1)
    away = at - begin - share[:, None] * along
    k = int(np.hypot(*away.T).argmin())
    return float(np.copysign(np.hypot(*away[k]), along[k, 0] * away[k, 1] - along[k, 1] * away[k, 0]))
