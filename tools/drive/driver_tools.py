"""What a driver's model may ask about a moment: detections, predictions, occupancy, the map, the ego, its experience.

After Agent-Driver's function library (Mao et al. 2024), for any model that calls tools, over any world that has a
`scene`: the simulator's or a recorded one. All are in the ego frame (x forward, y left) and change nothing. Others are
predicted at constant velocity. Pedestrian crossings and shoulders are not asked for: scenes know lanes alone.
"""

from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, StringConstraints

from loopwright.errors import DeveloperError
from loopwright.schema import Frozen
from loopwright.tools.contract import Tool, ToolContext, tool
from loopwright.tools.drive.experience import K, nearest
from loopwright.tools.drive.futures import constant_velocity
from loopwright.tools.drive.road import Place, Trajectory
from loopwright.tools.drive.scene import (
    FUTURE_STEPS,
    HISTORY_STEPS,
    MOST_AGENTS,
    STEP_S,
    Agent,
    Command,
    Lane,
    Pose,
    Scene,
)
from loopwright.tools.drive.verify import verify

MOST_ASKED = 20
"""Points or agents in one call."""
BESIDE_M, LEADING_M, FRONT_M, AROUND_M = 3.0, 60.0, 40.0, 20.0
Area = Literal["leading", "front", "around", "all"]
Metres = Annotated[FiniteFloat, Field(ge=-200, le=200)]
Asked = Annotated[tuple[Metres, ...], Field(min_length=2, max_length=2)]
Name = Annotated[str, StringConstraints(max_length=80)]


class Nothing(Frozen):
    """No arguments."""


class Where(Frozen):
    """Which agents are meant."""

    area: Area = Field(
        description="leading: the nearest one ahead, within 3 m to a side; front: ahead within 40 m and 3 m to a side; "
        "around: within 20 m"
    )


class Range(Frozen):
    """A rectangle of the ego frame."""

    x_from_m: Metres = Field(description="forward, m")
    x_to_m: Metres = Field(description="forward, m")
    y_from_m: Metres = Field(description="left, m")
    y_to_m: Metres = Field(description="left, m")


class Names(Frozen):
    """Which agents are meant, by their ids."""

    ids: tuple[Name, ...] = Field(min_length=1, max_length=MOST_ASKED)


class Places(Frozen):
    """Points of the ego frame."""

    points: tuple[Asked, ...] = Field(min_length=1, max_length=MOST_ASKED, description="x forward and y left, m")


class PlacesAt(Places):
    """Points of the ego frame at a time to come."""

    after_s: FiniteFloat = Field(ge=0, le=FUTURE_STEPS * STEP_S, description="from now, s")


class HowMany(Frozen):
    """What `recall_experience` is asked."""

    k: int = Field(default=K, ge=1, le=10, description="number of experiences to recall")


class Detected(Frozen):
    """A road user now."""

    id: Name
    kind: str = Field(max_length=40)
    x_m: FiniteFloat = Field(description="forward, m")
    y_m: FiniteFloat = Field(description="left, m")
    yaw_rad: FiniteFloat = Field(description="to the left of the ego's direction, rad")
    length_m: FiniteFloat = Field(description="m")
    width_m: FiniteFloat = Field(description="m")
    speed_mps: FiniteFloat = Field(description="over the ground, m/s")


class Detections(Frozen):
    """Road users now, the nearest first."""

    agents: tuple[Detected, ...] = Field(max_length=MOST_AGENTS)


class Predicted(Frozen):
    """A road user to come."""

    id: Name
    kind: str = Field(max_length=40)
    points: tuple[Place, ...] = Field(max_length=FUTURE_STEPS, description="at 0.5, 1.0, ... 3.0 s, m")


class Predictions(Frozen):
    """Road users to come, the nearest first; ids that nobody has."""

    agents: tuple[Predicted, ...] = Field(max_length=MOST_AGENTS)
    unknown: tuple[Name, ...] = Field(default=(), max_length=MOST_ASKED)


class Occupied(Frozen):
    """Who is at a point, "" where nobody is."""

    x_m: FiniteFloat = Field(description="forward, m")
    y_m: FiniteFloat = Field(description="left, m")
    by: Name


class Occupancy(Frozen):
    """Who is at each point."""

    points: tuple[Occupied, ...] = Field(max_length=MOST_ASKED)


class OnMap(Frozen):
    """A point on the map; nulls where it is on no lane."""

    x_m: FiniteFloat = Field(description="forward, m")
    y_m: FiniteFloat = Field(description="left, m")
    drivable: bool = Field(description="whether it is on a lane")
    is_route: bool = Field(description="whether the ego's route follows that lane")
    left_of_centre_m: FiniteFloat | None = Field(description="from the lane's centre line, positive to its left, m")
    to_left_line_m: FiniteFloat | None = Field(description="to the lane's left side, m")
    to_right_line_m: FiniteFloat | None = Field(description="to the lane's right side, m")


