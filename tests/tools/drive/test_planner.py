"""The planner on roads by hand: what it proposes, what a future costs, what it chooses."""

from math import inf, pi

import numpy as np
import pytest
from tests.tools.drive.traffic import car, road, straight

from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.futures import Foresee, constant_velocity, standing
from loopwright.tools.drive.paths import path_of, paths_of
from loopwright.tools.drive.planner import Rated, Style, choose, gap_on, propose, rate
from loopwright.tools.drive.scene import Lane, Pose, Scene

STYLE = Style(cruise_mps=25.0)


def foreseen(scene: Scene) -> Foresee:
    return lambda waypoints: constant_velocity(scene, waypoints)


def chosen(scene: Scene, style: Style = STYLE) -> Rated:
    return choose(scene, foreseen(scene), style)


# Paths


def test_the_lanes_beside_are_found_and_named() -> None:
    paths = paths_of(road(route_m=-4.0))
    assert set(paths.by_side) == {"keep", "left", "right"}
    assert paths.route == "right"
    assert (paths.by_side["left"].aside_m, paths.by_side["right"].aside_m) == (-4.0, 4.0)


@pytest.mark.parametrize(
    "lane",
    [
        Lane(centre=((200.0, 4.0), (-100.0, 4.0))),  # comes towards the ego
        Lane(centre=((-100.0, 4.0), (60.0, 4.0))),  # ends within 4.5 s
        Lane(centre=((-100.0, 4.0), (10.0, 4.0), (200.0, 60.0))),  # leads away
        Lane(centre=((-100.0, 9.0), (200.0, 9.0))),  # is not the next one
    ],
)
def test_what_is_no_lane_to_change_to(lane: Lane) -> None:
    scene = road(lanes_m=(0.0,))
    assert set(paths_of(scene.model_copy(update={"lanes": (*scene.lanes, lane)})).by_side) == {"keep"}


def test_without_lanes_the_ego_goes_straight_on() -> None:
    scene = road(lanes_m=())
    assert all(y == 0.0 for one in propose(scene, STYLE) for _, y in one.waypoints)


def test_a_bend_of_20_m_is_taken_at_the_speed_that_it_allows() -> None:
    """3.5 m/s^2 at 20 m: 8.4 m/s; before it, braking at 2.5 m/s^2 from 15 m/s takes 31 m."""
    angles = np.linspace(0.0, pi / 2, 40)
    bend = [(60.0 + 20.0 * float(np.sin(a)), 20.0 - 20.0 * float(np.cos(a))) for a in angles]
    path = path_of(Lane(centre=((-20.0, 0.0), (0.0, 0.0), *bend)))
    assert path is not None
    speeds = path.speeds(3.5, 2.5)
    assert np.interp(path.along_m + 75.0, path.lengths, speeds) == pytest.approx(8.4, abs=0.2)
    assert np.interp(path.along_m + 29.0, path.lengths, speeds) == pytest.approx(15.0, abs=0.7)


# Candidates


def test_candidates_can_be_driven_and_the_first_is_the_best_on_an_empty_road() -> None:
    found = propose(road(), STYLE)
    assert all(check_envelope(one.waypoints, 20.0).ok for one in found)
    assert [one.cost for one in found] == sorted(one.cost for one in found)
    assert found[0].side == "keep"
    assert found[0].acceleration_mps2 > 0


def test_a_lane_change_ends_in_the_middle_of_the_next_lane() -> None:
    left = next(one for one in propose(road(), STYLE) if one.side == "left" and one.acceleration_mps2 == 0.0)
    assert left.waypoints[-1] == pytest.approx((60.0, 4.0), abs=0.2)
    assert left.waypoints[2][1] == pytest.approx(2.0, abs=0.1)


