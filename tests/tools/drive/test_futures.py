"""Futures: what a grid at a pose says of points and boxes of the present frame, and how one is made of a scene."""

from math import pi

import numpy as np
import pytest
from tests.tools.drive.traffic import car, road, straight

from loopwright.tools.drive.futures import (
    HORIZONS_S,
    Future,
    constant_velocity,
    keeping_pace,
    of_moments,
    standing,
)
from loopwright.tools.drive.scene import Box, Pose
from loopwright.tools.drive.simulator import Moment, Simulation
from loopwright.tools.drive.views import occupancy_seen, top_view


def one_cell(row: int, column: int, pose: Pose = Pose()) -> Future:  # noqa: B008  # a value
    """A grid of 64 cells of 1 m, 44 m of them ahead, one of them occupied."""
    occupied = np.zeros((64, 64), dtype=bool)
    occupied[row, column] = True
    return Future(1.0, pose, occupied)


def test_a_cell_is_where_the_view_from_above_draws_it() -> None:
    future = one_cell(33, 28)  # 10 to 11 m ahead, 3 to 4 m to the left
    points = np.array([[10.5, 3.5], [10.01, 3.99], [9.9, 3.5], [11.1, 3.5], [10.5, 4.1], [10.5, -3.5]])
    assert future.at(points).tolist() == [True, True, False, False, False, False]


def test_beyond_the_grid_nothing_is_occupied() -> None:
    everywhere = Future(1.0, Pose(), np.ones((64, 64), dtype=bool))
    assert everywhere.at(np.array([[43.9, 31.9], [44.1, 0.0], [-20.1, 0.0], [0.0, 32.1]])).tolist() == [
        True,
        *[False] * 3,
    ]


def test_a_grid_is_read_from_the_pose_that_it_was_seen_from() -> None:
    turned = one_cell(33, 31, Pose(20.0, 5.0, pi / 2))  # 10.5 m ahead of (20, 5), heading to the left, 0.5 m left
    assert turned.at(np.array([[19.5, 15.5], [20.5, 15.5]])).tolist() == [True, False]


def test_a_box_is_covered_where_any_of_it_is_occupied_also_in_its_middle() -> None:
    future = one_cell(33, 31)  # (10.5, 0.5)
    assert future.covers(Box(x_m=10.0, y_m=0.0))
    assert future.covers(Box(x_m=10.5, y_m=0.5, length_m=30.0, width_m=10.0))
    assert not future.covers(Box(x_m=7.6, y_m=0.5))  # its front at 9.9
    assert future.covers(Box(x_m=7.6, y_m=0.5), longer_m=0.2)
    assert not future.covers(Box(x_m=10.5, y_m=-1.1))  # its left side at -0.15
    assert future.covers(Box(x_m=10.5, y_m=-1.1), wider_m=0.2)


@pytest.mark.parametrize(
    ("of", "x_m"),
    [(standing, [30.0] * 4), (keeping_pace, [40, 50, 60, 70, 80, 90]), (constant_velocity, [36, 42, 48, 54, 60, 66])],
)
def test_where_the_car_ahead_is_taken_to_be(of, x_m: list[float]) -> None:  # type: ignore[no-untyped-def]
    """30 m ahead at 12 m/s, the ego at 20 m/s."""
    futures = of(road(car(30.0, vx_mps=12.0)), straight(20.0))
    assert [one.horizon_s for one in futures] == list(HORIZONS_S)
    for future, x in zip(futures, x_m, strict=False):
        found = future.at(np.array([[x - 2.0, 0.0], [x, 0.8], [x + 2.0, -0.8], [x + 3.0, 0.0], [x - 3.0, 0.0]]))
        assert found.tolist() == [True, True, True, False, False]


def test_constant_velocity_goes_in_its_own_direction() -> None:
    future = constant_velocity(road(car(20.0, -8.0, vy_mps=4.0)), straight(10.0))[3]
    assert future.at(np.array([[20.0, 0.0], [20.0, -8.0]])).tolist() == [True, False]


def test_an_oracle_tells_where_the_others_really_come_to_be() -> None:
    simulation = Simulation("merge", 3)
    waypoints = straight(simulation.scene().speed_mps)
    futures = of_moments(simulation.futures(waypoints))
    start = simulation.pose
    for future in futures[:2]:
        simulation.follow(waypoints, future.horizon_s - simulation.time_s)
        there = [
            agent.box for agent in simulation.scene().agents if abs(agent.box.y_m) < 12 and -15 < agent.box.x_m < 40
        ]
        assert there
        pose = Pose(*start.to_inner(simulation.pose.x_m, simulation.pose.y_m), simulation.pose.yaw_rad - start.yaw_rad)
        for box in there:
            assert future.covers(box.seen_from(Pose(*pose.to_inner(0.0, 0.0), -pose.yaw_rad)))


def test_a_picture_reads_as_the_scene_that_it_shows() -> None:
    """What takes the place of a scene's grid is the reading of a picture, drawn or imagined."""
    scene = road(car(15.0, 4.0), car(-8.0, -4.0))
    seen = Future(0.5, Pose(), occupancy_seen(top_view(scene)))
    drawn = standing(scene, ((0.0, 0.0),) * 6)[0]
    boxes = [Box(x_m=x, y_m=y) for x in (-8.0, 0.0, 8.0, 15.0, 22.0) for y in (-4.0, 0.0, 4.0)]
    assert [seen.covers(box) for box in boxes] == [drawn.covers(box) for box in boxes]
    assert sum(drawn.covers(box) for box in boxes) == 2


def test_moments_are_what_the_simulator_gives() -> None:
    assert Moment._fields == ("scene", "pose")
