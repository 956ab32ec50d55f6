"""Blobs and retention: stored once, checked on read, and gone with the last session that refers to them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.errors import BadInput, IntegrityError, UnknownName
from loopwright.memory import Memory
from loopwright.schema import Act, BlobReader, ImageRef

Execute = Callable[[str], list[tuple[Any, ...]]]


def _put(memory: Memory, session_id: str, data: bytes) -> ImageRef:
    return memory.blobs.put(data, session_id=session_id, media_type="image/png", width_px=16, height_px=9)


def test_the_same_bytes_are_stored_once(memory: Memory, session_id: str, new_session: Callable[..., str]) -> None:
    other = new_session()
    data = b"\x00\xffpixels" * 100
    refs = {
        _put(memory, session_id, data).sha256,
        _put(memory, session_id, data).sha256,
        _put(memory, other, data).sha256,
    }
    assert refs == {hashlib.sha256(data).hexdigest()}
    report = memory.retention.size()
    assert (report.n_blobs, report.blob_bytes) == (1, len(data))
    assert memory.blobs.of(session_id) == memory.blobs.of(other) == [_put(memory, other, data)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_read_back(memory: Memory, session_id: str, data: bytes) -> None:
    reader: BlobReader = memory.blobs
    assert reader.read(_put(memory, session_id, data)) == data


def test_the_same_bytes_cannot_have_two_sizes(memory: Memory, session_id: str) -> None:
    _put(memory, session_id, b"pixels")
    with pytest.raises(BadInput, match="is known as"):
        memory.blobs.put(b"pixels", session_id=session_id, media_type="image/png", width_px=17, height_px=9)
    with pytest.raises(UnknownName):
        _put(memory, "nobody", b"pixels")


def test_changed_and_missing_bytes_are_found_on_read(memory: Memory, session_id: str, execute: Execute) -> None:
    ref = _put(memory, session_id, b"pixels")
    with pytest.raises(IntegrityError, match="is not there"):
        memory.blobs.read(ref.model_copy(update={"sha256": "0" * 64}))
    execute("UPDATE blobs SET data = " + ("'\\x00'" if "postgresql" in memory.url else "X'00'"))
    with pytest.raises(IntegrityError, match=f"`{ref.sha256}` .* was changed"):
        memory.blobs.read(ref)


def test_a_session_is_pruned_whole_and_shared_blobs_stay(memory: Memory, unheld_id: str, execute: Execute) -> None:
    session_id, fork = unheld_id, memory.sessions.create("carm", {}, parent=unheld_id).id
    for session in (session_id, fork):
        with memory.sessions.acquire(session):
            shared = _put(memory, session, b"shared")
            memory.events.append(session, "seen", {"a": 1}, branch=0, step=1)
            memory.steps.record(session, 0, 1, label="left", signature="s", detail={})
            memory.inbox.put(session, "STOP", is_stop=True)
            memory.ledger.intend(session, f"{session}-1", Act(tool="move"), step=1)
    with memory.sessions.acquire(session_id):
        mine = _put(memory, session_id, b"mine")
    removed = memory.retention.prune(session_id).removed
    assert (removed.n_events, removed.n_blobs, removed.blob_bytes) == (1, 2, len(b"shared") + len(b"mine"))
    with pytest.raises(UnknownName):
        memory.sessions.get(session_id)
    for table in ("events", "steps", "messages", "acts", "blob_refs", "leases", "checkpoints", "checkpoint_writes"):
        assert execute(f"SELECT count(*) FROM {table} WHERE session_id = '{session_id}'") == [(0,)], table
    assert memory.blobs.read(shared) == b"shared"
    with pytest.raises(IntegrityError):
        memory.blobs.read(mine)
    assert memory.verify(fork).ok and memory.sessions.get(fork).parent == session_id
    assert [s.session_id for s in memory.retention.size().sessions] == [fork]
    memory.retention.prune(fork)
    assert memory.retention.size().n_blobs == 0


def test_a_prune_does_not_open_the_log_of_others(
    memory: Memory, new_session: Callable[..., str], execute: Execute
) -> None:
    memory.events.append(new_session(), "seen", {}, branch=0, step=0)
    memory.retention.prune(memory.sessions.create("carm", {}).id)
    with pytest.raises(Exception, match="append-only"):
        execute("DELETE FROM events")


def test_vacuum_gives_space_back(memory: Memory, unheld_id: str) -> None:
    with memory.sessions.acquire(unheld_id):
        for i in range(40):
            _put(memory, unheld_id, hashlib.shake_256(bytes([i])).digest(50_000))
    before = memory.retention.size().total_bytes
    memory.retention.prune(unheld_id)
    memory.retention.vacuum()
    after = memory.retention.size().total_bytes
    assert before - after > 1_500_000


def test_size_names_every_session(memory: Memory, session_id: str) -> None:
    memory.events.append(session_id, "seen", {"a": 1}, branch=0, step=1)
    _put(memory, session_id, b"12345")
    (size,) = memory.retention.size().sessions
    assert (size.session_id, size.n_events, size.event_bytes, size.n_blobs, size.blob_bytes) == (
        session_id, 1, len('{"a":1}'), 1, 5,
    )  # fmt: skip


def test_blobs_survive_prunes_that_race_with_puts(memory: Memory) -> None:
    """While sessions that share one image come and go, whoever has just put it can read it."""

    def come_and_go(_i: int) -> None:
        session_id = memory.sessions.create("carm", {}).id
        with memory.sessions.acquire(session_id):
            assert memory.blobs.read(_put(memory, session_id, b"shared")) == b"shared"
        memory.retention.prune(session_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(16)))
    assert memory.retention.size().n_blobs == 0
