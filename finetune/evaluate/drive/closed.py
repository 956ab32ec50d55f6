"""Closed-loop driving: what whole drives come to, the same seeds for every driver.

    collisions_100   collisions in 100 drives, whoever is at fault; off_road_100, arrived_100 likewise
    progress_m       along the route; speed_mps: that by the time that the drive took
    comfort          share of steps within nuPlan's bounds
    ttc              share of steps without a collision within 1 s, if all went on at constant velocity
    pdms             per drive NC x DAC x (5 TTC + 5 EP + 2 C) / 12, after NAVSIM: NC is 0 after a collision at fault,
                     DAC after leaving the road, TTC and C are the two shares, EP the speed along the route by the
                     scenario's cruising speed, at most 1

NAVSIM scores 4 s scenes against a reference planner; this is the same formula over whole drives, comparable within
these tables only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from loopwright.finetune.evaluate.drive.drivers import MakeDriver
from loopwright.finetune.evaluate.drive.metrics import overlaps, rectangles
from loopwright.finetune.measure.intervals import cluster_bootstrap
from loopwright.finetune.measure.paired import mcnemar
from loopwright.finetune.measure.rows import CHANGE, Bar, Row, averaged
from loopwright.schema import Frozen
from loopwright.tools.drive.scenarios import SCENARIO, ScenarioName
from loopwright.tools.drive.scene import Scene
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.totals import Totals

Progress = Callable[[str], None]
WHAT = "closed loop"
PRESENT, ORACLE, IDM, IMAGINED = "present", "oracle", "idm", "imagined"
TTC_S = (0.25, 0.5, 0.75, 1.0)
RECOVERED, SIGNIFICANT, FASTER = 0.3, 0.05, 1.1
"""What imagination has to reach: of the gap between present frame and oracle, by chance, and of IDM's progress."""
_PER_100 = ("collisions_100", "at_fault_100", "off_road_100", "arrived_100")
_COMPARED = ("collisions_100", "progress_m", "speed_mps", "pdms")


class Driven(Frozen):
    """One drive that has ended."""

    scenario: ScenarioName
    seed: int
    driver: str
    totals: Totals
    tight_steps: int = Field(description="number of steps at whose start a collision was less than 1 s away")

    @property
    def figures(self) -> dict[str, float]:
        """See the module."""
        totals, steps = self.totals, max(1, self.totals.steps)
        speed = totals.progress_m / max(totals.time_s, 0.1)
        found = {
            "collisions_100": 100.0 * (totals.collisions > 0),
            "at_fault_100": 100.0 * totals.at_fault,
            "off_road_100": 100.0 * (totals.off_road > 0),
            "arrived_100": 100.0 * (totals.ended == "arrived"),
            "progress_m": totals.progress_m,
            "speed_mps": speed,
            "comfort": 1.0 - totals.uncomfortable_steps / steps,
            "ttc": 1.0 - self.tight_steps / steps,
        }
        is_safe = not totals.at_fault and not totals.off_road
        progress = min(1.0, max(0.0, speed / SCENARIO[self.scenario].cruise_mps))
        found["pdms"] = is_safe * (5 * found["ttc"] + 5 * progress + 2 * found["comfort"]) / 12
        return found


class Record:
    """Drives that have ended, in a file (JSON lines) that a later run of the same drivers goes on with."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is there.

        Args:
            path: the file; None: nothing is kept.
        """
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        found = [Driven.model_validate_json(line) for line in lines]
        self._by_key = {(one.scenario, one.seed, one.driver): one for one in found}

    def get(self, scenario: ScenarioName, seed: int, driver: str) -> Driven | None:
        """The drive, if it has been driven."""
        return self._by_key.get((scenario, seed, driver))

    def add(self, driven: Driven) -> Driven:
        """Keep a drive."""
        self._by_key[driven.scenario, driven.seed, driven.driver] = driven
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(driven.model_dump_json() + "\n")
        return driven


def drive(scenario: ScenarioName, seed: int, name: str, make: MakeDriver) -> Driven:
    """One drive to its end."""
    simulation, driver, tight = Simulation(scenario, seed), make(seed), 0
    while not simulation.ended:
        tight += is_tight(simulation.scene())
        simulation.follow(driver(simulation))
    return Driven(scenario=scenario, seed=seed, driver=name, totals=simulation.totals, tight_steps=tight)


def is_tight(scene: Scene) -> bool:
    """Whether the ego, straight on at its speed, hits somebody within 1 s who goes on at constant velocity."""
    return any(
        overlaps(
            rectangles([scene.ego.model_copy(update={"x_m": scene.speed_mps * at_s})])[0],
            rectangles([agent.after(at_s) for agent in scene.agents]),
        ).any()
        for at_s in TTC_S
    )