class MapPoints(Frozen):
    """Each point on the map."""

    n_lanes: int = Field(description="number of lanes known around the ego; with 0 nothing is said of the road")
    points: tuple[OnMap, ...] = Field(max_length=MOST_ASKED)


class Checked(Frozen):
    """What code says of a trajectory."""

    ok: bool
    rule: str = Field(max_length=40, description="the first one that it breaks; empty where it breaks none")
    reason: str = Field(max_length=300)


class EgoState(Frozen):
    """The ego now."""

    speed_mps: FiniteFloat = Field(description="m/s")
    acceleration_mps2: FiniteFloat = Field(description="forward, m/s^2")
    command: Command
    history: tuple[Place, ...] = Field(max_length=HISTORY_STEPS + 1, description="2.0, 1.5, 1.0, 0.5 and 0 s ago, m")


class Experience(Frozen):
    """A moment that was like this one, and what was then driven."""

    likeness: FiniteFloat = Field(description="1 for the same moment, towards 0 the less alike, dimensionless")
    session_id: Name
    step: int = Field(description="index of the step")
    action: Name
    speed_mps: FiniteFloat = Field(description="m/s")
    command: Command
    waypoints: tuple[Place, ...] = Field(max_length=FUTURE_STEPS, description="at 0.5, 1.0, ... 3.0 s, m")
    outcome: Name = Field(description="how the drive then ended; empty where it went on")


class Experiences(Frozen):
    """Moments that were like this one, the nearest first."""

    experiences: tuple[Experience, ...] = Field(max_length=10)


@tool(effect="read", timeout_s=10)
def detect_agents(args: Where, context: ToolContext) -> Detections:
    """Say which road users are there: the leading one, those in front, those around, or all; nearest first."""
    return Detections(agents=tuple(map(_detected, _in_area(_scene(context), args.area))))


@tool(effect="read", timeout_s=10)
def detect_agents_in_range(args: Range, context: ToolContext) -> Detections:
    """Say which road users have their centre in a rectangle of the ego frame; nearest first."""
    (x_low, x_high), (y_low, y_high) = sorted((args.x_from_m, args.x_to_m)), sorted((args.y_from_m, args.y_to_m))
    found = [a for a in _nearest(_scene(context)) if x_low <= a.box.x_m <= x_high and y_low <= a.box.y_m <= y_high]
    return Detections(agents=tuple(map(_detected, found)))


@tool(effect="read", timeout_s=10)
def predict_agents(args: Where, context: ToolContext) -> Predictions:
    """Predict where road users will be within 3 s: the leading one, those in front, those around, or all."""
    return Predictions(agents=tuple(map(_predicted, _in_area(_scene(context), args.area))))


@tool(effect="read", timeout_s=10)
def predict_agents_by_id(args: Names, context: ToolContext) -> Predictions:
    """Predict where the named road users will be within 3 s."""
    agents = _nearest(_scene(context))
    unknown = set(args.ids) - {agent.id for agent in agents}
    return Predictions(
        agents=tuple(_predicted(agent) for agent in agents if agent.id in args.ids),
        unknown=tuple(name for name in dict.fromkeys(args.ids) if name in unknown),
    )


@tool(effect="read", timeout_s=10)
def check_occupancy(args: PlacesAt, context: ToolContext) -> Occupancy:
    """Say which road user is predicted to be at each point after so many seconds, if any."""
    agents = _nearest(_scene(context))

    def occupied(x_m: float, y_m: float) -> Occupied:
        by = (agent.id for agent in agents if _covers(agent, x_m, y_m, args.after_s))
        return Occupied(x_m=x_m, y_m=y_m, by=next(by, ""))

    return Occupancy(points=tuple(occupied(*point) for point in args.points))


@tool(effect="read", timeout_s=10)
def look_up_map(args: Places, context: ToolContext) -> MapPoints:
    """Say of each point whether it is on a lane, on the route, and how far it is from the lane's centre and lines."""
    lanes = _scene(context).lanes
    return MapPoints(n_lanes=len(lanes), points=tuple(_on_map(lanes, *point) for point in args.points))


@tool(effect="read", timeout_s=10)
def check_trajectory(args: Trajectory, context: ToolContext) -> Checked:
    """Say whether code would let a trajectory be driven: envelope, road, collisions with predicted others, comfort."""
    scene, waypoints = _scene(context), tuple((x, y) for x, y in args.waypoints)
    said = verify(scene, waypoints, constant_velocity(scene, waypoints))
    return Checked(ok=said.ok, rule=said.rule, reason=said.reason)


@tool(effect="read", timeout_s=10)
def ego_state(args: Nothing, context: ToolContext) -> EgoState:
    """Say how fast the ego is, where it was in the past 2 s, and where its route goes."""
    scene = _scene(context)
    return EgoState(
        speed_mps=scene.speed_mps,
        acceleration_mps2=scene.acceleration_mps2,
        command=scene.command,
        history=scene.history,
    )


