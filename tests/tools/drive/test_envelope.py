"""The kinematic envelope: what can be driven passes, what cannot is named by its rule."""

import pytest

from loopwright.tools.drive.envelope import check_envelope


def straight(*metres: float) -> list[tuple[float, float]]:
    return [(each, 0.0) for each in metres]


@pytest.mark.parametrize(
    ("waypoints", "speed"),
    [
        (straight(5, 10, 15, 20, 25, 30), 10),
        (straight(0, 0, 0, 0, 0, 0), 0),
        (straight(4.0, 6.2, 6.5, 6.5, 6.5, 6.5), 10),
        (straight(0.6, 2.6, 5.9, 10.6, 16.7, 24.1), 0),
        ([(14, 0.2), (28, 1.0), (42, 2.0), (56, 3.0), (70, 3.8), (84, 4.0)], 28),
        ([(2.9, 0.6), (5.4, 2.2), (7.0, 4.7), (7.6, 7.6), (7.6, 10.6), (7.6, 13.6)], 6),
        ([(0.1, 0.1), (0.1, 0.0), (0.2, 0.1), (0.1, 0.1), (0.2, 0.0), (0.2, 0.0)], 0.3),
    ],
    ids=["steady", "standing", "stopping", "starting", "lane change", "left turn", "rounding at a standstill"],
)
def test_what_can_be_driven_passes(waypoints: list[tuple[float, float]], speed: float) -> None:
    assert check_envelope(waypoints, speed).ok, check_envelope(waypoints, speed)


@pytest.mark.parametrize(
    ("waypoints", "speed", "rule", "reason"),
    [
        (straight(-2, -4, -6, -8, -10, -12), 0, "reversing", "waypoint 1 (-2, 0) m"),
        (straight(5, 10, 8, 6, 4, 2), 10, "reversing", "waypoint 3"),
        (straight(21, 42, 63, 84, 105, 126), 40, "speed", "needs 42.0 m/s; expected up to 40"),
        (straight(10, 20, 30, 40, 50, 60), 5, "acceleration", "needs 60.0 m/s^2; expected up to 6"),
        (straight(5, 10, 10, 10, 10, 10), 10, "braking", "waypoint 3"),
        (straight(0, 0, 0, 0, 0, 0), 20, "braking", "needs braking at 80.0"),
        ([(5, 0), (6, 4.9), (6, 9.9), (6, 14.9), (6, 19.9), (6, 24.9)], 10, "steering", "waypoint 2"),
        ([(10, 0), (19.5, 3), (27, 9.5), (33, 17.5), (39, 25.5), (45, 33.5)], 20, "lateral", "to the side"),
    ],
)
def test_what_cannot_is_refused_by_its_rule(
    waypoints: list[tuple[float, float]], speed: float, rule: str, reason: str
) -> None:
    verdict = check_envelope(waypoints, speed)
    assert (verdict.ok, verdict.rule) == (False, rule)
    assert reason in verdict.reason
