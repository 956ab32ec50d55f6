"""Closed-loop figures by hand, and whole drives of drivers that end soon."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tools.drive.traffic import car, road

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.evaluate.drive.closed import (
    Driven,
    Record,
    bars_of,
    compared,
    drive,
    evaluate_closed,
    is_tight,
)
from loopwright.finetune.evaluate.drive.closed_tables import markdown
from loopwright.finetune.evaluate.drive.drivers import HEADROOM, OTHERS, in_frames, of_policies
from loopwright.finetune.measure.paired import mcnemar
from loopwright.finetune.measure.rows import CHANGE
from loopwright.models.networks.drive import bundled_tokenizer
from loopwright.tools.drive.expected import expected_pose, moved
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.totals import Totals
from loopwright.tools.drive.views import occupancy


def totals(**changed: Any) -> Totals:
    """20 s and 40 steps, 280 m: half of the highway's cruising speed."""
    return Totals(
        **{
            "ended": "time", "time_s": 20.0, "progress_m": 280.0, "mean_speed_mps": 14.0, "collisions": 0,
            "at_fault": False, "off_road": 0, "on_route": True, "steps": 40, "uncomfortable_steps": 10,
            "worst_braking_mps2": 1.0, "worst_lateral_mps2": 1.0, **changed,
        }
    )  # fmt: skip


def driven(driver: str = "present", seed: int = 0, tight_steps: int = 4, **changed: Any) -> Driven:
    return Driven(scenario="highway", seed=seed, driver=driver, totals=totals(**changed), tight_steps=tight_steps)


CRASH: dict[str, Any] = {"ended": "crashed", "collisions": 1, "at_fault": True}


def test_the_score_of_a_drive_by_hand() -> None:
    """TTC 36 / 40, EP 14 / 28, C 30 / 40: (5 x .9 + 5 x .5 + 2 x .75) / 12."""
    assert driven().figures["pdms"] == pytest.approx((4.5 + 2.5 + 1.5) / 12)


@pytest.mark.parametrize(
    ("changed", "pdms"),
    [
        (CRASH, 0.0),
        ({"ended": "off_road", "off_road": 1}, 0.0),
        ({**CRASH, "at_fault": False}, 8.5 / 12),  # hit from behind
        ({"progress_m": 2000.0}, 11 / 12),  # faster than cruising is no better
        ({"progress_m": -5.0}, 6 / 12),
    ],
)
def test_what_multiplies_the_score(changed: dict[str, Any], pdms: float) -> None:
    assert driven(**changed).figures["pdms"] == pytest.approx(pdms)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (car(16.0, vx_mps=10.0), False),  # closes in at 10 m/s on a gap of 11.2 m
        (car(14.0, vx_mps=10.0), True),  # of 9.2 m
        (car(14.0, 4.0, vx_mps=10.0), False),  # in the next lane
        (car(18.0, -8.0, vy_mps=8.0), True),  # crosses
        (car(-14.0, vx_mps=30.0), True),  # comes from behind
    ],
)
def test_a_collision_within_a_second(agent: Any, expected: bool) -> None:
    assert is_tight(road(agent, speed_mps=20.0)) is expected


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"), [(0, 0, 1.0), (6, 0, 0.03125), (5, 1, 0.21875), (3, 3, 1.0), (10, 0, 2 / 1024)]
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    """Twice the binomial tail of 1/2: 2 / 64 for 6 : 0, 2 x 7 / 64 for 5 : 1."""
    first = [True] * only_first + [False] * only_second + [True, False]
    second = [False] * only_first + [True] * only_second + [True, False]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p == pytest.approx(p)
    with pytest.raises(BadInput, match="expected as many"):
        mcnemar([True], [])


def test_differences_to_the_present_frame_by_hand() -> None:
    """Present: 4 of 8 crash; the oracle 0; constant velocity 3, one of them new: it recovers a quarter of the gap."""
    of_driver = {
        "present": [driven("present", seed, **(CRASH if seed < 4 else {})) for seed in range(8)],
        "oracle": [driven("oracle", seed, progress_m=300.0) for seed in range(8)],
        "constant-velocity": [
            driven("constant-velocity", seed, **(CRASH if seed in (2, 3, 7) else {})) for seed in range(8)
        ],
    }
    rows = compared(of_driver)
    of = {(row.what, row.model): row for row in rows}
    assert of["closed loop", "present"].figures["collisions_100"] == 50.0
    oracle = of[CHANGE, "oracle"].figures
    assert (oracle["collisions_100"], oracle["progress_m"], oracle["recovered"]) == (-50.0, 20.0, 1.0)
    assert (oracle["only_present"], oracle["only_this"], oracle["p"]) == (4.0, 0.0, 0.125)
    velocity = of[CHANGE, "constant-velocity"].figures
    assert (velocity["only_present"], velocity["only_this"], velocity["recovered"]) == (2.0, 1.0, 0.25)
    assert [bar.is_met for bar in bars_of(rows)] == [True]
    assert "| oracle | 8 | 0 [0, 0] |" in markdown(rows)