def test_a_lane_change_under_way_is_carried_on() -> None:
    """0.8 m to the left of its lane, heading to the left by 5 degrees: "keep" would be to turn back."""
    pose = Pose(0.0, 0.8, 0.09)
    scene = road(car(26.0, vx_mps=16.0))
    under_way = scene.seen_from(pose)
    assert chosen(scene).candidate.side in ("left", "right")
    assert chosen(under_way).candidate.side == "left"


# What futures cost


@pytest.mark.parametrize(("gap_m", "expected"), [(12.0, 12.0), (39.0, 39.0), (60.0, inf)])
def test_the_gap_is_measured_along_the_path(gap_m: float, expected: float) -> None:
    """From the ego's front, 2.5 m before its centre, to the rear of a car, 2.3 m behind its centre."""
    scene = road(car(2.5 + gap_m + 2.3))
    stopped = next(one for one in propose(scene.model_copy(update={"speed_mps": 0.0}), STYLE) if one.side == "keep")
    future = standing(scene, ((0.0, 0.0),) * 6)[0]
    assert gap_on(
        future, stopped._replace(states=stopped.states * (0, 0, 0, 0) + (100.0, 0, 0, 0)), 0, scene, 0.35
    ) == pytest.approx(expected, abs=0.5)


def test_a_candidate_that_runs_into_somebody_says_when() -> None:
    """At 20 m/s the front is at 22.5 m after 1 s, at 32.5 m after 1.5 s; a standing car's rear is at 30 m."""
    scene = road(car(32.3))
    steady = next(one for one in propose(scene, STYLE) if (one.side, one.acceleration_mps2) == ("keep", 0.0))
    rated = rate(scene, steady, constant_velocity(scene, steady.waypoints), STYLE)
    assert rated.hit_s == 1.5
    assert rated.gap_m == pytest.approx((17.5, 7.5), abs=0.5)
    assert rated.cost > 500


def test_futures_at_some_horizons_only_will_do() -> None:
    scene = road(car(32.3))
    steady = next(one for one in propose(scene, STYLE) if (one.side, one.acceleration_mps2) == ("keep", 0.0))
    futures = constant_velocity(scene, steady.waypoints)
    assert rate(scene, steady, futures[2:3], STYLE).hit_s == 1.5
    assert rate(scene, steady, [], STYLE).cost == steady.cost


# Choices


def test_a_slow_car_ahead_is_overtaken_where_there_is_room() -> None:
    assert chosen(road(car(30.0, vx_mps=15.0))).candidate.side in ("left", "right")


def test_it_is_followed_where_there_is_none() -> None:
    beside = [car(x, y, vx_mps=15.0) for x in (-12.0, 0.0, 12.0, 24.0) for y in (4.0, -4.0)]
    found = chosen(road(car(30.0, vx_mps=15.0), *beside))
    assert found.candidate.side == "keep"
    assert found.candidate.acceleration_mps2 < 0
    assert found.hit_s is None


def test_a_car_that_crosses_is_let_pass() -> None:
    """It is far to the side now, and in the ego's way in 2 s."""
    crossing = car(40.0, -20.0, vy_mps=10.0)
    scene = road(crossing, lanes_m=(0.0,))
    steady = straight(20.0)
    assert constant_velocity(scene, steady)[3].covers(scene.ego.model_copy(update={"x_m": 40.0}))
    found = chosen(scene)
    assert found.hit_s is None
    assert found.candidate.acceleration_mps2 <= -2.0


def test_where_nothing_helps_it_brakes_as_hard_as_it_can() -> None:
    assert chosen(road(car(14.0), lanes_m=(0.0,))).candidate.acceleration_mps2 == -7.0


def test_no_more_futures_are_asked_for_than_needed() -> None:
    asked = []
    scene = road()

    def foresee(waypoints):  # type: ignore[no-untyped-def]
        asked.append(waypoints)
        return constant_velocity(scene, waypoints)

    assert choose(scene, foresee, STYLE).candidate.side == "keep"
    assert len(asked) == 1
