"""What a planner knows of the moments to come: an occupancy grid a horizon, read in one way whoever made it.

A grid comes from a scene (the present one, one at constant velocity, an oracle's) or from an imagined picture
(`loopwright.tools.drive.views.occupancy_seen`). Knows no simulator, no model and no planner.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Box, Point, Pose, Scene, headings
from loopwright.tools.drive.views import TOP_FORWARD_M, TOP_M, occupancy

SIZE = 128
HORIZONS_S = tuple(STEP_S * (k + 1) for k in range(FUTURE_STEPS))


class Future(NamedTuple):
    """Where other road users are at a horizon, as seen from a pose."""

    horizon_s: float
    pose: Pose
    """Of the grid's ego, in the frame of the present scene."""
    occupied: NDArray[np.bool_]
    """(N, N), laid out as the pixels of `top_view`: the first row farthest ahead, the first column farthest left."""
    metres: float = TOP_M
    forward_m: float = TOP_FORWARD_M

    def at(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(...) whether points (..., 2) of the present frame are occupied; beyond the grid nothing is."""
        x, y = self.pose.to_inner(points[..., 0], points[..., 1])  # type: ignore[arg-type]  # holds for arrays too
        size = len(self.occupied)
        row = np.floor((self.forward_m - x) * size / self.metres).astype(int)
        column = np.floor((self.metres / 2 - y) * size / self.metres).astype(int)
        inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        found: NDArray[np.bool_] = inside & self.occupied[np.where(inside, row, 0), np.where(inside, column, 0)]
        return found

    def covers(self, box: Box, longer_m: float = 0.0, wider_m: float = 0.0) -> bool:
        """Whether anything is within `box` of the present frame, made longer and wider by so much on every side."""
        half_x, half_y = box.length_m / 2 + longer_m, box.width_m / 2 + wider_m
        cell = self.metres / len(self.occupied)
        xs = np.linspace(-half_x, half_x, ceil(2 * half_x / cell) + 1)
        ys = np.linspace(-half_y, half_y, ceil(2 * half_y / cell) + 1)
        x, y = Pose(box.x_m, box.y_m, box.yaw_rad).to_outer(xs[:, None], ys[None, :])  # type: ignore[arg-type]
        return bool(self.at(np.stack([x, y], axis=-1)).any())


Foresee = Callable[[Sequence[Point]], Sequence[Future]]
"""From the ego's waypoints to the futures that follow, in the order of their horizons."""


class Seen(Protocol):
    """A scene to come, and where its frame lies in the present one: `loopwright.tools.drive.simulator.Moment`."""

    @property
    def scene(self) -> Scene:
        """Seen from the ego of then."""
        ...

    @property
    def pose(self) -> Pose:
        """Of that ego, in the present frame."""
        ...


def poses(waypoints: Sequence[Point]) -> tuple[Pose, ...]:
    """Where the ego is at each horizon, if it follows its waypoints."""
    return tuple(Pose(x, y, yaw) for (x, y), yaw in zip(waypoints, headings(waypoints), strict=True))


def standing(scene: Scene, waypoints: Sequence[Point], size: int = SIZE) -> tuple[Future, ...]:
    """The present frame alone: all others stand where they are."""
    bare = scene.model_copy(update={"lanes": ()})
    return tuple(
        Future(at_s, pose, occupancy(bare.seen_from(pose), size))
        for at_s, pose in zip(HORIZONS_S, poses(waypoints), strict=True)
    )


def keeping_pace(scene: Scene, waypoints: Sequence[Point], size: int = SIZE) -> tuple[Future, ...]:
    """The present frame alone, copied: what is around the ego stays around it, as if all drove with its velocity."""
    now = occupancy(scene, size)
    return tuple(Future(at_s, Pose(scene.speed_mps * at_s), now) for at_s in HORIZONS_S)


def constant_velocity(scene: Scene, waypoints: Sequence[Point], size: int = SIZE) -> tuple[Future, ...]:
    """All others go on at the velocity that they have."""
    found = []
    for at_s, pose in zip(HORIZONS_S, poses(waypoints), strict=True):
        agents = tuple(agent.model_copy(update={"box": agent.after(at_s)}) for agent in scene.agents)
        bare = scene.model_copy(update={"agents": agents, "lanes": ()})
        found.append(Future(at_s, pose, occupancy(bare.seen_from(pose), size)))
    return tuple(found)


def of_moments(moments: Sequence[Seen], size: int = SIZE) -> tuple[Future, ...]:
    """The futures that an oracle tells, one moment a horizon."""
    return tuple(
        Future(at_s, moment.pose, occupancy(moment.scene, size))
        for at_s, moment in zip(HORIZONS_S, moments, strict=True)
    )
