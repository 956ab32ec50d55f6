"""The simulated drive: it repeats, it can be copied and looked into, and its scenes are true."""

import sys
from math import cos, hypot
from typing import Any, get_args

import pytest
from tests.tools.drive.driving import along_route

from loopwright.errors import BadInput, MissingDependency, UnknownName
from loopwright.tools.drive.scenarios import SCENARIOS, SEEDS_A_PART, Part, seeds_of
from loopwright.tools.drive.scene import STEP_S
from loopwright.tools.drive.simulator import EGO, Simulation

STRAIGHT = tuple((4.0 * k, 0.0) for k in range(1, 7))
SPEED_MPS: dict[str, float] = {"highway": 22.0, "merge": 26.0, "roundabout": 7.0, "intersection": 7.0}
"""That of the traffic, more or less."""
PARTS: tuple[Part, ...] = get_args(Part)
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def drive(simulation: Simulation, steps: int, speed_mps: float | None = None) -> Simulation:
    """Along the route for some steps, or until the drive ends; by default as fast as the traffic."""
    for _ in range(steps):
        if not simulation.ended:
            speed = SPEED_MPS[simulation.scenario] if speed_mps is None else speed_mps
            simulation.follow(along_route(simulation.scene(), speed))
    return simulation


def seen(simulation: Simulation) -> list[str]:
    """All that there is to see, from every vehicle."""
    return [simulation.scene(vehicle).model_dump_json() for vehicle in simulation.vehicles]


@each_scenario
def test_a_seed_repeats_whatever_ran_before(scenario: str) -> None:
    from highway_env.envs.intersection_env import IntersectionEnv
    from highway_env.vehicle.behavior import IDMVehicle

    before = seen(drive(Simulation(scenario, 3), 3))
    idm = dict(vars(IDMVehicle))
    for other in SCENARIOS:
        Simulation(other, 5).follow(None)
    assert dict(vars(IDMVehicle)) == idm, "no scenario changes the drivers of other environments"
    try:
        IntersectionEnv()
        assert dict(vars(IDMVehicle)) != idm, "highway-env's own environment does"
        assert seen(drive(Simulation(scenario, 3), 3)) == before
    finally:
        for name in ("DISTANCE_WANTED", "COMFORT_ACC_MAX", "COMFORT_ACC_MIN"):
            setattr(IDMVehicle, name, idm[name])


@each_scenario
def test_seeds_differ(scenario: str) -> None:
    scenes = [Simulation(scenario, seed).scene().model_copy(update={"token": ""}) for seed in range(3)]
    assert len({scene.model_dump_json() for scene in scenes}) == 3


@each_scenario
def test_a_copy_goes_on_as_the_drive_does(scenario: str) -> None:
    simulation = drive(Simulation(scenario, 1), 3)
    copy, before = simulation.copy(), seen(simulation)
    drive(copy, 4)
    assert seen(simulation) == before, "what a copy does stays in the copy"
    assert seen(drive(simulation, 4)) == seen(copy)
    assert simulation.totals == copy.totals


@each_scenario
def test_the_futures_are_what_comes(scenario: str) -> None:
    simulation = drive(Simulation(scenario, 3), 2)
    start, before = simulation.pose, seen(simulation)
    waypoints = along_route(simulation.scene(), SPEED_MPS[scenario])
    futures = simulation.futures(waypoints)
    assert seen(simulation) == before
    simulation.follow(waypoints)
    assert simulation.scene() == futures[0].scene
    assert futures[0].pose[:2] == pytest.approx(start.to_inner(*simulation.pose[:2]))
    assert [moment.scene.time_s for moment in futures] == pytest.approx([1.0 + STEP_S * k for k in range(1, 7)])
    assert futures[5].pose[:2] == pytest.approx(waypoints[5], abs=1.0)


@each_scenario
def test_along_the_route_it_stays_on_the_road(scenario: str) -> None:
    for seed in range(2):
        simulation = drive(Simulation(scenario, seed), 8 if scenario == "highway" else 50)
        assert simulation.ended != "off_road"
        assert simulation.ended != "arrived" or simulation.totals.on_route


@each_scenario
def test_a_seed_draws_the_command(scenario: str) -> None:
    commands = [Simulation(scenario, seed).scene().command for seed in range(9)]
    expected = {"straight", "left"} if scenario == "merge" else {"straight", "left", "right"}
    assert set(commands) == expected
    assert sum(lane.is_route for lane in Simulation(scenario, 0).scene().lanes) == 1


def test_a_lane_command_is_done_when_the_lane_is_reached() -> None:
    drives = [drive for drive in (Simulation("merge", seed) for seed in range(6)) if drive.scene().command == "left"]
    assert not any(each.totals.on_route for each in drives)
    changed = [each for each in drives if drive(each, 12).ended == ""]
    assert changed and all(each.scene().command == "straight" and each.totals.on_route for each in changed)


