"""Sessions and their leases: one live process runs a session, a dead one never keeps it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loopwright.errors import BadInput, SessionBusy, Stopped, UnknownName
from loopwright.memory import Memory, open_memory
from loopwright.memory.lease import HEARTBEAT_S, STALE_S
from loopwright.schema import GENESIS, Act

Execute = Callable[[str], list[tuple[Any, ...]]]

HOLDER = """
import sys, time
from loopwright.memory import open_memory
memory = open_memory(sys.argv[1])
memory.sessions.acquire(sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""


def _holder(url: str, session_id: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, url, session_id], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_session_reads_back(memory: Memory) -> None:
    created = memory.sessions.create("carm", {"targets": ["T12"], "limit": 1.5})
    assert memory.sessions.get(created.id) == created
    assert (created.status, created.n_events, created.head_hash, created.parent) == ("created", 0, GENESIS, None)
    assert created.created_at - datetime.now(UTC) < timedelta(seconds=5)
    fork = memory.sessions.create("carm", {}, parent=created.id)
    assert [s.id for s in memory.sessions.list()] == [fork.id, created.id]
    assert memory.sessions.get(fork.id).parent == created.id


def test_status_changes_and_a_wrong_one_is_named(memory: Memory, session_id: str) -> None:
    assert memory.sessions.set_status(session_id, "running").status == "running"
    assert memory.sessions.get(session_id).status == "running"
    with pytest.raises(UnknownName, match=r"Unknown session status 'runing'\. Did you mean `running`"):
        memory.sessions.set_status(session_id, "runing")  # type: ignore[arg-type]  # what a wrong caller does


def test_unknown_sessions_and_parents_suggest_near_ids(memory: Memory, session_id: str) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean `{session_id}`"):
        memory.sessions.get(session_id[:-2])
    with pytest.raises(UnknownName):
        memory.sessions.create("carm", {}, parent="carm-none")
    with pytest.raises(UnknownName):
        memory.sessions.acquire("nobody")


def test_one_holder_at_a_time_and_release_frees_it(memory: Memory, session_id: str) -> None:
    with memory.sessions.acquire(session_id) as lease:
        lease.check()
        with pytest.raises(SessionBusy, match=f"run by process {os.getpid()} on this machine"):
            memory.sessions.acquire(session_id)
        with pytest.raises(SessionBusy):
            memory.retention.prune(session_id)
    memory.sessions.acquire(session_id).release()


def test_a_live_process_keeps_its_session_and_a_killed_one_loses_it_at_once(
    url: str, memory: Memory, session_id: str
) -> None:
    holder = _holder(url, session_id)
    with pytest.raises(SessionBusy, match=f"run by process {holder.pid}"):
        memory.sessions.acquire(session_id)
    memory.sessions.set_status(session_id, "running")
    assert memory.sessions.interrupted() == frozenset()
    os.kill(holder.pid, signal.SIGKILL)
    while holder.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    assert memory.sessions.interrupted() == {session_id}
    with memory.sessions.acquire(session_id):
        assert memory.sessions.interrupted() == frozenset()
        assert time.monotonic() - started < 1


def test_a_holder_elsewhere_that_stopped_beating_is_taken_over(
    memory: Memory, session_id: str, execute: Execute
) -> None:
    memory.sessions.acquire(session_id)
    execute("UPDATE leases SET host = 'elsewhere'")
    with pytest.raises(SessionBusy, match="on `elsewhere`"):
        memory.sessions.acquire(session_id)
    old = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=STALE_S + 1)
    execute(f"UPDATE leases SET heartbeat_at = '{old.isoformat(' ', 'microseconds')}'")
    memory.sessions.acquire(session_id).release()


def test_a_holder_that_was_overtaken_may_not_act_any_more(url: str, memory: Memory, session_id: str) -> None:
    act = Act(tool="move")
    memory.ledger.intend(session_id, "k", act, step=1)
    lease = memory.sessions.acquire(session_id)
    with open_memory(url) as other:
        with pytest.raises(SessionBusy, match="not this process's to act for"):
            other.ledger.authorise("k", act.sha256, "guard")
        with other._store.write() as connection:  # as if this process had slept for longer than STALE_S
            connection.exec_driver_sql("DELETE FROM leases")
        with other.sessions.acquire(session_id):
            with pytest.raises(SessionBusy):
                memory.ledger.authorise("k", act.sha256, "guard")
            deadline = time.monotonic() + 3 * HEARTBEAT_S
            while not lease.is_lost and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(SessionBusy, match="was taken over"):
                lease.check()
            lease.release()
            assert other.ledger.authorise("k", act.sha256, "guard").status == "authorised"


def test_messages_are_read_once_and_recalled_by_step(memory: Memory, session_id: str) -> None:
    first = memory.inbox.put(session_id, "that is the T12")
    second = memory.inbox.put(session_id, "left 20 mm", author="Dr. Ödegård")
    assert memory.inbox.unread(session_id) == [first, second]
    read = memory.inbox.mark_read(first.id, {"kind": "note", "text": "T12"}, 4)
    assert (read.parsed, read.read_at_step) == ({"kind": "note", "text": "T12"}, 4)
    assert memory.inbox.mark_read(first.id, {"kind": "stop"}, 9) == read
    assert memory.inbox.unread(session_id) == [second]
    assert memory.inbox.since(session_id, 4) == memory.steps.feedback_since(session_id, 4) == [read, second]
    assert memory.inbox.since(session_id, 5) == [second]
    with pytest.raises(BadInput, match="no message 99"):
        memory.inbox.mark_read(99, {}, 1)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 2001, "a\0b", "\ud800"])
def test_what_is_not_a_message_is_refused(memory: Memory, session_id: str, text: str) -> None:
    with pytest.raises(BadInput, match="`text`"):
        memory.inbox.put(session_id, text)


def test_a_stop_holds_until_it_is_cleared(memory: Memory, session_id: str) -> None:
    act = Act(tool="move")
    memory.ledger.intend(session_id, "k", act, step=1)
    assert memory.inbox.active_stop(session_id) is None
    stop = memory.inbox.put(session_id, "STOP", is_stop=True)
    memory.inbox.mark_read(stop.id, {"kind": "stop"}, 1)
    active = memory.inbox.active_stop(session_id)
    assert active is not None and active.id == stop.id
    with pytest.raises(Stopped, match="`clinician` said STOP"):
        memory.ledger.authorise("k", act.sha256, "human")
    other = memory.sessions.create("carm", {}).id
    assert memory.inbox.active_stop(other) is None
    assert memory.inbox.clear_stop(session_id) == 1
    assert memory.inbox.active_stop(session_id) is None
    assert memory.ledger.authorise("k", act.sha256, "human").approved_by == "human"
