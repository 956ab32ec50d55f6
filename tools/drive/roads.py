"""The roads of the drive world and their traffic, made by highway-env. The only module that imports it."""

from collections.abc import Callable, Mapping
from math import atan, atan2, cos, hypot, pi, sin
from typing import Any, NamedTuple

import numpy as np
from highway_env.envs.common.abstract import AbstractEnv
from highway_env.envs.highway_env import HighwayEnv
from highway_env.envs.intersection_env import ConnectedLaneIntersectionEnv
from highway_env.envs.merge_env import ConnectedLaneMergeGenericEnv
from highway_env.envs.roundabout_env import ConnectedLaneRoundaboutGenericEnv
from highway_env.road.lane import CircularLane, SineLane, StraightLane
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.kinematics import Vehicle

from loopwright.tools.drive.lanes import pose_of
from loopwright.tools.drive.tracking import Track

TICKS_PER_S = 10
DT_S = 1 / TICKS_PER_S


class Traffic(IDMVehicle):  # type: ignore[misc]  # highway-env is untyped
    """Drives by IDM and MOBIL. Its parameters are its own: `IntersectionEnv` rewrites those of `IDMVehicle`."""

    DISTANCE_WANTED = 10.0
    COMFORT_ACC_MAX = 3.0
    COMFORT_ACC_MIN = -5.0
    name = ""

    def handle_collisions(self: Any, other: Any, dt: float = 0) -> None:
        """As the base class, which first takes a longer way to see that the other is far away."""
        (ax, ay), (bx, by) = self.position.tolist(), other.position.tolist()
        if hypot(bx - ax, by - ay) < (self.diagonal + other.diagonal) / 2 + abs(self.speed) * dt + 0.01:
            super().handle_collisions(other, dt)


class CrossingTraffic(Traffic):
    """The traffic of the intersection, which the environment gives these parameters."""

    DISTANCE_WANTED = 7.0
    COMFORT_ACC_MAX = 6.0
    COMFORT_ACC_MIN = -3.0


class _QuickMixin:
    """Where a vehicle is on each lane is most of what a step asks; with plain numbers it takes a third of the time."""

    def on_lane(
        self: Any, position: Any, longitudinal: float | None = None, lateral: float | None = None, margin: float = 0
    ) -> bool:
        if longitudinal is None or lateral is None:
            at: tuple[float, float] = self.local_coordinates(position)
            longitudinal, lateral = at
        if not -self.VEHICLE_LENGTH <= longitudinal < self.length + self.VEHICLE_LENGTH:
            return False
        return bool(abs(lateral) <= self.width / 2 + margin)

    def distance_with_heading(self: Any, position: Any, heading: float | None, heading_weight: float = 1.0) -> float:
        s, r = self.local_coordinates(position)
        distance = abs(r) + max(s - self.length, 0.0) + max(-s, 0.0)
        if heading is None:
            return float(distance)
        return float(distance + heading_weight * abs((heading - self.heading_at(s) + pi) % (2 * pi) - pi))


class _Straight(_QuickMixin, StraightLane):  # type: ignore[misc]  # highway-env is untyped
    def local_coordinates(self: Any, position: Any) -> tuple[float, float]:
        (x, y), (x0, y0), (ux, uy) = position.tolist(), self.start.tolist(), self.direction.tolist()
        return (x - x0) * ux + (y - y0) * uy, (y - y0) * ux - (x - x0) * uy


class _Sine(_QuickMixin, SineLane):  # type: ignore[misc]  # highway-env is untyped
    def local_coordinates(self, position: Any) -> tuple[float, float]:
        longitudinal, lateral = _Straight.local_coordinates(self, position)
        return longitudinal, lateral - self.amplitude * sin(self.pulsation * longitudinal + self.phase)

    def heading_at(self, longitudinal: float) -> float:
        return float(self.heading) + atan(
            self.amplitude * self.pulsation * cos(self.pulsation * longitudinal + self.phase)
        )


