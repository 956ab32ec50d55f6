"""The event log: append-only, idempotent by key, chained, and honest about what was done to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DatabaseError

from loopwright.errors import DeveloperError, UnknownName
from loopwright.memory import Memory, open_memory
from loopwright.schema import GENESIS, chain_hash

Execute = Callable[[str], list[tuple[Any, ...]]]
UNLOCK = {
    "sqlite": ["DROP TRIGGER events_no_update", "DROP TRIGGER events_no_delete", "DROP TRIGGER events_no_replace"],
    "postgresql": ["ALTER TABLE events DISABLE TRIGGER ALL"],
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def test_corrections_are_found_in_all_sessions_of_a_loop(memory: Memory, new_session: Callable[..., str]) -> None:
    ids = [new_session(loop) for loop in ("surgery", "surgery", "carm")]
    for i, session_id in enumerate(ids):
        memory.events.append(session_id, "heard", {}, branch=0, step=0)
        memory.events.append(session_id, "corrected", {"of": i}, branch=0, step=1)
    assert [e.payload["of"] for e in memory.events.corrections("surgery")] == [0, 1]
    assert [e.payload["of"] for e in memory.events.corrections("surgery", session_id=ids[1])] == [1]


def test_events_form_a_chain_from_genesis(memory: Memory, session_id: str) -> None:
    written = [memory.events.append(session_id, "seen", {"i": i}, branch=0, step=i) for i in range(3)]
    assert memory.events.read(session_id) == written
    assert [e.seq for e in written] == [1, 2, 3]
    assert [e.prev_hash for e in written] == [GENESIS, written[0].hash, written[1].hash]
    for e in written:
        assert e.hash == chain_hash(e.prev_hash, session_id, e.seq, e.created_at, e.payload_hash, e.key)
        assert e.created_at.tzinfo is not None and e.created_at.utcoffset() == timedelta(0)
    assert memory.events.head(session_id) == written[-1].hash
    assert memory.events.read(session_id, after=2) == written[2:]
    verification = memory.verify(session_id)
    assert verification.ok and verification.n == 3


def test_an_empty_log_is_whole(memory: Memory, session_id: str) -> None:
    assert memory.events.head(session_id) == GENESIS
    assert memory.verify(session_id).ok


def test_the_same_key_gives_the_recorded_event(
    memory: Memory, session_id: str, new_session: Callable[..., str]
) -> None:
    first = memory.events.append(session_id, "seen", {"i": 1}, branch=0, step=1, key="node-1")
    again = memory.events.append(session_id, "seen", {"i": 2}, branch=0, step=1, key="node-1")
    assert again == first == memory.events.find(session_id, "node-1")
    assert memory.events.find(session_id, "node-2") is None
    assert memory.events.append(new_session(), "seen", {}, branch=0, step=1, key="node-1").seq == 1
    assert len(memory.events.read(session_id)) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(TEXT, JSON, max_size=4))
def test_any_json_payload_reads_back_and_verifies(memory: Memory, session_id: str, payload: dict[str, Any]) -> None:
    written = memory.events.append(session_id, "any", payload, branch=0, step=0)
    assert memory.events.read(session_id, after=written.seq - 1) == [written]
    assert written.payload == payload
    assert memory.verify(session_id).ok


def test_tuples_and_number_keys_are_kept_as_json_reads_them(memory: Memory, session_id: str) -> None:
    payload = {"pair": (1, 2), "by number": {2: "b", 10: "a"}}
    read = {"pair": [1, 2], "by number": {"2": "b", "10": "a"}}
    assert memory.events.append(session_id, "x", payload, branch=0, step=0).payload == read
    assert memory.verify(session_id).ok


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"pixels", object(), "\ud800"])
def test_what_is_not_json_is_refused(memory: Memory, session_id: str, value: object) -> None:
    with pytest.raises(DeveloperError, match="The payload of event `x` is not JSON"):
        memory.events.append(session_id, "x", {"value": value}, branch=0, step=0)
    assert memory.events.read(session_id) == []


def test_an_unknown_session_suggests_near_ids(memory: Memory, session_id: str) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean `{session_id}`"):
        memory.events.append(session_id[:-1] + "?", "x", {}, branch=0, step=0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = '{}' WHERE seq = 2",
        "DELETE FROM events WHERE seq = 3",
        "DELETE FROM events",
        "DELETE FROM sessions",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 2",
        "TRUNCATE events CASCADE",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(
    memory: Memory, session_id: str, execute: Execute, statement: str
) -> None:
    for i in range(3):
        memory.events.append(session_id, "seen", {"i": i}, branch=0, step=i)
    with pytest.raises(DatabaseError):
        execute("PRAGMA foreign_keys = ON") if "sqlite" in memory.url and "sessions" in statement else None
        execute(statement)
    assert memory.verify(session_id).ok
    assert len(memory.events.read(session_id)) == 3


@pytest.mark.parametrize(
    ("statements", "broken_seq", "reason"),
    [
        (["UPDATE events SET payload = '{\"i\":7}' WHERE seq = 3"], 3, "event 3 was changed"),
        (["UPDATE events SET step = 9 WHERE seq = 1"], 1, "event 1 was changed"),
        (["UPDATE events SET kind = 'felt' WHERE seq = 5"], 5, "event 5 was changed"),
        (["UPDATE events SET created_at = '1999-01-01 00:00:00.000000' WHERE seq = 2"], 2, "event 2 was changed"),
        (["UPDATE events SET payload = 'nonsense' WHERE seq = 2"], 2, "event 2 cannot be read"),
        (["DELETE FROM events WHERE seq = 2"], 2, "event 2 is missing"),
        (["DELETE FROM events WHERE seq = 1"], 1, "event 1 is missing"),
        (["DELETE FROM events WHERE seq = 5"], 5, "5 events on record, its log has 4"),
        (["DELETE FROM events"], 1, "5 events on record, its log has 0"),
        (
            [
                "UPDATE events SET seq = 9 WHERE seq = 3",
                "UPDATE events SET seq = 3 WHERE seq = 4",
                "UPDATE events SET seq = 4 WHERE seq = 9",
            ],
            3,
            "event 3 does not follow event 2",
        ),
        (["UPDATE sessions SET n_events = 4"], 5, "4 events on record, its log has 5"),
        (["UPDATE sessions SET head_hash = 'other'"], 5, "not the one on record"),
    ],
)
def test_verify_names_the_first_broken_link(
    memory: Memory, session_id: str, execute: Execute, statements: list[str], broken_seq: int, reason: str
) -> None:
    for i in range(5):
        memory.events.append(session_id, "seen", {"i": i}, branch=0, step=i)
    for statement in [*UNLOCK["sqlite" if memory.url.startswith("sqlite") else "postgresql"], *statements]:
        execute(statement)
    verification = memory.verify(session_id)
    assert not verification.ok
    assert verification.broken_seq == broken_seq
    assert any(reason in str(change) for change in verification.changes)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's type refuses such a time
def test_verify_finds_a_time_that_is_none(memory: Memory, session_id: str, execute: Execute) -> None:
    memory.events.append(session_id, "seen", {}, branch=0, step=0)
    for statement in [*UNLOCK["sqlite"], "UPDATE events SET created_at = 'yesterday'"]:
        execute(statement)
    assert "event 1 cannot be read" in memory.verify(session_id).reason


def test_a_forged_event_is_found_though_its_own_hash_fits(memory: Memory, session_id: str, execute: Execute) -> None:
    memory.events.append(session_id, "seen", {"i": 0}, branch=0, step=0)
    last = memory.events.append(session_id, "seen", {"i": 1}, branch=0, step=1)
    forged = last.model_copy(update={"seq": 3, "prev_hash": last.hash})
    hashed = chain_hash(last.hash, session_id, 3, forged.created_at, forged.payload_hash, None)
    at = forged.created_at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    at += "+00" if "postgresql" in memory.url else ""
    execute(
        "INSERT INTO events (session_id, seq, branch, step, kind, payload, created_at, prev_hash, hash) "
        f"""VALUES ('{session_id}', 3, 0, 1, 'seen', '{{"i":1}}', '{at}', '{last.hash}', '{hashed}')"""
    )
    verification = memory.verify(session_id)
    assert (verification.ok, verification.broken_seq) == (False, 3)


def test_threads_append_one_chain(memory: Memory, session_id: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: memory.events.append(session_id, "seen", {"i": i}, branch=0, step=i), range(40)))
    assert (memory.verify(session_id).ok, memory.verify(session_id).n) == (True, 40)


WRITER = """
import sys, time
from contextlib import suppress
from loopwright.errors import SessionBusy
from loopwright.memory import open_memory
url, session_id, n, name = sys.argv[1:]
i = 0
with open_memory(url) as memory:
    while i < int(n):
        with suppress(SessionBusy), memory.sessions.acquire(session_id):
            for i in range(i, min(i + 5, int(n))):
                memory.events.append(session_id, "seen", {"by": name, "i": i}, branch=0, step=i, key=f"{name}-{i}")
            i += 1
        time.sleep(0.01)