@each_scenario
def test_every_vehicle_can_be_the_ego(scenario: str) -> None:
    simulation = drive(Simulation(scenario, 4), 3)
    ours = simulation.scene()
    assert simulation.vehicles[0] == EGO
    for other in ours.agents:
        if other.kind != "car":
            continue
        theirs = simulation.scene(other.id)
        (us,) = (agent for agent in theirs.agents if agent.id == EGO)
        assert hypot(us.box.x_m, us.box.y_m) == pytest.approx(hypot(other.box.x_m, other.box.y_m), abs=0.01)
        assert cos(us.box.yaw_rad + other.box.yaw_rad) == pytest.approx(1)
        assert theirs.speed_mps == pytest.approx(hypot(other.vx_mps, other.vy_mps), abs=0.01)
        assert theirs.history[-1] == (0.0, 0.0) and theirs.history[0][0] <= 0.0
        assert any(lane.is_route for lane in theirs.lanes)
    assert len({simulation.scene(name).token for name in simulation.vehicles}) == len(simulation.vehicles)


@each_scenario
def test_the_history_is_where_the_ego_was(scenario: str) -> None:
    simulation = Simulation(scenario, 6)
    first = simulation.scene()
    assert first.history[0] == pytest.approx((-2 * first.speed_mps, 0.0), abs=3.0), "as if it had come along its lane"
    poses = [simulation.pose]
    for _ in range(4):
        drive(simulation, 1)
        poses.append(simulation.pose)
    expected = [simulation.pose.to_inner(pose.x_m, pose.y_m) for pose in poses]
    assert [xy for point in simulation.scene().history for xy in point] == pytest.approx(
        [xy for point in expected for xy in point], abs=0.001
    )


@each_scenario
def test_agents_move_as_their_velocity_says(scenario: str) -> None:
    simulation = drive(Simulation(scenario, 8), 2)
    before, start = simulation.scene(), simulation.pose
    simulation.follow(along_route(before, SPEED_MPS[scenario]), 0.1)
    now = {agent.id: agent for agent in simulation.scene().agents}
    for agent in before.agents:
        if agent.id in now:
            expected, there = agent.after(0.1), now[agent.id].box
            came = start.to_inner(*simulation.pose.to_outer(there.x_m, there.y_m))
            assert came == pytest.approx((expected.x_m, expected.y_m), abs=0.3)


def test_it_ends_by_crash_by_leaving_the_road_and_by_time() -> None:
    fast = Simulation("intersection", 0)
    while not fast.ended:
        fast.follow(tuple((5.0 * k, 0.0) for k in range(1, 7)))
    totals = fast.totals
    assert (fast.ended, totals.collisions, totals.at_fault, totals.off_road) == ("crashed", 1, True, 0)
    astray = Simulation("intersection", 0)
    while not astray.ended:
        astray.follow(tuple((4.0 * k, 0.25 * k * k) for k in range(1, 7)))
    assert (astray.ended, astray.totals.off_road) == ("off_road", 1)
    waiting = Simulation("intersection", 0)
    waiting.follow(along_route(waiting.scene(), 0.0), 60.0)
    assert waiting.ended in ("time", "crashed") and not waiting.totals.at_fault
    with pytest.raises(BadInput, match=r"has ended \("):
        waiting.follow(STRAIGHT)


def test_totals_measure_progress_and_comfort() -> None:
    gentle = drive(Simulation("intersection", 0), 6, 7.0)
    totals = gentle.totals
    assert totals.time_s == 3.0 and totals.steps == 6
    assert totals.progress_m == pytest.approx(totals.mean_speed_mps * 3.0, abs=1.5)
    assert totals.uncomfortable_steps <= 1
    hard = Simulation("intersection", 0)
    hard.follow(((3.9, 0.0), (5.6, 0.0), (5.8, 0.0), (5.8, 0.0), (5.8, 0.0), (5.8, 0.0)), 1.5)
    assert hard.totals.worst_braking_mps2 > 6 and hard.totals.uncomfortable_steps >= 2
    assert hard.speed_mps == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize(
    ("scenario", "seed", "error", "message"),
    [
        ("motorway", 0, UnknownName, "Unknown scenario 'motorway'"),
        ("highway", -1, BadInput, "`seed` = -1; expected 0 or more"),
    ],
)
def test_what_is_no_drive_is_refused(scenario: str, seed: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Simulation(scenario, seed)


def test_without_highway_env_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "loopwright.tools.drive.roads", raising=False)
    monkeypatch.setitem(sys.modules, "highway_env.envs.common.abstract", None)
    with pytest.raises(MissingDependency, match=r"pip install 'loopwright\[drive\]'"):
        Simulation("merge", 0)


@pytest.mark.parametrize("waypoints", [STRAIGHT[:5], ((float("nan"), 0.0), *STRAIGHT[1:]), ((1.0,),) * 6])
def test_what_are_no_waypoints_is_refused(waypoints: Any) -> None:
    simulation = Simulation("merge", 0)
    before = simulation.scene()
    for follow in (simulation.follow, simulation.futures):
        with pytest.raises(BadInput, match="expected 6 pairs of finite numbers"):
            follow(waypoints)
    assert simulation.scene() == before


def test_a_vehicle_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="Unknown vehicle 'car-99'"):
        Simulation("merge", 0).scene("car-99")


def test_parts_have_seeds_of_their_own() -> None:
    train, validation, test = (seeds_of(part, SEEDS_A_PART) for part in PARTS)
    assert train[-1] < validation[0] and validation[-1] < test[0]
    with pytest.raises(BadInput, match="simulated drives"):
        seeds_of("test", SEEDS_A_PART + 1)
