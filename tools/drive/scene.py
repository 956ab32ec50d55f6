"""One moment of traffic in the ego frame, what came after it, and a trajectory: the values that all of drive shares.

The ego frame: origin at the ego vehicle's centre, x forward, y left, metres, radians counter-clockwise. Knows no
simulator, no data set and no model.
"""

from collections.abc import Sequence
from math import atan2, cos, hypot, sin
from typing import Annotated, Literal, NamedTuple, Self, get_args

from pydantic import Field, FiniteFloat

from loopwright.schema import Frozen

STEP_S = 0.5
"""Between two points of histories and trajectories."""
HISTORY_STEPS = 4
"""Before the present: 2 s."""
FUTURE_STEPS = 6
"""Of a trajectory: 3 s."""
MOST_AGENTS, MOST_LANES, MOST_POINTS = 512, 512, 1000
"""Of a scene, and of a lane's centre line."""
Command = Literal["straight", "left", "right"]
"""Where the route goes next: along the lane, or to the lane, branch or exit on that side."""
Action = Literal["keep", "slower", "faster", "left", "right", "stop"]
"""What a trajectory does: along the lane at this, a lower or a higher speed, a change of lane, or a halt."""
Camera = Literal["F", "FL", "FR", "B", "BL", "BR"]
"""Front, front left, front right, back, back left, back right."""
CAMERAS: tuple[Camera, ...] = get_args(Camera)
Point = tuple[FiniteFloat, FiniteFloat]
Waypoints = Annotated[tuple[Point, ...], Field(min_length=FUTURE_STEPS, max_length=FUTURE_STEPS)]
"""The ego's centre at 0.5, 1.0, ... 3.0 s, (x, y) in the ego frame of now, metres."""


class Pose(NamedTuple):
    """Where a frame's origin lies in another frame, and how its x axis points there."""

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0

    def to_outer(self, x_m: float, y_m: float) -> tuple[float, float]:
        """A point of this pose's frame, in the frame that the pose is given in."""
        c, s = cos(self.yaw_rad), sin(self.yaw_rad)
        return self.x_m + c * x_m - s * y_m, self.y_m + s * x_m + c * y_m

    def to_inner(self, x_m: float, y_m: float) -> tuple[float, float]:
        """A point of the frame that the pose is given in, in this pose's own frame."""
        c, s, dx, dy = cos(self.yaw_rad), sin(self.yaw_rad), x_m - self.x_m, y_m - self.y_m
        return c * dx + s * dy, c * dy - s * dx


class Box(Frozen):
    """A rectangle on the ground."""

    x_m: FiniteFloat = Field(description="its centre, forward of the origin, m")
    y_m: FiniteFloat = Field(description="its centre, left of the origin, m")
    yaw_rad: FiniteFloat = Field(default=0.0, description="its direction, to the left of the x axis, rad")
    length_m: FiniteFloat = Field(default=4.6, gt=0, le=60, description="along its direction, m")
    width_m: FiniteFloat = Field(default=1.9, gt=0, le=20, description="across, m")

    def seen_from(self, pose: Pose) -> Self:
        """The same rectangle in the frame of `pose`, a pose of this frame."""
        x_m, y_m = pose.to_inner(self.x_m, self.y_m)
        return self.model_copy(update={"x_m": x_m, "y_m": y_m, "yaw_rad": self.yaw_rad - pose.yaw_rad})


class Agent(Frozen):
    """Another road user: where it is, and its velocity along the axes of the ego frame."""

    id: str = Field(max_length=80)
    kind: str = Field(default="car", max_length=40)
    box: Box
    vx_mps: FiniteFloat = Field(default=0.0, description="over the ground, forward, m/s")
    vy_mps: FiniteFloat = Field(default=0.0, description="over the ground, to the left, m/s")

    def after(self, seconds: float) -> Box:
        """Where it will be at constant velocity."""
        x_m, y_m = self.box.x_m + self.vx_mps * seconds, self.box.y_m + self.vy_mps * seconds
        return self.box.model_copy(update={"x_m": x_m, "y_m": y_m})

    def seen_from(self, pose: Pose) -> Self:
        """The same agent in the frame of `pose`, a pose of this frame; its velocity stays that over the ground."""
        vx, vy = Pose(yaw_rad=pose.yaw_rad).to_inner(self.vx_mps, self.vy_mps)
        return self.model_copy(update={"box": self.box.seen_from(pose), "vx_mps": vx, "vy_mps": vy})


