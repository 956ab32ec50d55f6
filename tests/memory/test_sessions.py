"""Sessions and their leases: one live process runs a session, a dead one never keeps it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from loopwright.errors import BadInput, DeveloperError, SessionBusy, Stopped, UnknownName
from loopwright.memory import Memory, open_memory
from loopwright.memory.lease import HEARTBEAT_S
from loopwright.memory.tables import Base
from loopwright.memory.values import STALE_S
from loopwright.schema import GENESIS, Act, Outcome

Execute = Callable[[str], list[tuple[Any, ...]]]

HOLDER = """
import sys, time
from loopwright.memory import open_memory
memory = open_memory(sys.argv[1])
memory.sessions.acquire(sys.argv[2])
memory.sessions.set_status(sys.argv[2], "running")
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


def test_one_holder_at_a_time_and_release_frees_it(memory: Memory, unheld_id: str) -> None:
    with memory.sessions.acquire(unheld_id) as lease:
        lease.check()
        with pytest.raises(SessionBusy, match=f"run by process {os.getpid()} on this machine"):
            memory.sessions.acquire(unheld_id)
        with pytest.raises(SessionBusy):
            memory.retention.prune(unheld_id)
    memory.sessions.acquire(unheld_id).release()


def test_a_live_process_keeps_its_session_and_a_killed_one_loses_it_at_once(
    url: str, memory: Memory, unheld_id: str
) -> None:
    holder = _holder(url, unheld_id)
    with pytest.raises(SessionBusy, match=f"run by process {holder.pid}"):
        memory.sessions.acquire(unheld_id)
    assert memory.sessions.get(unheld_id).status == "running"
    assert memory.sessions.interrupted() == frozenset()
    os.kill(holder.pid, signal.SIGKILL)
    while holder.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    assert memory.sessions.interrupted() == {unheld_id}
    with memory.sessions.acquire(unheld_id) as lease:
        assert lease.token == 2
        assert memory.sessions.interrupted() == frozenset()
        assert memory.sessions.held() == {unheld_id}
        assert time.monotonic() - started < 1


def test_a_holder_elsewhere_that_stopped_beating_is_taken_over(
    url: str, memory: Memory, unheld_id: str, execute: Execute
) -> None:
    lease = memory.sessions.acquire(unheld_id)
    execute("UPDATE leases SET host = 'elsewhere'")
    with open_memory(url) as other:
        with pytest.raises(SessionBusy, match="on `elsewhere`"):
            other.sessions.acquire(unheld_id)
        _overtake(execute)
        other.sessions.acquire(unheld_id).release()
    lease.release()


def test_the_token_grows_with_every_lease_and_never_goes_back(url: str, memory: Memory, unheld_id: str) -> None:
    tokens = []
    for _ in range(3):
        with memory.sessions.acquire(unheld_id) as lease:
            tokens.append(lease.token)
    with open_memory(url) as other, other.sessions.acquire(unheld_id) as lease:
        tokens.append(lease.token)
    assert tokens == [1, 2, 3, 4]
    with memory.sessions.acquire(memory.sessions.create("carm", {}).id) as lease:
        assert lease.token == 1


def _overtake(execute: Execute) -> None:
    """As if the holder had slept for longer than STALE_S."""
    old = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=STALE_S + 1)
    execute(f"UPDATE leases SET heartbeat_at = '{old.isoformat(' ', 'microseconds')}'")


def _writes(memory: Memory, session_id: str) -> dict[str, Callable[[], object]]:
    """Everything that is written on behalf of a session which has an open act `k` and an unread message 1."""
    act, outcome = Act(tool="move"), Outcome(key="k", status="done")
    saver = memory.checkpointer()
    place: RunnableConfig = {"configurable": {"thread_id": session_id, "checkpoint_ns": "", "checkpoint_id": "1"}}
    image = {"media_type": "image/png", "width_px": 1, "height_px": 1}
    return {
        "append": lambda: memory.events.append(session_id, "seen", {}, branch=0, step=0),
        "record": lambda: memory.steps.record(session_id, 0, 1, label="l", signature="s", detail={}),
        "mark_read": lambda: memory.inbox.mark_read(session_id, {1: {}}, 1),
        "clear_stop": lambda: memory.inbox.clear_stop(session_id),
        "image": lambda: memory.blobs.put(b"pixels", session_id=session_id, **image),  # type: ignore[arg-type]
        "intend": lambda: memory.ledger.intend(session_id, "j", act, step=1),
        "authorise": lambda: memory.ledger.authorise("k", act.sha256, "guard"),
        "settle": lambda: memory.ledger.settle("k", outcome),
        "refuse": lambda: memory.ledger.refuse("k", "no"),
        "status": lambda: memory.sessions.set_status(session_id, "succeeded"),
        "put": lambda: saver.put(place, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {}),
        "put_writes": lambda: saver.put_writes(place, [("channel", 1)], "task"),
        "delete_thread": lambda: saver.delete_thread(session_id),
    }


def _rows(execute: Execute) -> list[list[tuple[Any, ...]]]:
    tables = [table for table in Base.metadata.tables if table != "leases"]
    return [execute(f"SELECT * FROM {table}") for table in tables]


