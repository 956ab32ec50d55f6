"""The quick lanes and collisions are highway-env's own."""

from typing import Any

import numpy as np
import pytest

from loopwright.tools.drive import roads
from loopwright.tools.drive.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_quick_lanes_say_what_highway_envs_say(scenario: str) -> None:
    draws = np.random.default_rng(1)
    for lane in roads.build(scenario, 1, 10.0).road.network.lanes_list():
        theirs: Any = type(lane).__mro__[2]
        for _ in range(6):
            there = lane.position(draws.uniform(-8, min(lane.length, 400) + 8), draws.uniform(-4, 4))
            heading = draws.uniform(-4, 4)
            at = theirs.local_coordinates(lane, there)
            assert lane.local_coordinates(there) == pytest.approx(at, abs=1e-9)
            assert lane.on_lane(there) == theirs.on_lane(lane, there)
            assert lane.on_lane(there, *at, margin=1) == theirs.on_lane(lane, there, *at, margin=1)
            assert lane.heading_at(at[0]) == pytest.approx(theirs.heading_at(lane, at[0]), abs=1e-9)
            for given in (heading, None):
                assert lane.distance_with_heading(there, given) == pytest.approx(
                    theirs.distance_with_heading(lane, there, given), abs=1e-9
                )


@pytest.mark.parametrize(("apart_m", "crashes"), [(4.5, True), (5.5, False), (80.0, False)])
def test_what_touches_crashes(apart_m: float, crashes: bool) -> None:
    road = roads.build("highway", 1, 10.0).road
    lane = road.network.get_lane(("0", "1", 0))
    first, second = (roads.Traffic(road, lane.position(s, 0), speed=0.0) for s in (900.0, 900.0 + apart_m))
    first.handle_collisions(second, 0.1)
    assert (first.crashed, second.crashed) == (crashes, crashes)