def test_where_the_present_frame_suffices_there_is_no_gap_to_recover() -> None:
    same = {name: [driven(name, seed) for seed in range(4)] for name in ("present", "oracle", "imagined", "idm")}
    rows = compared(same)
    assert isnan(next(row for row in rows if (row.what, row.model) == (CHANGE, "imagined")).figures["recovered"])
    met = {bar.name: bar.is_met for bar in bars_of(rows)}
    assert met == {
        "highway: the oracle's collisions fewer than the present frame's, per 100": False,
        "highway: share of the gap that imagination recovers": False,
        "highway: 1 - p of that": False,
        "highway: collisions not more than IDM's, per 100": True,
        "highway: speed by IDM's": False,
    }


# Whole drives


def test_drivers_drive_the_same_seeds_and_a_record_goes_on(tmp_path: Path) -> None:
    path, drivers = tmp_path / "drives.jsonl", {"constant": OTHERS["constant"]}
    rows = evaluate_closed(drivers, ["roundabout"], range(2), Record(path))
    assert (rows[0].n, rows[0].figures["off_road_100"]) == (2, 100.0)  # straight on, where the lane bends
    before = path.read_text()

    def never(seed: int) -> Any:
        raise AssertionError("driven again")

    assert evaluate_closed({"constant": never}, ["roundabout"], range(2), Record(path)) == rows
    assert path.read_text() == before


@pytest.mark.parametrize("name", ["random", "idm", "oracle"])
def test_a_driver_repeats_its_drive(name: str) -> None:
    make = {**HEADROOM, **OTHERS}[name]
    one, other = Simulation("roundabout", 5), Simulation("roundabout", 5)
    for simulation, driver in ((one, make(5)), (other, make(5))):
        for _ in range(2):
            simulation.follow(driver(simulation))
    assert one.scene() == other.scene()
    assert one.time_s == 1.0


def test_a_policy_drives_only_where_it_was_trained() -> None:
    @dataclass
    class Standing:
        algorithm: str = "dqn"
        scenario: str = "merge"

        def choose(self, scene: Any) -> Any:
            return ((0.0, 0.0),) * 6

    make = of_policies([Standing()])["dqn"]  # type: ignore[list-item]  # as good as one
    assert make(0)(Simulation("merge", 0)) == ((0.0, 0.0),) * 6
    with pytest.raises(BadInput, match="trained for 'roundabout'"):
        drive("roundabout", 0, "dqn", make)


def test_frames_of_tokens_are_seen_from_where_the_ego_is_expected_and_hold_the_others() -> None:
    """Told the tokens of constant velocity, a driver foresees what constant velocity does, within the codes' error."""
    simulation, tokenizer = Simulation("highway", 5), bundled_tokenizer()
    scene = simulation.scene()
    foresee = in_frames(tokenizer, lambda asked: np.array([one.moved for one in asked]))(simulation, scene)
    futures = foresee(((0.0, 0.0),) * 6)
    assert [future.horizon_s for future in futures] == [0.5, 1.5, 3.0]
    for future in futures:
        pose = expected_pose(scene, future.horizon_s)
        assert future.pose == pytest.approx(pose)
        there = occupancy(moved(scene, pose, future.horizon_s), len(future.occupied))
        assert (there & future.occupied).sum() > 0.35 * (there | future.occupied).sum() > 0


def test_the_command_prints_tables_and_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from loopwright.cli.drive.closed import Asked, run

    assert (
        run(Asked("closed", ["roundabout"], ["constant"], 1, "validation", [], "small"), tmp_path, as_json=False) == 0
    )
    assert "| constant | 1 |" in capsys.readouterr().out
    assert {one.name for one in tmp_path.iterdir()} == {
        "drive-closed.json", "drive-closed.md", "drive-validation-drives.jsonl",
    }  # fmt: skip
    with pytest.raises(UnknownName):
        run(Asked("headroom", [], ["constant"], 1, "validation", [], "small"), None, as_json=False)