class Lane(Frozen):
    """A lane: points of its centre line, in the direction of travel."""

    centre: tuple[Point, ...] = Field(min_length=2, max_length=MOST_POINTS, description="x and y, m")
    width_m: FiniteFloat = Field(default=4.0, gt=0, le=20, description="across, m")
    is_route: bool = Field(default=False, description="whether the ego's route follows it")

    def seen_from(self, pose: Pose) -> Self:
        """The same lane in the frame of `pose`, a pose of this frame."""
        return self.model_copy(update={"centre": tuple(pose.to_inner(*point) for point in self.centre)})


class Scene(Frozen):
    """One moment of traffic, in the ego frame of that moment. What a data set does not tell is empty."""

    source: str = Field(max_length=80, description="simulator scenario or data set")
    token: str = Field(max_length=200, description="names the moment within its source")
    time_s: FiniteFloat = Field(default=0.0, description="since the log or drive began, s")
    speed_mps: FiniteFloat = Field(description="of the ego, m/s")
    acceleration_mps2: FiniteFloat = Field(default=0.0, description="of the ego, forward, m/s^2")
    history: tuple[Point, ...] = Field(
        min_length=HISTORY_STEPS + 1, max_length=HISTORY_STEPS + 1, description="the ego at -2.0, -1.5, ... 0 s, m"
    )
    command: Command = "straight"
    length_m: FiniteFloat = Field(default=5.0, gt=0, le=60, description="of the ego, m")
    width_m: FiniteFloat = Field(default=2.0, gt=0, le=20, description="of the ego, m")
    agents: tuple[Agent, ...] = Field(default=(), max_length=MOST_AGENTS)
    lanes: tuple[Lane, ...] = Field(default=(), max_length=MOST_LANES)

    @property
    def ego(self) -> Box:
        """The ego vehicle, at the origin."""
        return Box(x_m=0.0, y_m=0.0, length_m=self.length_m, width_m=self.width_m)

    def seen_from(self, pose: Pose) -> Self:
        """The same moment, everything but the ego's own history moved into the frame of `pose`."""
        agents = tuple(agent.seen_from(pose) for agent in self.agents)
        return self.model_copy(update={"agents": agents, "lanes": tuple(lane.seen_from(pose) for lane in self.lanes)})


class Sample(Frozen):
    """A moment and what then came, for open-loop evaluation and training; None where the log does not say."""

    scene: Scene
    future: tuple[Point | None, ...] = Field(
        min_length=FUTURE_STEPS, max_length=FUTURE_STEPS, description="the ego at 0.5, 1.0, ... 3.0 s"
    )
    agent_futures: dict[str, tuple[Box | None, ...]] = Field(
        default_factory=dict, description="by agent: its box at 0.5, 1.0, ... 3.0 s, in the ego frame of the scene"
    )
    log: str = Field(default="", description="the drive that it is cut from: samples of one are not independent")
    images: dict[Camera, str] = Field(default_factory=dict, description="paths of what the cameras saw")


def headings(waypoints: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """The direction of travel at each waypoint, from the point before it; standing still keeps the direction."""
    found, (px, py), yaw = [], (0.0, 0.0), 0.0
    for x_m, y_m in waypoints:
        if hypot(x_m - px, y_m - py) > 0.1:
            yaw = atan2(y_m - py, x_m - px)
        found.append(yaw)
        px, py = x_m, y_m
    return tuple(found)
