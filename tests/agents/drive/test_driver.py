"""The driver by rules: candidates, the fallback with and without sight, and a way that a passenger wants."""

import pytest
from tests.agents.drive.scenes import car, scene

from loopwright.agents.drive.driver import brake, brake_blindly, style_of, think_by_rule, way
from loopwright.agents.drive.feedback import Wishes
from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.futures import constant_velocity
from loopwright.tools.drive.scene import Lane


def test_what_was_rejected_is_not_thought_again() -> None:
    moment = scene(car(15, 0, 5))
    style = style_of(28.0, Wishes(), 0.0)
    seen: list[tuple[tuple[float, float], ...]] = []
    for _ in range(3):
        thought = think_by_rule(moment, lambda points: constant_velocity(moment, points), style, seen)
        assert thought.by == "rule"
        assert thought.waypoints not in seen
        seen.append(thought.waypoints)
    assert think_by_rule(moment, lambda _: (), style, seen, most=0).by == "fallback"


def test_whom_to_let_in_is_given_room() -> None:
    usual, yielding = (style_of(28.0, Wishes(yields_until_s=until), 1.0) for until in (None, 5.0))
    assert yielding.headway_s > usual.headway_s
    assert style_of(28.0, Wishes(yields_until_s=5.0), 6.0) == usual
    assert style_of(28.0, Wishes(pace=0.5), 0.0).cruise_mps == 14.0


@pytest.mark.parametrize("speed_mps", [0.0, 3.0, 12.0, 30.0])
def test_the_fallback_brakes_within_the_envelope(speed_mps: float) -> None:
    moment = scene(car(40, 0), speed_mps=speed_mps)
    seeing = brake(moment, "a test")
    assert seeing.by == "fallback"
    assert check_envelope(seeing.waypoints, speed_mps).ok
    last = seeing.waypoints
    for _ in range(12):
        blind = brake_blindly(last, "a test")
        first = blind.waypoints[0]
        assert first[0] <= max(last[1][0] - last[0][0], 0.0) + 0.01, "never faster than before"
        last = blind.waypoints
    assert last[-1][0] == pytest.approx(0.0, abs=0.01), "it stands"


def test_one_wish_changes_one_lane() -> None:
    moment = scene()
    found = way(moment, "left", None)
    assert found.aim_m == pytest.approx(-4.0)
    assert [lane.centre[0][1] for lane in found.scene.lanes if lane.is_route] == [4.0]
    moved = moment.model_copy(
        update={"lanes": tuple(Lane(centre=((-100.0, y), (200.0, y)), is_route=True) for y in (-7.5, -3.5, 0.5))}
    )
    assert found.aim_m is not None
    there = way(moved, "left", found.aim_m + 3.5)
    assert there.is_there
    assert [lane.centre[0][1] for lane in there.scene.lanes if lane.is_route] == [0.5]


def test_a_lane_that_turns_off_is_taken() -> None:
    exit_lane = Lane(centre=((0.0, 0.0), (20.0, 0.0), (30.0, -5.0), (35.0, -20.0)))
    moment = scene(lanes=(Lane(centre=((-20.0, 0.0), (80.0, 0.0)), is_route=True), exit_lane))
    assert [lane.is_route for lane in way(moment, "right", None).scene.lanes] == [False, True]
    assert [lane.is_route for lane in way(moment, "straight", None).scene.lanes] == [True, False]
    assert way(moment, "left", None).scene.lanes == moment.lanes, "there is none"