def evaluate_closed(
    drivers: Mapping[str, MakeDriver],
    scenarios: Sequence[ScenarioName],
    seeds: Sequence[int],
    record: Record,
    *,
    on_progress: Progress = lambda _: None,
) -> list[Row]:
    """A row for each driver in each scenario, and what it differs by from the present frame alone, drive by drive."""
    rows: list[Row] = []
    for scenario in scenarios:
        of_driver: dict[str, list[Driven]] = {name: [] for name in drivers}
        for number, seed in enumerate(seeds, 1):  # seed by seed: what an interrupted run leaves is paired
            for name, make in drivers.items():
                known = record.get(scenario, seed, name)
                of_driver[name].append(known or record.add(drive(scenario, seed, name, make)))
            on_progress(f"{scenario}: {number} of {len(seeds)} seeds")
        rows += compared(of_driver)
    return rows


def compared(of_driver: Mapping[str, Sequence[Driven]]) -> list[Row]:
    """The rows of one scenario, from the drives of each driver on the same seeds in the same order."""
    return [_row(drives) for drives in of_driver.values()] + list(_changes(of_driver))


def _row(drives: Sequence[Driven]) -> Row:
    figures = [one.figures for one in drives]
    values: dict[str, ArrayLike] = {name: [each[name] for each in figures] for name in figures[0]}
    seeds = [str(one.seed) for one in drives]
    return averaged(WHAT, drives[0].scenario, drives[0].driver, "", values, seeds)


def _changes(of_driver: Mapping[str, Sequence[Driven]]) -> Iterable[Row]:
    """Each driver but the present frame's minus the present frame's."""
    if PRESENT not in of_driver:
        return
    before = of_driver[PRESENT]
    gap = _collisions(before).mean() - _collisions(of_driver[ORACLE]).mean() if ORACLE in of_driver else nan
    for name, after in of_driver.items():
        if name == PRESENT:
            continue
        pairs = list(zip(before, after, strict=True))
        found = {
            figure: cluster_bootstrap(
                [b.figures[figure] - a.figures[figure] for a, b in pairs], [a.seed for a, _ in pairs]
            )
            for figure in _COMPARED
        }
        test = mcnemar(_collisions(before).tolist(), _collisions(after).tolist())
        gained = _collisions(before).mean() - _collisions(after).mean()
        figures = {figure: interval.mean for figure, interval in found.items()} | {
            "only_present": float(test.only_first),
            "only_this": float(test.only_second),
            "p": test.p,
            "recovered": float(gained / gap) if gap > 0 else nan,
        }
        intervals = {figure: (interval.low, interval.high) for figure, interval in found.items()}
        yield Row(
            what=CHANGE, world=before[0].scenario, model=name, variant=f"minus {PRESENT}", n=len(pairs),
            n_cases=len(pairs), figures=figures, intervals=intervals,
        )  # fmt: skip


def _collisions(drives: Sequence[Driven]) -> NDArray[np.bool_]:
    return np.array([one.totals.collisions > 0 for one in drives])


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """What was promised of each scenario among `rows`: of the planner, and of imagination where that was measured."""
    return [bar for world in dict.fromkeys(row.world for row in rows) for bar in _bars_of(rows, world)]


def _bars_of(rows: Sequence[Row], world: str) -> Iterable[Bar]:
    of = {row.model: row.figures for row in rows if (row.what, row.world) == (WHAT, world)}
    change = {row.model: row.figures for row in rows if (row.what, row.world) == (CHANGE, world)}
    if ORACLE in change:
        fewer = -change[ORACLE]["collisions_100"]
        yield Bar(f"{world}: the oracle's collisions fewer than the present frame's, per 100", fewer, 0.01)
    if IMAGINED not in of:
        return
    mine = of[IMAGINED]
    if IMAGINED in change:
        yield Bar(f"{world}: share of the gap that imagination recovers", change[IMAGINED]["recovered"], RECOVERED)
        yield Bar(f"{world}: 1 - p of that", 1 - change[IMAGINED]["p"], 1 - SIGNIFICANT)
    if IDM in of:
        fewer = of[IDM]["collisions_100"] - mine["collisions_100"]
        yield Bar(f"{world}: collisions not more than IDM's, per 100", fewer, 0.0)
        yield Bar(f"{world}: speed by IDM's", mine["speed_mps"] / of[IDM]["speed_mps"], FASTER)
    for name in of.keys() & {"random", "constant", "dqn", "ppo"}:
        fewer = of[name]["collisions_100"] - mine["collisions_100"]
        yield Bar(f"{world}: collisions fewer than those of {name}, per 100", fewer, 0.01)