class _Circular(_QuickMixin, CircularLane):  # type: ignore[misc]  # highway-env is untyped
    def local_coordinates(self, position: Any) -> tuple[float, float]:
        (x, y), (x0, y0) = position.tolist(), self.center.tolist()
        turned = (atan2(y - y0, x - x0) - self.start_phase + pi) % (2 * pi) - pi
        return self.direction * turned * self.radius, self.direction * (self.radius - hypot(x - x0, y - y0))


_QUICK: Mapping[type, type] = {StraightLane: _Straight, SineLane: _Sine, CircularLane: _Circular}


class EgoMixin:
    """Follows a track where it has one; without, it drives as the traffic does."""

    track: Track | None = None
    tracked_ticks = 0

    def act(self: Any, action: Any = None) -> None:
        """Decide on steering and acceleration."""
        if self.crashed:
            return
        if self.track is None:
            super().act(action)  # type: ignore[misc]  # the class that this is mixed into
            return
        steering, acceleration = self.track.command(
            pose_of(self), self.speed, self.tracked_ticks * DT_S, self.LENGTH, DT_S
        )
        self.tracked_ticks += 1
        self.target_lane_index = self.lane_index
        Vehicle.act(self, {"steering": -steering, "acceleration": acceleration})


class Ego(EgoMixin, Traffic):
    """The ego vehicle."""


class CrossingEgo(EgoMixin, CrossingTraffic):
    """The ego vehicle at the intersection."""


class _Seeded:
    """An environment that is made with its seed: by itself it is reset at random first."""

    def __init__(self, config: dict[str, Any], seed: int) -> None:
        self._np_random = np.random.Generator(np.random.PCG64(seed))
        super().__init__(config)  # type: ignore[call-arg]  # the environment that this is mixed into


class _Highway(_Seeded, HighwayEnv):  # type: ignore[misc]  # highway-env is untyped
    pass


class _Merge(_Seeded, ConnectedLaneMergeGenericEnv):  # type: ignore[misc]  # highway-env is untyped
    pass


class _Roundabout(_Seeded, ConnectedLaneRoundaboutGenericEnv):  # type: ignore[misc]  # highway-env is untyped
    pass


class _Intersection(_Seeded, ConnectedLaneIntersectionEnv):  # type: ignore[misc]  # highway-env is untyped
    pass


_Make = Callable[[dict[str, Any], int], AbstractEnv]
_ENVIRONMENTS: Mapping[str, tuple[_Make, type[Traffic], type[Traffic], dict[str, Any]]] = {
    "highway": (_Highway, Traffic, Ego, {"lanes_count": 4, "vehicles_count": 20}),
    "merge": (_Merge, Traffic, Ego, {"lanes_count": 2, "vehicles_count": 8}),
    "roundabout": (_Roundabout, Traffic, Ego, {"vehicles_count": 8}),
    "intersection": (_Intersection, CrossingTraffic, CrossingEgo, {}),
}


class Built(NamedTuple):
    """A scene of highway-env, and the ego vehicle in it."""

    env: Any
    road: Any
    ego: Any


def build(scenario: str, seed: int, cruise_mps: float) -> Built:
    """The scenario as `seed` draws it; the ego, where it drives by itself, drives at `cruise_mps`."""
    make, traffic, ego_class, config = _ENVIRONMENTS[scenario]
    kind = f"{traffic.__module__}.{traffic.__name__}"
    env: Any = make({**config, "other_vehicles_type": kind, "simulation_frequency": TICKS_PER_S}, seed)
    road, given = env.road, env.vehicle
    for lane in road.network.lanes_list():
        lane.__class__ = _QUICK[type(lane)]
    ego: Any = ego_class.create_from(given)
    ego.target_speed = cruise_mps
    ego.name = "ego"
    road.vehicles[road.vehicles.index(given)] = ego
    env.controlled_vehicles = [ego]
    env.action_type = env.observation_type = env.action_space = env.observation_space = None  # costly to copy
    return Built(env, road, ego)
