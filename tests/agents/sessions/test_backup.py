"""Backups: one file that holds all of a memory, of either database, into either; made while sessions run."""

import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.agents.sessions.backup import back_up, restore
from loopwright.errors import BadInput, IntegrityError
from loopwright.memory import Memory, open_memory
from loopwright.schema import Act, Outcome
from loopwright.tools.device import Change, Device


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Memory]:
    """An empty memory elsewhere."""
    (tmp_path / "other").mkdir()
    with open_memory(f"sqlite:///{tmp_path / 'other' / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    return tmp_path / "devices"


def begun(memory: Memory, devices: Path) -> str:
    """A session with rows in most tables, and a device."""
    session_id = memory.sessions.create("carm", {"target": "T12"}).id
    with memory.sessions.acquire(session_id):
        memory.blobs.put(b"pixels", session_id=session_id, media_type="image/png", width_px=2, height_px=3)
        memory.events.append(session_id, "seen", {"x": 0.1, "text": "Ä"}, branch=0, step=0, key="0/see.1/1")
        memory.steps.record(session_id, 0, 0, label="left", signature="s", detail={"mm": 1})
        act_once(memory, session_id, devices, 0)
        memory.sessions.set_status(session_id, "paused")
    memory.inbox.put(session_id, "a note")
    return session_id


def act_once(memory: Memory, session_id: str, devices: Path, n: int) -> None:
    act, key = Act(tool="move", arguments={"n": n}), f"{session_id}/{n}"
    device = Device(devices / f"{session_id}.sqlite", {"n": 0})
    memory.ledger.intend(session_id, key, act, step=n)
    memory.ledger.authorise(key, act.sha256, "guard")
    done = Outcome(key=key, status="done", result={"n": n})
    memory.ledger.settle(key, device.apply(key, act, 1, lambda state: Change({"n": state["n"] + 1}, done)))


def test_a_restored_memory_is_as_it_was(memory: Memory, other: Memory, devices: Path, tmp_path: Path) -> None:
    sessions = [begun(memory, devices) for _ in range(2)]
    (devices / "somebody-elses.sqlite").touch()
    made = back_up(memory, devices, tmp_path / "kept" / "all.zip")
    assert (set(made.heads), made.n_devices) == (set(sessions), 2)
    assert not [p for p in (tmp_path / "kept").iterdir() if p.name != "all.zip"]
    memory.inbox.put(sessions[0], "after the backup")

    restore(other, tmp_path / "other" / "devices", tmp_path / "kept" / "all.zip")

    for session_id in sessions:
        assert other.verify(session_id, head=made.heads[session_id]).ok
        assert Device(tmp_path / "other" / "devices" / f"{session_id}.sqlite", {}).state() == {"n": 1}
    assert other.events.read(sessions[1]) == memory.events.read(sessions[1])
    assert len(other.inbox.unread(sessions[0])) == 1
    with other.sessions.acquire(sessions[0]):  # and goes on from there
        act_once(other, sessions[0], tmp_path / "other" / "devices", 1)
    assert other.verify(sessions[0]).ok


def test_a_backup_goes_into_the_other_database(memory: Memory, other: Memory, devices: Path, tmp_path: Path) -> None:
    session_id = begun(other, devices)
    made = back_up(other, devices, tmp_path / "all.zip")
    restore(memory, tmp_path / "elsewhere", tmp_path / "all.zip")
    assert memory.verify(session_id, head=made.heads[session_id]).ok
    said = memory.inbox.put(session_id, "numbers go on")
    assert said.id > memory.inbox.unread(session_id)[0].id
    assert memory.steps.near_history(session_id, 5).steps[0].label == "left"


def test_a_restore_that_was_killed_is_finished(memory: Memory, devices: Path, tmp_path: Path) -> None:
    session_id = begun(memory, devices)
    back_up(memory, devices, tmp_path / "all.zip")
    memory.retention.prune(session_id)
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:  # its devices were written, its rows were not
        (devices / f"{session_id}.sqlite").write_bytes(packed.read(f"devices/{session_id}.sqlite"))
    restore(memory, devices, tmp_path / "all.zip")
    assert memory.verify(session_id).ok


def test_nothing_is_written_over(memory: Memory, other: Memory, devices: Path, tmp_path: Path) -> None:
    session_id = begun(memory, devices)
    file = tmp_path / "all.zip"
    back_up(memory, devices, file)
    with pytest.raises(BadInput, match="is there already"):
        back_up(memory, devices, file)
    with pytest.raises(BadInput, match="has sessions already"):
        restore(memory, devices, file)
    Device(devices / f"{session_id}.sqlite", {}).hold(9)
    with pytest.raises(BadInput, match="another device"):
        restore(other, devices, file)
    assert other.sessions.list() == []


def test_a_damaged_file_is_refused(memory: Memory, other: Memory, devices: Path, tmp_path: Path) -> None:
    begun(memory, devices)
    file = tmp_path / "all.zip"
    back_up(memory, devices, file)
    whole = file.read_bytes()
    for damaged in (b"", b"no zip", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"all\.zip"):
            restore(other, tmp_path / "elsewhere", file)
    assert other.sessions.list() == []


def test_a_forged_backup_is_found_out(memory: Memory, other: Memory, devices: Path, tmp_path: Path) -> None:
    begun(memory, devices)
    back_up(memory, devices, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        packed.extractall(tmp_path / "parts")
    with closing(sqlite3.connect(tmp_path / "parts" / "memory.sqlite")) as connection, connection:
        connection.execute("UPDATE acts SET step = 7")
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as forged:
        for part in ("backup.json", "memory.sqlite"):
            forged.write(tmp_path / "parts" / part, part)
    with pytest.raises(IntegrityError, match="column `step`: was changed"):
        restore(other, tmp_path / "elsewhere", tmp_path / "forged.zip")


def test_a_backup_of_sessions_that_run_is_of_one_moment(
    memory: Memory, other: Memory, devices: Path, tmp_path: Path
) -> None:
    """No act is on the restored ledger that its device has not done."""
    session_id = begun(memory, devices)
    done = threading.Event()

    def run() -> None:
        address = memory._store.address.render_as_string(hide_password=False)
        with open_memory(address) as mine, mine.sessions.acquire(session_id):
            for n in range(1, 500):
                if done.is_set():
                    return
                act_once(mine, session_id, devices, n)

    running = threading.Thread(target=run)
    running.start()
    back_up(memory, devices, tmp_path / "all.zip")
    done.set()
    running.join()
    restore(other, tmp_path / "elsewhere", tmp_path / "all.zip")
    entries = other.ledger.of(session_id)
    device = Device(tmp_path / "elsewhere" / f"{session_id}.sqlite", {})
    settled = [entry for entry in entries if entry.status == "settled"]
    assert all(device.outcome_of(entry.key) is not None for entry in settled)
    assert device.state()["n"] - len(settled) in (0, 1)
    assert device.state()["n"] <= len(entries)
