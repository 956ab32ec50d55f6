"""The ledger: every act once, the approved command and no other, and nothing after a STOP."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, event

from loopwright.errors import ApprovalExpired, BadInput, DeveloperError, IntegrityError, Stopped, UnknownName
from loopwright.memory import LedgerEntry, Memory, open_memory
from loopwright.schema import Act, Outcome

ACT = Act(tool="move_c_arm", arguments={"left_mm": 20.0})
DONE = Outcome(key="k", status="done", result={"x_mm": 1.5})


def test_an_act_goes_from_intent_to_outcome(memory: Memory, session_id: str) -> None:
    intended = memory.ledger.intend(session_id, "k", ACT, step=3)
    assert (intended.status, intended.act, intended.step, intended.outcome) == ("intended", ACT, 3, None)
    assert memory.ledger.unsettled(session_id) == [intended]
    authorised = memory.ledger.authorise("k", ACT.sha256, "guard")
    assert (authorised.status, authorised.approved_by) == ("authorised", "guard")
    assert memory.ledger.unsettled(session_id) == [authorised]
    settled = memory.ledger.settle("k", DONE)
    assert (settled.status, settled.outcome) == ("settled", DONE)
    assert memory.ledger.unsettled(session_id) == []
    assert memory.ledger.of(session_id) == [settled]
    assert memory.ledger.get("k") == settled
    assert settled.authorised_at is not None and settled.closed_at is not None
    assert settled.intended_at <= settled.authorised_at <= settled.closed_at <= datetime.now(UTC)


def test_every_step_may_be_repeated_by_a_node_that_runs_again(memory: Memory, session_id: str) -> None:
    assert memory.ledger.intend(session_id, "k", ACT, step=1) == memory.ledger.intend(session_id, "k", ACT, step=1)
    first = memory.ledger.authorise("k", ACT.sha256, "guard")
    again = memory.ledger.authorise("k", ACT.sha256, "human")
    assert first.approved_at is not None and again.approved_at is not None
    assert (again.status, again.approved_by, again.approved_at > first.approved_at) == ("authorised", "human", True)
    assert memory.ledger.settle("k", DONE) == memory.ledger.settle("k", DONE)
    assert memory.ledger.intend(session_id, "k", ACT, step=1).outcome == DONE


def test_a_refused_act_stays_refused(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    refused = memory.ledger.refuse("k", "outside the envelope")
    assert (refused.status, refused.reason) == ("refused", "outside the envelope")
    assert memory.ledger.refuse("k", "another reason") == refused
    assert memory.ledger.unsettled(session_id) == []
    with pytest.raises(DeveloperError, match="`k` is 'refused', expected 'intended'"):
        memory.ledger.authorise("k", ACT.sha256, "guard")
    with pytest.raises(DeveloperError):
        memory.ledger.settle("k", DONE)


def test_only_the_intended_command_can_be_approved(
    memory: Memory, session_id: str, new_session: Callable[..., str]
) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    other = Act(tool="move_c_arm", arguments={"left_mm": 21.0})
    with pytest.raises(IntegrityError, match="the approval is for"):
        memory.ledger.authorise("k", other.sha256, "human")
    with pytest.raises(IntegrityError, match="belongs to"):
        memory.ledger.intend(session_id, "k", other, step=1)
    with pytest.raises(IntegrityError, match="belongs to"):
        memory.ledger.intend(new_session(), "k", ACT, step=1)
    with pytest.raises(UnknownName, match="Unknown approver 'model'"):
        memory.ledger.authorise("k", ACT.sha256, "model")  # type: ignore[arg-type]  # what a wrong caller does
    entry = memory.ledger.get("k")
    assert entry is not None and entry.status == "intended"


def test_what_was_not_authorised_cannot_be_settled(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    with pytest.raises(DeveloperError, match="expected 'authorised'"):
        memory.ledger.settle("k", DONE)
    memory.ledger.authorise("k", ACT.sha256, "guard")
    with pytest.raises(IntegrityError):
        memory.ledger.settle("k", DONE.model_copy(update={"key": "j"}))
    memory.ledger.settle("k", DONE)
    with pytest.raises(IntegrityError, match="the world now says"):
        memory.ledger.settle("k", Outcome(key="k", status="failed"))
    with pytest.raises(DeveloperError, match="'settled'"):
        memory.ledger.refuse("k", "late")
    with pytest.raises(DeveloperError, match="'settled'"):
        memory.ledger.authorise("k", ACT.sha256, "guard")


def test_an_approval_expires(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    old = datetime.now(UTC) - timedelta(minutes=11)
    with pytest.raises(ApprovalExpired, match=r"`k` was approved 66\d s ago; an approval holds for 600 s"):
        memory.ledger.authorise("k", ACT.sha256, "human", approved_at=old)
    fresh = datetime.now(UTC) - timedelta(minutes=9)
    entry = memory.ledger.authorise("k", ACT.sha256, "human", approved_at=fresh)
    assert (entry.status, entry.approved_at) == ("authorised", fresh)
    assert entry.authorised_at is not None and entry.authorised_at > fresh
    assert memory.ledger.token_to_send(entry) == entry.token == 1
    with pytest.raises(ApprovalExpired):
        memory.ledger.token_to_send(entry.model_copy(update={"approved_at": old}))


def test_unknown_keys_are_named(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "move-1", ACT, step=1)
    assert memory.ledger.get("move-2") is None
    calls: list[Callable[[], LedgerEntry]] = [
        lambda: memory.ledger.authorise("move-2", ACT.sha256, "guard"),
        lambda: memory.ledger.settle("move-2", Outcome(key="move-2", status="done")),
        lambda: memory.ledger.refuse("move-2", "no"),
    ]
    for call in calls:
        with pytest.raises(UnknownName, match="Did you mean `move-1`"):
            call()
    with pytest.raises(BadInput, match="`key`"):
        memory.ledger.intend(session_id, "", ACT, step=1)


def test_a_stop_keeps_even_an_authorised_act_from_being_authorised_again(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    memory.ledger.authorise("k", ACT.sha256, "guard")
    memory.inbox.put(session_id, "stop", is_stop=True)
    with pytest.raises(Stopped):
        memory.ledger.authorise("k", ACT.sha256, "guard")
    assert memory.ledger.settle("k", DONE).status == "settled"  # what was sent is still put on record


def test_a_stop_waits_for_the_authorisation_before_it(url: str, memory: Memory, session_id: str) -> None:
    """An authorisation that has seen no STOP, and is held up just before its commit, keeps the STOP waiting."""
    memory.ledger.intend(session_id, "k", ACT, step=1)
    with open_memory(url) as other, ThreadPoolExecutor(2) as pool, _held_before_commit(memory) as (held, go):
        authorised = pool.submit(memory.ledger.authorise, "k", ACT.sha256, "guard")
        assert held.wait(10)
        stopped = pool.submit(other.inbox.put, session_id, "STOP", is_stop=True)
        with pytest.raises(FutureTimeout):
            stopped.result(timeout=0.3)
        go.set()
        assert authorised.result(10).status == "authorised"
        assert stopped.result(10).is_stop


def test_an_authorisation_waits_for_the_stop_before_it(url: str, memory: Memory, session_id: str) -> None:
    """A STOP that is held up just before its commit keeps every authorisation waiting, and then refuses it."""
    memory.ledger.intend(session_id, "k", ACT, step=1)
    with open_memory(url) as other, ThreadPoolExecutor(2) as pool, _held_before_commit(other) as (held, go):
        stopped = pool.submit(other.inbox.put, session_id, "STOP", is_stop=True)
        assert held.wait(10)
        authorised = pool.submit(memory.ledger.authorise, "k", ACT.sha256, "guard")
        with pytest.raises(FutureTimeout):
            authorised.result(timeout=0.3)
        go.set()
        assert stopped.result(10).is_stop
        with pytest.raises(Stopped):
            authorised.result(10)
    entry = memory.ledger.get("k")
    assert entry is not None and entry.status == "intended"


@contextmanager
def _held_before_commit(memory: Memory) -> Iterator[tuple[threading.Event, threading.Event]]:
    """While this lasts, commits of `memory` set the first event and wait for the second."""
    held, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        held.set()
        go.wait(10)

    event.listen(memory._store.engine, "commit", hold)
    try:
        yield held, go
    finally:
        go.set()
        event.remove(memory._store.engine, "commit", hold)


def test_racing_threads_never_authorise_after_a_delivered_stop(
    url: str, memory: Memory, new_session: Callable[..., str]
) -> None:
    with open_memory(url) as other, ThreadPoolExecutor(3) as pool:
        for attempt in range(8):
            session_id = new_session()
            keys = [f"{session_id}-{i}" for i in range(4)]
            for key in keys:
                memory.ledger.intend(session_id, key, ACT, step=1)
            acting = [pool.submit(_authorise_all, memory, keys[:2]), pool.submit(_authorise_all, memory, keys[2:])]
            time.sleep(0.002 * attempt)
            other.inbox.put(session_id, "STOP", is_stop=True)
            delivered_at = time.monotonic()
            started_at = [started for future in acting for started in future.result()]
            assert all(started < delivered_at for started in started_at)
            on_record = [e for e in memory.ledger.of(session_id) if e.status == "authorised"]
            assert len(on_record) == len(started_at)


def _authorise_all(memory: Memory, keys: list[str]) -> list[float]:
    """When each authorisation that was given had been asked for."""
    given = []
    for key in keys:
        started = time.monotonic()
        try:
            memory.ledger.authorise(key, ACT.sha256, "guard")
        except Stopped:
            break
        given.append(started)
    return given
