"""A drive through simulated traffic: the road, the other vehicles and the ego, which follows waypoints.

The roads, the other drivers and the physics (10 Hz) are highway-env's. The same scenario, seed and waypoints give the
same drive, bit for bit, whatever ran before in the process. Knows no pictures, no device and no planner.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from copy import deepcopy
from math import hypot, inf, isfinite, pi
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loopwright.errors import BadInput, MissingDependency, UnknownName
from loopwright.tools.drive.lanes import SIGHT_M, LaneIndex, RoadMap, Strip, pose_of
from loopwright.tools.drive.scenarios import SCENARIO, SCENARIOS, ScenarioName
from loopwright.tools.drive.scene import (
    FUTURE_STEPS,
    HISTORY_STEPS,
    STEP_S,
    Agent,
    Box,
    Command,
    Lane,
    Point,
    Pose,
    Scene,
)
from loopwright.tools.drive.totals import Ended, Meter, Totals
from loopwright.tools.drive.tracking import Track

if TYPE_CHECKING:
    from loopwright.tools.drive.roads import Built

EGO = "ego"
_TICKS_A_STEP = 5
_TICK_S = STEP_S / _TICKS_A_STEP
_SPAWN_TICKS = 10
_EXIT_M = 15.0


_MAPS: dict[str, RoadMap] = {}
"""By scenario: seeds change the traffic, not the road."""


class Moment(NamedTuple):
    """A scene to come, and where its frame lies in the frame of now."""

    scene: Scene
    pose: Pose


class Simulation:
    """One drive. Positions inside are highway-env's; what comes out is in the frames of `Scene`."""

    def __init__(self, scenario: str = "highway", seed: int = 0) -> None:
        """At the start of a drive.

        Args:
            scenario: one of SCENARIOS.
            seed: draws the traffic, the start and the route; not negative.

        Raises:
            UnknownName: there is no such scenario.
            BadInput: the seed is negative.
            MissingDependency: highway-env is not installed.
        """
        if scenario not in SCENARIOS:
            raise UnknownName("scenario", scenario, SCENARIOS)
        if seed < 0:
            raise BadInput(f"`seed` = {seed}; expected 0 or more.")
        self.scenario: ScenarioName = scenario
        self.seed = seed
        self.ended: Ended = ""
        self._of_scenario = SCENARIO[scenario]
        self._env, self._road, self._ego = _built(scenario, seed, self._of_scenario.cruise_mps)
        self._map = _MAPS.setdefault(scenario, RoadMap(self._road.network))
        self._ticks = 0
        self._n_named = 0
        self._past: deque[dict[str, Pose]] = deque(maxlen=HISTORY_STEPS * _TICKS_A_STEP)
        self._meter = Meter(float(self._ego.speed), -float(self._ego.heading))
        self._wanted_lane: int | None = None
        self._chain: tuple[LaneIndex, ...] = ()
        self._name_vehicles()
        self._draw_route()
        self._begun_m = self._along_route()
        self._furthest_m = 0.0

    # What is seen

    @property
    def time_s(self) -> float:
        """Since the start."""
        return self._ticks * _TICK_S

    @property
    def cruise_mps(self) -> float:
        """What a driver who is not held up drives at here, as the other vehicles and the IDM ego do."""
        return self._of_scenario.cruise_mps

    @property
    def pose(self) -> Pose:
        """The ego on the ground; only differences mean anything."""
        return pose_of(self._ego)

    def where(self, of: str) -> Pose:
        """The vehicle called `of` on the ground, as `pose` has the ego.

        Raises:
            UnknownName: there is no such vehicle (any more).
        """
        return pose_of(self._named(of))

    @property
    def speed_mps(self) -> float:
        """The ego's."""
        return float(self._ego.speed)

    @property
    def vehicles(self) -> tuple[str, ...]:
        """Every vehicle that a scene can be seen from, the ego first."""
        return (EGO, *(vehicle.name for vehicle in self._road.vehicles if vehicle is not self._ego))

    @property
    def totals(self) -> Totals:
        """What the drive came to so far."""
        return self._meter.totals(ended=self.ended, progress_m=self._furthest_m, on_route=self._is_on_route())

    def scene(self, of: str = EGO) -> Scene:
        """The moment, as the vehicle called `of` sees it: that vehicle is the ego of the scene.

        Raises:
            UnknownName: there is no such vehicle (any more).
        """
        camera = self._named(of)
        pose = pose_of(camera)
        return Scene(
            source=self.scenario,
            token="-".join(filter(None, (self.scenario, str(self.seed), str(self._ticks), "" if of == EGO else of))),
            time_s=round(self.time_s, 1),
            speed_mps=round(float(camera.speed), 3),
            acceleration_mps2=round(float(camera.action["acceleration"]), 3),
            history=self._history(camera, pose),
            command=self._command(camera),
            length_m=camera.LENGTH,
            width_m=camera.WIDTH,
            agents=tuple(self._agents(camera, pose)),
            lanes=tuple(self._lanes(camera, pose)),
        )

    # What is done

    def follow(self, waypoints: Sequence[Point] | None, seconds: float = STEP_S) -> Ended:
        """Let the ego follow `waypoints`, in its present frame, for a time; less where the drive ends.

        Args:
            waypoints: where its centre is to be in 0.5, 1.0, ... 3.0 s; None: it drives by IDM and MOBIL, as the
                other vehicles do.
            seconds: a multiple of 0.1 s.

        Raises:
            BadInput: the drive has ended, or these are not six finite waypoints.
        """
        if self.ended:
            raise BadInput(f"The drive has ended ({self.ended}). Start another `Simulation`.")
        self._set(waypoints)
        for _ in range(round(seconds / _TICK_S)):
            self._tick()
            self.ended = self._why_ended()
            if self.ended:
                break
        return self.ended

    def futures(self, waypoints: Sequence[Point] | None, within_m: float = inf) -> tuple[Moment, ...]:
        """What would come of following `waypoints`, at 0.5, 1.0, ... 3.0 s, as an oracle knows it. Changes nothing.

        Args:
            waypoints: as for `follow`.
            within_m: vehicles further away than this are left out, which saves most of the time on a full road and is
                exact for those near enough to the ego not to notice.
        """
        then, now, found = self.copy(), self.pose, []
        for vehicle in [v for v in then._road.vehicles if hypot(*(v.position - then._ego.position)) > within_m]:
            then._road.vehicles.remove(vehicle)
        then._set(waypoints)
        for _ in range(FUTURE_STEPS):
            for _ in range(_TICKS_A_STEP):
                then._tick()
            found.append(Moment(then.scene(), _relative(then.pose, now)))
        return tuple(found)

    def copy(self) -> "Simulation":
        """Another drive that stands where this one does. What never changes, the road, is shared."""
        network = self._road.network
        shared = [self._map, self._of_scenario, network, *network.lanes_list(), *self._past]
        return deepcopy(self, {id(each): each for each in shared})

    # Inside

    def _named(self, of: str) -> Any:
        vehicle = next((vehicle for vehicle in self._road.vehicles if vehicle.name == of), None)
        if vehicle is None:
            raise UnknownName("vehicle", of, self.vehicles)
        return vehicle

    def _set(self, waypoints: Sequence[Point] | None) -> None:
        good = [point for point in waypoints or () if len(point) == 2 and all(map(isfinite, point))]
        if waypoints is not None and not len(good) == len(waypoints) == FUTURE_STEPS:
            raise BadInput(f"`waypoints` = {waypoints!r:.200}; expected {FUTURE_STEPS} pairs of finite numbers, m.")
        self._ego.track = None if waypoints is None else Track(self.pose, waypoints)
        self._ego.tracked_ticks = 0

    def _tick(self) -> None:
        self._past.append({vehicle.name: pose_of(vehicle) for vehicle in self._road.vehicles})
        self._road.act()
        self._road.step(_TICK_S)
        self._ticks += 1
        if self.scenario == "intersection" and self._ticks % _SPAWN_TICKS == 0:
            self._env._clear_vehicles()
            self._env._spawn_vehicle(spawn_probability=self._env.config["spawn_probability"])
            self._name_vehicles()
        if self._wanted_lane is not None and self._is_in_wanted_lane():
            self._wanted_lane = self._ego.route = None
        self._furthest_m = max(self._furthest_m, self._along_route() - self._begun_m)
        self._meter.add(float(self._ego.speed), self.pose.yaw_rad, self._struck(), self._ego.LENGTH)

    def _why_ended(self) -> Ended:
        ego = self._ego
        if ego.crashed:
            return "crashed"
        if not ego.on_road and not any(lane.on_lane(ego.position) for lane in self._road.network.lanes_list()):
            return "off_road"
        if self._has_arrived():
            return "arrived"
        return "time" if self.time_s >= self._of_scenario.limit_s - _TICK_S / 2 else ""

    def _has_arrived(self) -> bool:
        _, to, _ = self._ego.lane_index
        match self.scenario:
            case "merge":
                return bool(self._ego.position[0] > self._env.end_position)
            case "roundabout":
                on_exit = to.endswith("xs") and self._ego.lane.local_coordinates(self._ego.position)[0] > _EXIT_M
                return bool(on_exit or to.endswith("xr"))
            case "intersection":
                return bool(self._env.has_arrived(self._ego, _EXIT_M))
        return False

    def _struck(self) -> Pose | None:
        """Where, in the ego's frame, what it crashed into lies."""
        if not self._ego.crashed:
            return None
        others = [*self._road.vehicles, *self._road.objects]
        crashed = [pose_of(o) for o in others if o is not self._ego and (o.crashed or o in self._road.objects)]
        near = [_relative(pose, self.pose) for pose in crashed]
        return min(near, key=lambda pose: hypot(pose.x_m, pose.y_m), default=None)

    # The route

    def _draw_route(self) -> None:
        """The command of the drive: a lane on lane roads, an exit on the others."""
        draws = np.random.Generator(np.random.PCG64([self.seed, 1]))  # others than the traffic's
        network, ego = self._road.network, self._ego
        exits = self._of_scenario.exits
        if exits:
            ego.plan_route_to(exits[list(exits)[draws.integers(len(exits))]])
            self._chain = self._ahead(ego)
            self._set_goal(ego)
            return
        start, end, lane = ego.lane_index
        lanes = [to for to in (lane - 1, lane, lane + 1) if 0 <= to < len(network.graph[start][end])]
        wanted = lanes[draws.integers(len(lanes))]
        if wanted != lane:
            self._wanted_lane = wanted
            ego.route = [(a, b, wanted) for a, b, _ in self._map.strip_of((start, end, wanted)).lanes]

    def _ahead(self, vehicle: Any) -> tuple[LaneIndex, ...]:
        """The lanes that a vehicle with a route drives along, from the present one."""
        network, chain = self._road.network, [vehicle.lane_index]
        for start, end, _ in vehicle.route or ():
            if start == chain[-1][1]:
                lane = network.get_lane(chain[-1])
                number, _ = network.next_lane_given_next_road(*chain[-1], end, None, lane.position(lane.length, 0))
                chain.append((start, end, number))
        return tuple(chain)

    def _route(self, vehicle: Any) -> Strip:
        if not self._of_scenario.exits:
            lane = vehicle.lane_index
            wanted = self._wanted_lane if vehicle is self._ego else None
            return self._map.strip_of(lane if wanted is None else (*lane[:2], wanted))
        return self._map.route(self._chain if vehicle is self._ego else self._ahead(vehicle))

    def _command(self, vehicle: Any) -> Command:
        """Where the route goes next."""
        if not self._of_scenario.exits:
            lane = vehicle.lane_index
            wanted = self._wanted_lane if vehicle is self._ego else vehicle.target_lane_index[2]
            if wanted is None or wanted == lane[2] or vehicle.target_lane_index[:2] != lane[:2]:
                return "straight"
            return "left" if wanted < lane[2] else "right"
        return "straight" if vehicle.lane_index == vehicle.goal else vehicle.turn

    def _along_route(self) -> float:
        """Metres along the route; on lane roads, along the road."""
        if not self._of_scenario.exits:
            return float(self._ego.position[0])
        return self._map.route(self._chain).along(self.pose)

    def _is_in_wanted_lane(self) -> bool:
        return bool(self._ego.lane_index[2] == self._wanted_lane and abs(self._ego.lane_offset[1]) < 1.0)

    def _is_on_route(self) -> bool:
        if not self._of_scenario.exits:
            return self._wanted_lane is None
        return self._ego.lane_index[:2] in {lane[:2] for lane in self._chain}

    def _name_vehicles(self) -> None:
        """A name for each vehicle, and where it was going when it first came."""
        for vehicle in self._road.vehicles:
            if not vehicle.name:
                self._n_named += 1
                vehicle.name = f"car-{self._n_named}"
                self._set_goal(vehicle)

    def _set_goal(self, vehicle: Any) -> None:
        """Where its route leads, by its last lane and by the turn from where it now heads."""
        vehicle.goal = self._ahead(vehicle)[-1]
        last = self._road.network.get_lane(vehicle.goal)
        turn = (vehicle.heading - last.heading_at(last.length) + pi) % (2 * pi) - pi
        vehicle.turn = "straight" if abs(turn) < pi / 4 else "left" if turn > 0 else "right"

    # A scene's parts

    def _history(self, vehicle: Any, pose: Pose) -> tuple[Point, ...]:
        """Where it was; before the start, as if it had come along its lane at its speed."""
        past = list(self._past)[-_TICKS_A_STEP::-_TICKS_A_STEP]
        known = [poses[vehicle.name] for poses in reversed(past) if vehicle.name in poses]
        missing = HISTORY_STEPS - len(known)
        first = known[0] if known else pose
        along, aside = vehicle.lane.local_coordinates(np.array([first.x_m, -first.y_m]))
        speed = float(vehicle.speed)
        before = [vehicle.lane.position(along - speed * STEP_S * k, aside) for k in range(missing, 0, -1)]
        points = [(float(x), -float(y)) for x, y in before] + [(p.x_m, p.y_m) for p in known]
        inner = [pose.to_inner(x, y) for x, y in points]
        return (*((round(x, 3), round(y, 3)) for x, y in inner), (0.0, 0.0))

    def _agents(self, camera: Any, pose: Pose) -> Iterable[Agent]:
        for thing in (*self._road.vehicles, *self._road.objects):
            if thing is camera:
                continue
            at = _relative(pose_of(thing), pose)
            if max(abs(at.x_m), abs(at.y_m)) > SIGHT_M:
                continue
            vx, vy = Pose(yaw_rad=-at.yaw_rad).to_inner(float(thing.speed), 0.0)
            is_vehicle = thing in self._road.vehicles
            yield Agent(
                id=thing.name if is_vehicle else f"obstacle-{self._road.objects.index(thing)}",
                kind="car" if is_vehicle else "obstacle",
                box=Box(
                    x_m=round(at.x_m, 3),
                    y_m=round(at.y_m, 3),
                    yaw_rad=round(at.yaw_rad, 4),
                    length_m=float(thing.LENGTH),
                    width_m=float(thing.WIDTH),
                ),
                vx_mps=round(vx, 3),
                vy_mps=round(vy, 3),
            )

    def _lanes(self, camera: Any, pose: Pose) -> Iterable[Lane]:
        route = self._route(camera)
        first = route.seen_from(pose, is_route=True)
        if first is not None:
            yield first
        for strip in self._map.strips:
            lane = None if set(strip.lanes) <= set(route.lanes) else strip.seen_from(pose)
            if lane is not None:
                yield lane


def _relative(pose: Pose, to: Pose) -> Pose:
    """`pose` in the frame of `to`, both given in one frame; its yaw within half a turn."""
    return Pose(*to.to_inner(pose.x_m, pose.y_m), (pose.yaw_rad - to.yaw_rad + pi) % (2 * pi) - pi)


def _built(scenario: str, seed: int, cruise_mps: float) -> "Built":
    try:
        from loopwright.tools.drive.roads import build
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "The simulated roads need highway-env, which is not installed: `pip install 'loopwright[drive]'`."
        ) from error
    return build(scenario, seed, cruise_mps)
