"""How a trajectory is followed: pure pursuit for the steering, proportional speed for the acceleration.

Knows no simulator: poses in and commands out, metres and radians, y to the left, steering positive to the left.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import asin, atan, atan2, cos, hypot, radians, sin, tan
from typing import NamedTuple

from loopwright.tools.drive.scene import STEP_S, Pose

MAX_ACCELERATION_MPS2 = 6.0
MAX_BRAKING_MPS2 = 8.0
MAX_STEERING_RAD = radians(45)
_SPEED_GAIN_PER_S = 2.0
_DISTANCE_GAIN_PER_S2 = 1.0
_LOOK_AHEAD_S = 0.5
_SHORTEST_LOOK_AHEAD_M = 3.0


class Command(NamedTuple):
    """What a vehicle does until the next command."""

    steering_rad: float
    acceleration_mps2: float


class Track:
    """Waypoints as a path over the ground and a speed over time, from where they were set."""

    def __init__(self, start: Pose, waypoints: Sequence[tuple[float, float]]) -> None:
        """Set `waypoints`, one each `STEP_S`, in the frame of `start`."""
        self.points = [(start.x_m, start.y_m), *(start.to_outer(x, y) for x, y in waypoints)]
        self.lengths = [
            hypot(bx - ax, by - ay) for (ax, ay), (bx, by) in zip(self.points, self.points[1:], strict=False)
        ]
        self._yaw = start.yaw_rad

    def command(self, pose: Pose, speed_mps: float, elapsed_s: float, vehicle_length_m: float, dt_s: float) -> Command:
        """What to do at `pose`, `elapsed_s` after the waypoints were set, until `dt_s` later. Never reverses."""
        along = self._along(pose)
        wanted, then = self._speed(elapsed_s), self._speed(elapsed_s + dt_s)
        acceleration = (
            (then - wanted) / dt_s
            + _SPEED_GAIN_PER_S * (wanted - speed_mps)
            + _DISTANCE_GAIN_PER_S2 * (self._distance(elapsed_s) - along)
        )
        least = max(-MAX_BRAKING_MPS2, -speed_mps / dt_s)
        acceleration = min(max(acceleration, least), MAX_ACCELERATION_MPS2)
        return Command(self._steering(pose, speed_mps, along, vehicle_length_m), acceleration)

    def _speed(self, elapsed_s: float) -> float:
        """The speed at a time: linear between the middles of the segments, constant after the last."""
        means = [length / STEP_S for length in self.lengths]
        at = elapsed_s / STEP_S - 0.5
        i = min(max(int(at), 0), len(means) - 2)
        return max(0.0, means[i] + (min(at, len(means) - 1) - i) * (means[i + 1] - means[i]))

    def _distance(self, elapsed_s: float) -> float:
        """How far along the path the vehicle should be at a time."""
        whole = min(int(elapsed_s / STEP_S + 1e-9), len(self.lengths))
        rest = (elapsed_s / STEP_S - whole) * self.lengths[whole] if whole < len(self.lengths) else 0.0
        return sum(self.lengths[:whole]) + rest

    def _along(self, pose: Pose) -> float:
        """How far along the path its point nearest to `pose` lies; beyond the end straight on."""
        best, at, begun = float("inf"), 0.0, 0.0
        last = max((i for i, length in enumerate(self.lengths) if length > 1e-6), default=-1)
        for i, (((ax, ay), (bx, by)), length) in enumerate(zip(pairwise(self.points), self.lengths, strict=True)):
            if length > 1e-6:
                ux, uy = (bx - ax) / length, (by - ay) / length
                on = max(0.0, (pose.x_m - ax) * ux + (pose.y_m - ay) * uy)
                on = on if i == last else min(on, length)
                off = hypot(pose.x_m - ax - on * ux, pose.y_m - ay - on * uy)
                if off < best - 1e-9:
                    best, at = off, begun + on
            begun += length
        return at

    def _point(self, along_m: float) -> tuple[float, float]:
        """The point of the path at a distance; beyond the end straight on."""
        ux, uy, begun = cos(self._yaw), sin(self._yaw), 0.0
        ax, ay = self.points[0]
        for ((px, py), (qx, qy)), length in zip(pairwise(self.points), self.lengths, strict=True):
            if length <= 1e-6:
                continue
            ax, ay, ux, uy = px, py, (qx - px) / length, (qy - py) / length
            if along_m <= begun + length:
                break
            begun += length
        else:
            ax, ay = self.points[-1]
        return ax + (along_m - begun) * ux, ay + (along_m - begun) * uy

    def _steering(self, pose: Pose, speed_mps: float, along_m: float, length_m: float) -> float:
        """Pure pursuit of a point ahead on the path, for a vehicle that is steered about its centre.

        Its centre moves at a slip angle b to its axis and turns by sin(b) / (length / 2) a metre: highway-env's model.
        """
        if sum(self.lengths) < 0.05:
            return 0.0
        x, y = pose.to_inner(*self._point(along_m + max(_SHORTEST_LOOK_AHEAD_M, _LOOK_AHEAD_S * speed_mps)))
        curvature = 2 * sin(atan2(y, x)) / (hypot(x, y) + length_m)
        slip = asin(min(max(curvature * length_m / 2, -0.99), 0.99))
        return min(max(atan(2 * tan(slip)), -MAX_STEERING_RAD), MAX_STEERING_RAD)
