"""A loop of another package, found by its entry point, keeps the contract without a line of ours.

Its command line is in `tests/cli/test_loops.py`.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts import test_loop_contract as suite
from tests.loops.bench import Bench
from tests.loops.cases import LoopCase, heating

from loopwright.graphs.registry import get_loop, loop_names

NAME = "elsewhere"
THERMOSTAT = Path(__file__).parents[2] / "loops" / "thermostat.py"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `cold_rooms` with the thermostat, called `elsewhere`."""
    site = tmp_path / "site-packages"
    (site / "cold_rooms").mkdir(parents=True)
    shutil.copy(THERMOSTAT, site / "cold_rooms" / "rooms.py")
    declared = "from cold_rooms.rooms import thermostat\n\nLOOP = thermostat.varied(name='elsewhere', version='3')\n"
    (site / "cold_rooms" / "__init__.py").write_text(declared)
    info = site / "cold_rooms-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cold-rooms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[loopwright.loops]\n{NAME} = cold_rooms:LOOP\n")
    monkeypatch.syspath_prepend(str(site))
    yield site
    for module in [name for name in sys.modules if name.partition(".")[0] == "cold_rooms"]:
        del sys.modules[module]


@pytest.fixture
def case(package: Path) -> LoopCase:
    assert NAME in loop_names()
    return LoopCase(loop=get_loop(NAME), models=heating)


def test_it_keeps_the_contract(case: LoopCase, bench: Bench, tmp_path: Path) -> None:
    suite.test_it_draws(case)
    suite.test_its_state_has_a_schema(case)
    suite.test_it_runs_and_replays(case, bench)
    suite.test_a_human_is_asked_before_every_act_that_needs_it_and_no_other(case, bench)
    suite.test_what_a_human_rejects_is_not_done(case, bench)
    suite.TestStop().test_at_rest(case, bench, "waiting")
    suite.TestStop().test_while_it_runs(case, bench)
    suite.test_what_is_not_understood_moves_nothing(case, bench, "guard", "proceed")
    suite.test_sync_and_async_write_the_same(case, bench)
    suite.test_it_has_a_report(case, bench, tmp_path)
    suite.TestServed().test_interrupt_and_resume(case, bench)
