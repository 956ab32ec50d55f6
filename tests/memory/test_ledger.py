"""The ledger: every act once, the approved command and no other, and nothing after a STOP."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from loopwright.errors import BadInput, DeveloperError, IntegrityError, Stopped, UnknownName
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
    first = memory.ledger.authorise("k", ACT.sha256, "human")
    assert memory.ledger.authorise("k", ACT.sha256, "guard") == first
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


def test_only_the_intended_command_can_be_approved(memory: Memory, session_id: str) -> None:
    memory.ledger.intend(session_id, "k", ACT, step=1)
    other = Act(tool="move_c_arm", arguments={"left_mm": 21.0})
    with pytest.raises(IntegrityError, match="the approval is for"):
        memory.ledger.authorise("k", other.sha256, "human")
    with pytest.raises(IntegrityError, match="belongs to"):
        memory.ledger.intend(session_id, "k", other, step=1)
    with pytest.raises(IntegrityError, match="belongs to"):
        memory.ledger.intend(memory.sessions.create("carm", {}).id, "k", ACT, step=1)
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
    for wrong in (lambda: memory.ledger.refuse("k", "late"), lambda: memory.ledger.authorise("k", ACT.sha256, "guard")):
        with pytest.raises(DeveloperError, match="'settled'"):
            wrong()


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


def test_no_act_is_authorised_after_a_stop_was_delivered(url: str, memory: Memory) -> None:
    """Many races of STOP against authorise, over connections of their own: the order on record is the law."""
    with open_memory(url) as other:
        for attempt in range(25):
            session_id = memory.sessions.create("carm", {}).id
            keys = [f"{session_id}-{i}" for i in range(4)]
            for key in keys:
                memory.ledger.intend(session_id, key, ACT, step=1)
            barrier = threading.Barrier(3)
            delivered_at: list[float] = []
            authorised_from: list[float] = []

            def stop(session_id: str = session_id, attempt: int = attempt, barrier: threading.Barrier = barrier,
                     delivered_at: list[float] = delivered_at) -> None:  # fmt: skip
                barrier.wait()
                time.sleep(0.0008 * (attempt % 12))
                other.inbox.put(session_id, "STOP", is_stop=True)
                delivered_at.append(time.monotonic())

            def act(mine: list[str], barrier: threading.Barrier = barrier,
                    authorised_from: list[float] = authorised_from) -> None:  # fmt: skip
                barrier.wait()
                for key in mine:
                    started = time.monotonic()
                    try:
                        memory.ledger.authorise(key, ACT.sha256, "guard")
                    except Stopped:
                        return
                    authorised_from.append(started)

            with ThreadPoolExecutor(3) as pool:
                for future in [pool.submit(stop), pool.submit(act, keys[:2]), pool.submit(act, keys[2:])]:
                    future.result()
            assert all(started < delivered_at[0] for started in authorised_from)
            authorised = [e for e in memory.ledger.of(session_id) if e.status == "authorised"]
            assert len(authorised) == len(authorised_from)
            with pytest.raises(Stopped):
                memory.ledger.authorise(keys[0], ACT.sha256, "guard")
