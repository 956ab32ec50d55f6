"""A session is resumed with the devices that it has moved, standing as it left them; else nothing is sent (rule 4)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.loops.bench import Bench
from tests.loops.cases import CASES, LoopCase

from loopwright.errors import BadInput, IntegrityError
from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.session import Session
from loopwright.memory import open_memory
from loopwright.tools.device import Device

each_case = pytest.mark.parametrize("case", [CASES["kiln"], CASES["nested"]], ids=lambda case: case.loop.name)


def acted(bench: Bench, case: LoopCase, n: int = 1) -> Session:
    """A session that has done `n` acts with consent and asks for the next one."""
    session = bench.begin(case, approval="human")
    assert session.run() == "waiting"
    for _ in range(n):
        session.say("approve")
        assert session.run() == "waiting"
    return session


def device_of(bench: Bench, session: Session) -> Path:
    (file,) = bench.devices.glob(f"{session.id}*.sqlite")
    return file


def refused(session: Session, match: str) -> None:
    """Assert that it is not resumed, and that nothing is sent and nothing changes."""
    memory = session.memory
    ledger, state = memory.ledger.of(session.id), session.state
    session.say("approve")
    for attempt in (session.run, lambda: session.rewind(0)):
        with pytest.raises(IntegrityError, match=match) as caught:
            attempt()
        assert caught.value.exit_code == 4
        assert "sessions fork" in str(caught.value)
    assert (memory.ledger.of(session.id), session.state) == (ledger, state)


@each_case
def test_a_device_that_is_gone(case: LoopCase, bench: Bench, tmp_path: Path) -> None:
    case = varied(case)
    session = acted(bench, case)
    device, kept = device_of(bench, session), tmp_path / "kept"
    shutil.move(device, kept)
    refused(session, "does not know")
    assert Device(device, {}).last_key() is None
    shutil.move(kept, device)
    assert session.run() == "waiting", "the repair"
    bench.whole(session)


def test_a_shared_session_beside_another_data_folder(url: str, tmp_path: Path) -> None:
    case = varied(CASES["kiln"])
    with open_memory(url) as memory, open_memory(url) as elsewhere:
        session = case.loop.start(memory, models=case.models(), devices=tmp_path / "a", **case.config, approval="human")
        session.run()
        session.say("approve")
        session.run()
        there = case.loop.resume(session.id, elsewhere, models=case.models(), devices=tmp_path / "b")
        refused(there, "does not know")
        assert session.run() == "waiting"


@each_case
def test_an_older_copy_of_the_device(case: LoopCase, bench: Bench, tmp_path: Path) -> None:
    case = varied(case)
    session = acted(bench, case)
    device = device_of(bench, session)
    shutil.copy(device, tmp_path / "older")
    session.say("approve")
    session.run()
    shutil.copy(tmp_path / "older", device)
    refused(session, "does not know")


def test_an_older_copy_of_the_memory(bench: Bench, tmp_path: Path) -> None:
    case = varied(CASES["kiln"])
    session = acted(bench, case)
    bench.close()
    shutil.copytree(bench.folder, tmp_path / "older")
    bench = Bench(bench.folder)
    session = bench.resume_loop(case.loop, session.id, case.models())
    session.say("approve")
    session.run()
    bench.close()
    shutil.copytree(bench.devices, tmp_path / "older" / "devices", dirs_exist_ok=True)
    older = Bench(tmp_path / "older")
    refused(older.resume_loop(case.loop, session.id, case.models()), "is not on the ledger")
    older.close()


@pytest.mark.parametrize("changed", [{"room_c": 29.0}, {"photos": 0}])
def test_a_device_that_somebody_moved_or_whose_counter_was_set_back(bench: Bench, changed: dict[str, Any]) -> None:
    session = acted(bench, varied(CASES["kiln"]))
    with closing(sqlite3.connect(device_of(bench, session))) as connection, connection:
        for name, value in changed.items():
            connection.execute("UPDATE device SET state = json_set(state, ?, ?)", (f"$.{name}", value))
    refused(session, "its state is not the one")


def test_without_its_device_it_goes_on_as_a_fork_which_counts_on(bench: Bench) -> None:
    case = varied(CASES["kiln"])
    session = acted(bench, case, n=2)
    device_of(bench, session).unlink()
    child = case.loop.fork(session, 2)
    assert bench.worlds(child.id)[""]["photos"] == 3
    child.say("approve")
    assert child.run() == "waiting"
    bench.whole(child)
    child.rewind(2)
    assert bench.worlds(child.id)[""]["photos"] == 3


def test_a_rewind_undoes_no_count(bench: Bench) -> None:
    session = acted(bench, varied(CASES["kiln"]), n=2)
    session.rewind(0)
    assert bench.worlds(session.id)[""]["photos"] == 3


def test_a_fork_that_was_killed_before_it_began_is_stopped_and_resumes_as_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = varied(CASES["kiln"])
    session = acted(bench, case)
    monkeypatch.setattr(Session, "adopt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        case.loop.fork(session, 0)
    monkeypatch.undo()
    (child,) = (row.id for row in bench.memory.sessions.list() if row.parent)
    deliver(bench.memory, child, "STOP")
    assert bench.memory.sessions.get(child).status == "stopped"
    for _ in range(2):
        with pytest.raises(BadInput, match="not finished"):
            bench.resume_loop(case.loop, child, case.models()).run()


def varied(case: LoopCase) -> LoopCase:
    """A case that has to be approved several times."""
    return LoopCase(
        loop=case.loop.varied(state={**case.loop.state, "target_c": 25.0}), models=case.models, config=case.config
    )
