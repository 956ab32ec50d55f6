"""A record is checked and kept from the command line: heads, verify, exports, prune, vacuum, backup, restore."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.memory import open_memory
from loopwright.settings import settings

Cli = Callable[..., Any]
LOOP = "tests.loops.thermostat:thermostat"
ON = '{"name": "set_heater", "arguments": {"on": true}}'
HEAD = re.compile(r"Head[a-z ]*: ([0-9a-f]{64})")


@pytest.fixture
def ended(loopwright: Cli, tmp_path: Path) -> tuple[str, str]:
    """A session that has run to its end, and the head that was printed then."""
    card = tmp_path / "heats.yaml"
    card.write_text("kind: scripted\nreplies:\n" + f"  - '{ON}'\n" * 12)
    said = loopwright("run", LOOP, "--model-of", f"navigator={card}")
    (row,) = loopwright("sessions", "list", "--json").json
    found = HEAD.search(said.out)
    assert found, said
    return row["id"], found[1]


def test_the_head_of_a_run_shows_a_record_that_was_cut(loopwright: Cli, ended: tuple[str, str]) -> None:
    session, head = ended
    whole = loopwright("sessions", "verify", session, "--head", head, "--loop", LOOP)
    assert whole.code == 0 and f"Head: {head}" in whole.out
    with open_memory(settings().memory_url) as memory, memory._store.write() as connection:
        connection.exec_driver_sql("UPDATE acts SET step = step + 1")
    changed = loopwright("sessions", "verify", session, "--loop", LOOP)
    assert changed.code == 1 and "column `step`: was changed" in changed.out.replace("\n", " ")
    assert loopwright("sessions", "verify", session, "--head", "0" * 64, "--loop", LOOP).code == 1


def test_an_export_is_verified_where_its_memory_is_not(loopwright: Cli, ended: tuple[str, str], tmp_path: Path) -> None:
    session, head = ended
    folder = tmp_path / "out"
    assert head in loopwright("sessions", "export", session, "--out", str(folder)).out
    report = tmp_path / "report.html"
    loopwright("sessions", "report", session, "--out", str(report), "--loop", LOOP)
    assert head in report.read_text()
    loopwright("sessions", "prune", session, "--yes")
    assert loopwright("sessions", "verify", str(folder), "--head", head).code == 0
    manifest = folder / "session.json"
    content = json.loads(manifest.read_text())
    content["ledger"][0]["reason"] = "another"
    manifest.write_text(json.dumps(content))
    changed = loopwright("sessions", "verify", str(folder), "--json")
    assert changed.code == 1
    assert [(c["table"], c["column"]) for c in changed.json[0]["changes"]] == [("acts", "reason")]


def test_a_prune_frees_space_and_finishes_one_that_was_killed(loopwright: Cli, ended: tuple[str, str]) -> None:
    session, _ = ended
    with open_memory(settings().memory_url) as memory:
        with memory.sessions.acquire(session):
            memory.blobs.put(bytes(3_000_000), session_id=session, media_type="image/png", width_px=1, height_px=1)
        file = Path(memory._store.path)
    before = file.stat().st_size
    (device,) = (settings().data_dir / "devices").glob(f"{session}*")
    kept = device.read_bytes()
    said = loopwright("sessions", "prune", session, "--yes", "--json").json[0]
    assert said["pruned"] == session and said["freed_bytes"] > 3_000_000
    assert before - file.stat().st_size > 3_000_000
    assert not device.exists()

    device.write_bytes(kept)  # as where a prune was killed before it came to the devices
    (stray,) = [row for row in loopwright("doctor", "--json").json if row.get("name") == "devices"]
    assert session in stray["repair"]
    assert loopwright("sessions", "prune", session, "--yes").code == 0
    assert not device.exists()
    assert loopwright("sessions", "prune", session, "--yes").code == 2


def test_a_backup_is_restored_into_another_data_folder(
    loopwright: Cli, ended: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, head = ended
    file = tmp_path / "all.zip"
    assert loopwright("sessions", "backup", str(file)).code == 0
    assert loopwright("sessions", "restore", str(file)).code == 2
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / "elsewhere"))
    assert "1 sessions and 1 devices" in loopwright("sessions", "restore", str(file)).out
    assert loopwright("sessions", "verify", session, "--head", head, "--loop", LOOP).code == 0
    assert loopwright("sessions", "vacuum", "--json").json[0]["total_bytes"] > 0
