"""A session's device files are part of what `verify` covers."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.loops.bench import Bench
from tests.loops.cases import CASES

from loopwright.graphs.verify import verify_session
from loopwright.memory import Verification

CASE = CASES["nested"]


@pytest.fixture
def session_id(bench: Bench) -> str:
    session = bench.begin(CASE, approval="guard")
    assert session.run() == "succeeded"
    return session.id


def verify(bench: Bench, session_id: str) -> Verification:
    return verify_session(bench.memory, session_id, CASE.loop, devices=bench.devices)


def file_of(bench: Bench, session_id: str) -> Path:
    (file,) = bench.devices.glob(f"{session_id}*.sqlite")
    return file


def test_every_column_of_a_device_shows_that_it_was_changed(bench: Bench, session_id: str) -> None:
    assert verify(bench, session_id).ok, verify(bench, session_id).changes
    file = file_of(bench, session_id)
    whole = file.read_bytes()
    changes = {
        "device.state": ("UPDATE device SET state = replace(state, ':', ':1')",),
        "device.token": ("UPDATE device SET token = token + 1", "UPDATE device SET token = 0"),
        "applied.seq": ("UPDATE applied SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM applied)",),
        "applied.key": ("UPDATE applied SET key = key || 'x' WHERE seq = 1",),
        "applied.act": ("UPDATE applied SET act = replace(act, 'true', 'false')",),
        "applied.outcome": ("UPDATE applied SET outcome = replace(outcome, 'done', 'failed')",),
    }
    for place, statements in changes.items():
        for statement in statements:
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute(statement)
            found = verify(bench, session_id)
            table, column = place.split(".")
            assert any(change.table == table and change.column in (column, "") for change in found.changes), statement
            file.write_bytes(whole)
    assert verify(bench, session_id).ok


def test_a_device_that_is_gone_or_none_is_named(bench: Bench, session_id: str) -> None:
    file = file_of(bench, session_id)
    file.write_bytes(b"no device")
    assert "no device file any more" in verify(bench, session_id).reason
    file.unlink()
    assert "is in no device file of" in verify(bench, session_id).reason
    assert not file.exists(), "looking makes no new one"


def test_an_act_that_no_ledger_sent_is_named(bench: Bench, session_id: str) -> None:
    with closing(sqlite3.connect(file_of(bench, session_id))) as connection, connection:
        connection.execute(
            "INSERT INTO applied (key, act, outcome) SELECT 'by hand', act, outcome FROM applied LIMIT 1"
        )
    assert '`applied` row "by hand"' in verify(bench, session_id).reason
