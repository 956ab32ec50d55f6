"""SIGKILL after anything that a session writes: resumed, it comes to the same payloads and the same world."""

from pathlib import Path

import pytest
from tests.forking import Processes
from tests.loops.bench import Bench, Template, written
from tests.loops.cases import CASES, LoopCase

each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case.is_slow else [], id=name) for name, case in CASES.items()],
)


class Ended:
    """How a session in a folder ended."""

    def __init__(self, folder: Path, case: LoopCase, session_id: str) -> None:
        bench = Bench(folder)
        events = bench.memory.events.read(session_id)
        self.status, self.written = bench.memory.sessions.get(session_id).status, written(events)
        self.worlds = bench.worlds(session_id)
        self.acts = [(e.act, e.status, e.approved_by) for e in bench.memory.ledger.of(session_id)]
        assert bench.memory.verify(session_id).ok
        assert len([e for e in events if e.kind == "finished" and not e.payload["path"]]) == 1
        bench.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ended) and vars(self) == vars(other)


def replays(folder: Path, case: LoopCase, session_id: str) -> None:
    """Assert that a session in a folder comes out of its record again."""
    bench = Bench(folder)
    assert case.loop.replay(session_id, bench.memory).difference is None
    bench.close()


@each_case
@pytest.mark.parametrize("approval", ["human", pytest.param("guard", marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_anywhere_comes_to_the_same(
    case: LoopCase, approval: str, tmp_path: Path, processes: Processes
) -> None:
    template = Template(case, tmp_path, processes, approval=approval)
    undisturbed = template.copy()
    said = template.obey(undisturbed, "run")
    assert said is not None
    assert said["status"] == "succeeded"
    replays(undisturbed, case, template.session_id)
    expected = Ended(undisturbed, case, template.session_id)
    assert expected.acts
    for n in range(1, said["writes"]):
        folder = template.copy()
        assert template.obey(folder, "run", kill_after=n) is None, f"it was not killed after write {n}"
        assert template.obey(folder, "run") is not None
        found = Ended(folder, case, template.session_id)
        assert found.written == expected.written, f"killed after write {n}"
        assert found == expected, f"killed after write {n}"
        if n % 10 == 0:
            replays(folder, case, template.session_id)


@each_case
def test_a_run_that_is_killed_again_and_again_comes_to_the_same(
    case: LoopCase, tmp_path: Path, processes: Processes
) -> None:
    template = Template(case, tmp_path, processes, approval="human")
    undisturbed, folder = template.copy(), template.copy()
    assert template.obey(undisturbed, "run") is not None
    lives = 1
    while template.obey(folder, "run", kill_after=3 + 2 * lives) is None:
        lives += 1
    assert lives > 3
    assert Ended(folder, case, template.session_id) == Ended(undisturbed, case, template.session_id)
    replays(folder, case, template.session_id)