def test_whoever_holds_no_lease_writes_nothing(memory: Memory, unheld_id: str, execute: Execute) -> None:
    with memory.sessions.acquire(unheld_id):
        memory.ledger.intend(unheld_id, "k", Act(tool="move"), step=1)
    memory.inbox.put(unheld_id, "left")
    before = _rows(execute)
    for name, write in _writes(memory, unheld_id).items():
        with pytest.raises(SessionBusy, match=f"`{unheld_id}` is not held here"):
            write()
        assert _rows(execute) == before, name


def test_an_overtaken_holder_writes_nothing_more(url: str, memory: Memory, unheld_id: str, execute: Execute) -> None:
    """It slept, another process took over and has already let go again; it wakes, and believes that it still holds."""
    lease = memory.sessions.acquire(unheld_id)
    memory.ledger.intend(unheld_id, "k", Act(tool="move"), step=1)
    memory.ledger.authorise("k", Act(tool="move").sha256, "guard")
    memory.inbox.put(unheld_id, "left")
    _overtake(execute)
    with open_memory(url) as other:
        other.sessions.acquire(unheld_id).release()
        before = _rows(execute)
        for name, write in _writes(memory, unheld_id).items():
            with pytest.raises(SessionBusy, match="held with token 2, this process comes with token 1"):
                write()
            assert _rows(execute) == before, name
        with pytest.raises(SessionBusy, match=r"still runs under its lost lease \(token 1\)"):
            memory.sessions.acquire(unheld_id)
        with other.sessions.acquire(unheld_id):
            for write in _writes(other, unheld_id).values():
                with suppress(DeveloperError):  # an act that is settled cannot be refused as well
                    write()
            lease.release()
            assert other.sessions.get(unheld_id).status == "succeeded", "what is released late is not the other's lease"
    with memory.sessions.acquire(unheld_id) as again:
        assert again.token == 4


def test_an_overtaken_holder_learns_of_it_by_its_next_beat(url: str, memory: Memory, unheld_id: str) -> None:
    lease = memory.sessions.acquire(unheld_id)
    with open_memory(url) as other:
        with other._store.write() as connection:
            connection.exec_driver_sql("DELETE FROM leases")
        with other.sessions.acquire(unheld_id):
            deadline = time.monotonic() + 3 * HEARTBEAT_S
            while not lease.is_lost and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(SessionBusy, match="was taken over"):
                lease.check()
    lease.release()


def test_anybody_may_say_something_to_a_held_session(url: str, memory: Memory, session_id: str) -> None:
    with open_memory(url) as other:
        assert other.inbox.put(session_id, "STOP", is_stop=True).is_stop
        assert len(other.inbox.unread(session_id)) == 1


def test_messages_are_read_once_and_recalled_by_step(memory: Memory, session_id: str) -> None:
    first = memory.inbox.put(session_id, "that is the T12")
    second = memory.inbox.put(session_id, "left 20 mm", author="Dr. Ödegård")
    assert memory.inbox.unread(session_id) == [first, second]
    assert memory.inbox.has_news(session_id)
    for reading, step in (({"kind": "note", "text": "T12"}, 4), ({"kind": "stop"}, 9)):
        memory.inbox.mark_read(session_id, {first.id: reading}, step)
    (read, _) = memory.inbox.since(session_id, 4)
    assert (read.id, read.parsed, read.read_at_step) == (first.id, {"kind": "note", "text": "T12"}, 4)
    assert memory.inbox.unread(session_id) == [second]
    assert memory.inbox.since(session_id, 4) == memory.steps.feedback_since(session_id, 4) == [read, second]
    assert memory.inbox.since(session_id, 5) == [second]
    other = memory.sessions.create("carm", {}).id
    with memory.sessions.acquire(other):
        memory.inbox.mark_read(other, {second.id: {"kind": "note"}}, 1)  # not its own message
    assert memory.inbox.unread(session_id) == [second]
    memory.inbox.mark_read(session_id, {second.id: {"kind": "note"}}, 4)
    memory.inbox.put(session_id, "STOP", is_stop=True)
    assert not memory.inbox.has_news(session_id)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 2001, "a\0b", "\ud800"])
def test_what_is_not_a_message_is_refused(memory: Memory, session_id: str, text: str) -> None:
    with pytest.raises(BadInput, match="`text`"):
        memory.inbox.put(session_id, text)


def test_a_stop_holds_until_it_is_cleared(memory: Memory, session_id: str) -> None:
    act = Act(tool="move")
    memory.ledger.intend(session_id, "k", act, step=1)
    assert memory.inbox.active_stop(session_id) is None
    stop = memory.inbox.put(session_id, "STOP", is_stop=True)
    memory.inbox.mark_read(session_id, {stop.id: {"kind": "stop"}}, 1)
    active = memory.inbox.active_stop(session_id)
    assert active is not None and active.id == stop.id
    with pytest.raises(Stopped, match="`clinician` said STOP"):
        memory.ledger.authorise("k", act.sha256, "human")
    other = memory.sessions.create("carm", {}).id
    assert memory.inbox.active_stop(other) is None
    assert memory.inbox.clear_stop(session_id) == 1
    assert memory.inbox.active_stop(session_id) is None
    assert memory.ledger.authorise("k", act.sha256, "human").approved_by == "human"
