"""The verifier: one case a rule, and what it must not reject."""

import pytest
from tests.tools.drive.traffic import car, road, straight

from loopwright.tools.drive.futures import constant_velocity
from loopwright.tools.drive.scene import Point, Scene
from loopwright.tools.drive.verify import verify


def rule(scene: Scene, waypoints: tuple[Point, ...]) -> str:
    return verify(scene, waypoints, constant_velocity(scene, waypoints)).rule


def at(speeds: list[float], y_m: tuple[float, ...] = (0.0,) * 6) -> tuple[Point, ...]:
    """Waypoints from the mean speed of each half second."""
    x = [0.5 * sum(speeds[: k + 1]) for k in range(6)]
    return tuple(zip(x, y_m, strict=True))


@pytest.mark.parametrize(
    ("waypoints", "expected"),
    [
        (straight(20.0), ""),
        (at([20.5, 21.5, 22.5, 23.5, 24.5, 25.5]), ""),
        (at([18.0, 14.5, 11.0, 7.5, 4.0, 1.0]), ""),  # 7 m/s^2: braking is never uncomfortable
        (at([21.0, 23.0, 25.0, 27.0, 29.0, 31.0]), "comfort"),  # 4 m/s^2
        (at([24.0, 28.0, 32.0, 36.0, 38.0, 39.0]), "acceleration"),
        (at([20.0] * 6, (0.0, 0.0, -1.0, -3.0, -5.5, -6.5)), "off_road"),
        (at([20.0] * 6, (0.0, 1.0, 3.0, 4.0, 4.0, 4.0)), ""),
        (at([20.0] * 6, (0.0, 2.5, 4.0, 4.0, 4.0, 4.0)), "lateral"),
    ],
)
def test_a_trajectory_by_itself(waypoints: tuple[Point, ...], expected: str) -> None:
    assert rule(road(), waypoints) == expected


def test_somebody_in_the_way_is_found_at_the_horizon_at_which_it_happens() -> None:
    scene = road(car(60.0, vx_mps=6.0))  # at 75 m after 2.5 s, its rear at 72.7; the ego's front at 52.5
    verdict = verify(scene, straight(20.0), constant_velocity(scene, straight(20.0)))
    assert verdict.ok
    slower = road(car(45.0, vx_mps=2.0))  # its rear at 47.7 after 2.5 s, at 46.7 after 2 s: the ego's front at 42.5
    verdict = verify(slower, straight(20.0), constant_velocity(slower, straight(20.0)))
    assert (verdict.rule, "2.5 s" in verdict.reason) == ("collision", True)


def test_cars_in_the_next_lanes_are_in_nobodys_way() -> None:
    beside = [car(x, y, vx_mps=20.0) for x in (-6.0, 0.0, 6.0) for y in (4.0, -4.0)]
    assert rule(road(*beside), straight(20.0)) == ""


def test_where_no_lane_is_known_none_is_left() -> None:
    assert rule(road(lanes_m=()), at([20.0] * 6, (0.0, 0.0, -1.0, -3.0, -5.5, -6.5))) == ""