@tool(effect="read", timeout_s=10)
def recall_experience(args: HowMany, context: ToolContext) -> Experiences:
    """Recall what was driven, in any session of this loop, in the moments most like this one, and how it ended."""
    if context.memory is None:
        raise DeveloperError("This tool reads the memory; give the `ToolContext` a `memory=open_memory(url)`.")
    loop = context.memory.sessions.get(context.session_id).loop
    found = nearest(context.memory, loop, _scene(context), args.k)
    return Experiences(
        experiences=tuple(
            Experience(
                likeness=each.likeness,
                session_id=each.step.session_id,
                step=each.step.step,
                action=each.step.label[:80],
                speed_mps=each.step.detail["speed_mps"],
                command=each.step.detail["command"],
                waypoints=each.step.detail["waypoints"],
                outcome=each.step.detail["outcome"],
            )
            for each in found
        )
    )


DRIVER_TOOLS: tuple[Tool[Any, Any], ...] = (
    check_occupancy,
    check_trajectory,
    detect_agents,
    detect_agents_in_range,
    ego_state,
    look_up_map,
    predict_agents,
    predict_agents_by_id,
    recall_experience,
)


def _scene(context: ToolContext) -> Scene:
    if not hasattr(context.world, "scene"):
        raise DeveloperError(f"The world {context.world!r} has no scene; give the `ToolContext` a `DriveWorld`.")
    return cast(Scene, context.world.scene)


def _nearest(scene: Scene) -> list[Agent]:
    return sorted(scene.agents, key=lambda agent: np.hypot(agent.box.x_m, agent.box.y_m))


def _in_area(scene: Scene, area: Area) -> list[Agent]:
    agents = _nearest(scene)
    ahead = [agent for agent in agents if agent.box.x_m > 0 and abs(agent.box.y_m) < BESIDE_M]
    match area:
        case "leading":
            return [agent for agent in ahead if agent.box.x_m < LEADING_M][:1]
        case "front":
            return [agent for agent in ahead if agent.box.x_m < FRONT_M]
        case "around":
            return [agent for agent in agents if np.hypot(agent.box.x_m, agent.box.y_m) < AROUND_M]
        case "all":
            return agents


def _detected(agent: Agent) -> Detected:
    return Detected(
        id=agent.id,
        kind=agent.kind,
        **agent.box.model_dump(),
        speed_mps=float(np.hypot(agent.vx_mps, agent.vy_mps)),
    )


def _predicted(agent: Agent) -> Predicted:
    boxes = [agent.after(STEP_S * step) for step in range(1, FUTURE_STEPS + 1)]
    return Predicted(id=agent.id, kind=agent.kind, points=tuple((box.x_m, box.y_m) for box in boxes))


def _covers(agent: Agent, x_m: float, y_m: float, after_s: float) -> bool:
    box = agent.after(after_s)
    along, aside = Pose(box.x_m, box.y_m, box.yaw_rad).to_inner(x_m, y_m)
    return abs(along) <= box.length_m / 2 and abs(aside) <= box.width_m / 2


def _on_map(lanes: tuple[Lane, ...], x_m: float, y_m: float) -> OnMap:
    """Of the lanes that a point is on, one of the route first, else the one whose centre is nearest."""
    beside = [(lane, _left_of(lane, np.array([x_m, y_m]))) for lane in lanes]
    on = [(not lane.is_route, abs(left), left, lane.width_m) for lane, left in beside if abs(left) <= lane.width_m / 2]
    if not on:
        return OnMap(x_m=x_m, y_m=y_m, drivable=False, is_route=False, left_of_centre_m=None, to_left_line_m=None,
                     to_right_line_m=None)  # fmt: skip
    is_other, _, left, width = min(on)
    return OnMap(x_m=x_m, y_m=y_m, drivable=True, is_route=not is_other, left_of_centre_m=left,
                 to_left_line_m=width / 2 - left, to_right_line_m=width / 2 + left)  # fmt: skip


def _left_of(lane: Lane, point: NDArray[np.float64]) -> float:
    """How far a point is from a lane's centre line, positive to its left, m."""
    centre = np.asarray(lane.centre, dtype=np.float64)
    start, step = centre[:-1], np.diff(centre, axis=0)
    share = ((point - start) * step).sum(axis=1) / np.maximum((step**2).sum(axis=1), 1e-9)
    off = point - start - np.clip(share, 0.0, 1.0)[:, None] * step
    nearest_part = int(np.linalg.norm(off, axis=1).argmin())
    (ux, uy), (dx, dy) = step[nearest_part], off[nearest_part]
    return float(np.copysign(np.hypot(dx, dy), ux * dy - uy * dx))
