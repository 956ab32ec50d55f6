"""Trajectories for tests: along the route at a speed."""

import numpy as np

from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Scene, Waypoints


def along_route(scene: Scene, speed_mps: float) -> Waypoints:
    """Towards `speed_mps` by at most 3 m/s^2, joining the route's centre line over the 3 s."""
    centre = np.array(next(lane.centre for lane in scene.lanes if lane.is_route))
    lengths = np.concatenate([[0.0], np.hypot(*np.diff(centre, axis=0).T).cumsum()])
    at = np.linspace(0, lengths[-1], int(lengths[-1] / 0.25) + 2)
    line = np.column_stack([np.interp(at, lengths, centre[:, axis]) for axis in (0, 1)])
    nearest = int(np.hypot(*line.T).argmin())
    along, speed, points = at[nearest], scene.speed_mps, []
    for k in range(1, FUTURE_STEPS + 1):
        speed += float(np.clip(speed_mps - speed, -3 * STEP_S, 3 * STEP_S))
        along += speed * STEP_S
        x, y = (float(np.interp(along, at, line[:, axis])) for axis in (0, 1))
        points.append((x - line[nearest, 0] * (1 - k / FUTURE_STEPS), y - line[nearest, 1] * (1 - k / FUTURE_STEPS)))
    return tuple(points)
