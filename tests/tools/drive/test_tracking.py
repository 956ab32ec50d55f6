"""A vehicle that follows waypoints comes where they say, and never goes backwards."""

from itertools import product
from math import atan, cos, hypot, sin, tan

import pytest

from loopwright.tools.drive.scene import FUTURE_STEPS, Pose
from loopwright.tools.drive.tracking import Track

LENGTH_M, DT_S = 5.0, 0.1


def driven(waypoints: list[tuple[float, float]], speed_mps: float) -> list[tuple[float, float, float]]:
    """(x, y, speed) each 0.5 s, by highway-env's bicycle."""
    track, pose, speed, found = Track(Pose(), waypoints), Pose(), speed_mps, []
    for tick in range(5 * FUTURE_STEPS):
        steering, acceleration = track.command(pose, speed, tick * DT_S, LENGTH_M, DT_S)
        slip, (x, y, yaw) = atan(0.5 * tan(steering)), pose
        x, y = x + speed * cos(yaw + slip) * DT_S, y + speed * sin(yaw + slip) * DT_S
        pose = Pose(x, y, yaw + speed * sin(slip) / (LENGTH_M / 2) * DT_S)
        speed += acceleration * DT_S
        assert speed > -1e-9
        if tick % 5 == 4:
            found.append((pose.x_m, pose.y_m, speed))
    return found


def bend(speed_mps: float, acceleration_mps2: float, curvature_per_m: float) -> list[tuple[float, float]]:
    """Waypoints of constant acceleration and curvature, in tenths of a metre."""
    x = y = yaw = 0.0
    points = []
    for tick in range(1, 301):
        x, y, yaw = (
            x + speed_mps * cos(yaw) * 0.01,
            y + speed_mps * sin(yaw) * 0.01,
            yaw + speed_mps * curvature_per_m * 0.01,
        )
        speed_mps = max(0.0, speed_mps + acceleration_mps2 * 0.01)
        if tick % 50 == 0:
            points.append((round(x, 1), round(y, 1)))
    return points


@pytest.mark.parametrize(
    ("speed", "acceleration", "curvature"),
    [
        each
        for each in product((0, 5, 10, 30), (-6, -2, 0, 3), (0, 0.05, -0.1))
        if (each[0] + 5) ** 2 * abs(each[2]) < 9
    ],
)
def test_it_stays_close_to_the_waypoints(speed: float, acceleration: float, curvature: float) -> None:
    wanted = bend(speed, acceleration, curvature)
    errors = [hypot(x - u, y - v) for (x, y, _), (u, v) in zip(driven(wanted, speed), wanted, strict=True)]
    assert max(errors) < 0.6
    assert max(errors[:-1]) < 0.45
    assert errors[0] < 0.2


@pytest.mark.parametrize("speed", [8.0, 15.0, 28.0])
def test_a_lane_change_ends_in_the_other_lane(speed: float) -> None:
    waypoints = [(speed * k / 2, 4 * (k / 6) ** 2 * (3 - k / 3)) for k in range(1, 7)]
    places = driven(waypoints, speed)
    assert places[-1][1] == pytest.approx(4, abs=0.2)
    assert max(abs(y - v) for (_, y, _), (_, v) in zip(places, waypoints, strict=True)) < 0.35


def test_waypoints_where_it_stands_keep_it_standing() -> None:
    assert driven([(0.0, 0.0)] * 6, 0.0) == [(0.0, 0.0, 0.0)] * 6
    assert driven([(0.0, 0.0)] * 6, 8.0)[-1][2] < 0.05
