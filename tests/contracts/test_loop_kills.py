"""SIGKILL after anything that a session writes: resumed, it comes to the same payloads and the same world."""

from pathlib import Path

import pytest
from tests.loops.bench import Bench, Processes, Template, written
from tests.loops.cases import CASES, LoopCase

each_case = pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.loop.name)


class Ended:
    """How a session in a folder ended."""

    def __init__(self, folder: Path, case: LoopCase, session_id: str) -> None:
        bench = Bench(folder)
        session = bench.resume(case, session_id)
        self.status, self.written, self.worlds = session.status, written(session.events), bench.worlds(session_id)
        self.acts = [(e.act, e.status, e.approved_by) for e in bench.memory.ledger.of(session_id)]
        bench.whole(session)
        bench.close()


@each_case
@pytest.mark.parametrize("approval", ["guard", "human"])
def test_a_run_that_is_killed_anywhere_comes_to_the_same(
    case: LoopCase, approval: str, tmp_path: Path, processes: Processes
) -> None:
    template = Template(case, tmp_path, processes, approval=approval)
    undisturbed = template.copy()
    said = template.obey(undisturbed, "run")
    assert said is not None and said["status"] == "succeeded"
    expected = Ended(undisturbed, case, template.session_id)
    assert expected.acts
    for n in range(1, said["writes"]):
        folder = template.copy()
        assert template.obey(folder, "run", kill_after=n) is None, f"it was not killed after write {n}"
        assert template.obey(folder, "run") is not None
        found = Ended(folder, case, template.session_id)
        assert found.written == expected.written, f"killed after write {n}"
        assert (found.status, found.worlds, found.acts) == (expected.status, expected.worlds, expected.acts), n
