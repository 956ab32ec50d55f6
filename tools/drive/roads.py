"""The roads of the drive world and their traffic, made by highway-env. The only module that imports it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from highway_env.envs.common.abstract import AbstractEnv
from highway_env.envs.highway_env import HighwayEnv
from highway_env.envs.intersection_env import ConnectedLaneIntersectionEnv
from highway_env.envs.merge_env import ConnectedLaneMergeGenericEnv
from highway_env.envs.roundabout_env import ConnectedLaneRoundaboutGenericEnv
from highway_env.road.road import Road
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.kinematics import Vehicle

from loopwright.tools.drive.lanes import pose_of
from loopwright.tools.drive.tracking import Track

TICKS_PER_S = 10
DT_S = 1 / TICKS_PER_S


class Traffic(IDMVehicle):
    """Drives by IDM and MOBIL. Its parameters are its own: `IntersectionEnv` rewrites those of `IDMVehicle`."""

    DISTANCE_WANTED = 10.0
    COMFORT_ACC_MAX = 3.0
    COMFORT_ACC_MIN = -5.0
    name = ""


class CrossingTraffic(Traffic):
    """The traffic of the intersection, which the environment gives these parameters."""

    DISTANCE_WANTED = 7.0
    COMFORT_ACC_MAX = 6.0
    COMFORT_ACC_MIN = -3.0


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


_ENVIRONMENTS: Mapping[str, tuple[type[AbstractEnv], type[Traffic], type[Traffic], dict[str, Any]]] = {
    "highway": (_Highway, Traffic, Ego, {"lanes_count": 4, "vehicles_count": 20}),
    "merge": (_Merge, Traffic, Ego, {"lanes_count": 2, "vehicles_count": 8}),
    "roundabout": (_Roundabout, Traffic, Ego, {"vehicles_count": 8}),
    "intersection": (_Intersection, CrossingTraffic, CrossingEgo, {}),
}


class Built(NamedTuple):
    """A scene of highway-env, and the ego vehicle in it."""

    env: Any
    road: Road
    ego: Any


def build(scenario: str, seed: int, cruise_mps: float) -> Built:
    """The scenario as `seed` draws it; the ego, where it drives by itself, drives at `cruise_mps`."""
    make, traffic, ego_class, config = _ENVIRONMENTS[scenario]
    kind = f"{traffic.__module__}.{traffic.__name__}"
    env = make({**config, "other_vehicles_type": kind, "simulation_frequency": TICKS_PER_S}, seed)  # type: ignore[call-arg]
    road, given = env.road, env.vehicle
    ego = ego_class.create_from(given)
    ego.target_speed = cruise_mps
    ego.name = "ego"
    road.vehicles[road.vehicles.index(given)] = ego
    env.controlled_vehicles = [ego]
    env.action_type = env.observation_type = env.action_space = env.observation_space = None  # costly to copy
    return Built(env, road, ego)