"""


def _writer(url: str, session_id: str, n: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, session_id, str(n), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_hold_a_session_in_turns_append_one_chain(url: str, memory: Memory, unheld_id: str) -> None:
    writers = [_writer(url, unheld_id, 25, name) for name in "ab"]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    events = memory.events.read(unheld_id)
    assert len(events) == 50
    assert memory.verify(unheld_id).ok
    for name in "ab":
        assert [e.payload["i"] for e in events if e.payload["by"] == name] == list(range(25))


KILLED_WRITERS = """
import os, sys
from loopwright.memory import open_memory
url, session_id = sys.argv[1:]
for _ in sys.stdin:
    if os.fork() == 0:
        with open_memory(url) as memory, memory.sessions.acquire(session_id):
            print("process", os.getpid(), flush=True)
            while True:
                seq = memory.events.append(session_id, "seen", {}, branch=0, step=0).seq
                os.write(1, b"%d\\n" % seq)  # a whole line or none of it, whenever the kill comes
    os.wait()
    print("dead", flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_reported(url: str, memory: Memory, unheld_id: str) -> None:
    """Ten times SIGKILL in the middle of appending: the chain is whole, and holds every event that was acknowledged."""
    command = [sys.executable, "-c", KILLED_WRITERS, url, unheld_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writers:
        assert writers.stdin is not None and writers.stdout is not None
        for attempt in range(10):
            writers.stdin.write("go\n")
            pid = int(writers.stdout.readline().removeprefix("process "))
            reported = [int(writers.stdout.readline()) for _ in range(2)]
            time.sleep(0.002 * attempt)
            os.kill(pid, signal.SIGKILL)
            reported += [int(line) for line in iter(writers.stdout.readline, "dead\n")]
            verification = memory.verify(unheld_id)
            assert verification.ok, verification.reason
            assert reported[-1] <= verification.n <= reported[-1] + 1
        writers.stdin.close()
    with open_memory(url) as reopened, reopened.sessions.acquire(unheld_id):
        n = reopened.verify(unheld_id).n
        assert reopened.events.append(unheld_id, "seen", {}, branch=0, step=0).seq == n + 1
        assert reopened.verify(unheld_id).ok
