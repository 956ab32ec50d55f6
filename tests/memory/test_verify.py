"""The record shows every change: of each column of each row, and with a head kept elsewhere of all of it at once."""

from collections.abc import Iterator
from itertools import product

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from tests.memory.tampering import Place, Vandal

from loopwright.digests import digest, seal_hash
from loopwright.memory import Memory
from loopwright.schema import Act, Outcome


@pytest.fixture
def vandal(url: str) -> Iterator[Vandal]:
    made = Vandal(url)
    yield made
    made.close()


@pytest.fixture
def recorded(memory: Memory) -> str:
    """A session at rest that has a row in every table."""
    parent = memory.sessions.create("carm", {}).id
    session_id = memory.sessions.create("carm", {"target": "T12"}, parent=parent).id
    with memory.sessions.acquire(session_id):
        memory.sessions.set_status(session_id, "running")
        memory.blobs.put(b"pixels", session_id=session_id, media_type="image/png", width_px=2, height_px=3)
        memory.events.append(session_id, "seen", {"a": [1, 2.5]}, branch=0, step=0, key="0/see.1/1")
        memory.events.append(session_id, "resumed", {}, branch=0, step=0)
        act = Act(tool="move", arguments={"left_mm": 20})
        memory.ledger.intend(session_id, "sent", act, step=0)
        memory.ledger.authorise("sent", act.sha256, "human")
        memory.ledger.settle("sent", Outcome(key="sent", status="done", result={"x_mm": 20}))
        memory.ledger.intend(session_id, "kept back", act, step=1)
        memory.ledger.refuse("kept back", "STOP")
        said = memory.inbox.put(session_id, "a bit to the left")
        memory.inbox.mark_read(session_id, {said.id: {"kind": "note"}}, 1)
        memory.inbox.put(session_id, "STOP", is_stop=True)
        memory.inbox.clear_stop(session_id)
        for step in range(3):
            memory.steps.record(session_id, 0, step, label="left", signature="s", detail={"mm": step})
        saver = memory.checkpointer()
        here: RunnableConfig = {"configurable": {"thread_id": session_id, "checkpoint_ns": ""}}
        at = saver.put(here, empty_checkpoint(), {"source": "loop", "step": 1}, {})
        saver.put(at, empty_checkpoint(), {"source": "loop", "step": 2}, {})
        saver.put_writes(at, [("state", {"a": 1}), ("other", 2)], "task", "path")
        saver.put_writes(at, [("state", "is kept as first written")], "task", "path")
        memory.sessions.set_status(session_id, "paused")
    memory.inbox.put(session_id, "nobody has read this yet")
    return session_id


def test_a_record_as_it_was_written_is_whole(memory: Memory, recorded: str) -> None:
    found = memory.verify(recorded)
    assert found.ok, found.changes
    assert (found.n, found.n_rows) == (2, 15)
    assert found.head == memory.sessions.get(recorded).seal_hash


def test_every_column_of_every_table_shows_that_it_was_changed(memory: Memory, recorded: str, vandal: Vandal) -> None:
    places = list(vandal.places(recorded, rows_each=1))
    assert len({(p.table, p.column) for p in places}) > 70
    for place in places:
        found = vandal.changed(place, lambda: memory.verify(recorded))
        assert not found.ok, place
        assert all(_names(place, str(change.table), change.column) for change in found.changes), (place, found.changes)
    assert memory.verify(recorded).ok


def _names(place: Place, table: str, column: str) -> bool:
    """Whether a finding is about this place, or the end of the chain that it breaks."""
    return (table == place.table and column in (place.column, "")) or (place.table, table) == ("sessions", "events")


FINDINGS = {
    "DELETE FROM acts WHERE key = 'sent'": '`acts` row ["sent"]: is missing',
    "DELETE FROM steps WHERE step = 1": "`steps` row [0,1]: is missing",
    "DELETE FROM blob_refs": "`blob_refs` row",
    "DELETE FROM checkpoint_writes WHERE idx = 1": "`checkpoint_writes` row",
    "INSERT INTO blob_refs SELECT id, 'else' FROM sessions WHERE parent IS NOT NULL": 'row ["else"]: was added',
    "DELETE FROM seals WHERE n = 3": "`seals` row 3: is missing",
    "UPDATE acts SET status = 'refused', outcome = NULL WHERE key = 'sent'": "column `status`: was changed",
}


def test_rows_that_were_removed_or_added_are_named(memory: Memory, recorded: str, vandal: Vandal) -> None:
    for statement, finding in FINDINGS.items():
        found = vandal.during([statement], lambda: memory.verify(recorded))
        assert any(finding in str(change) for change in found.changes), (statement, found.changes)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's types refuse these
def test_what_cannot_be_read_is_a_finding(memory: Memory, recorded: str, vandal: Vandal) -> None:
    values = ("CAST(X'FF00' AS TEXT)", "X'00'", "1.5")
    for column, value in [*product(("intended_at", "act", "approved_at"), values), ("approved_at", "NULL")]:
        update = f"UPDATE acts SET {column} = {value} WHERE key = 'sent'"
        found = vandal.during([update], lambda: memory.verify(recorded))
        assert [change.column for change in found.changes] == [column]


def test_a_cut_tail_shows_against_a_head_kept_elsewhere(memory: Memory, recorded: str, vandal: Vandal) -> None:
    """All that the last transaction wrote is taken back, seals and all: nothing inside the database tells."""
    head, n = memory.sessions.get(recorded).seal_hash, memory.sessions.get(recorded).n_seals
    cut = [
        "DELETE FROM messages WHERE text = 'nobody has read this yet'",
        f"UPDATE sessions SET n_seals = {n - 1}, seal_hash = (SELECT hash FROM seals WHERE session_id = '{recorded}' "
        f"AND n = {n - 1}) WHERE id = '{recorded}'",
        f"DELETE FROM seals WHERE session_id = '{recorded}' AND n = {n}",
    ]
    assert vandal.during(cut, lambda: memory.verify(recorded)).ok
    found = vandal.during(cut, lambda: memory.verify(recorded, head=head))
    assert "its end was cut, or it was written anew" in found.reason
    assert memory.verify(recorded, head=head).ok


def test_a_record_that_was_written_anew_shows_against_a_head_kept_elsewhere(
    memory: Memory, recorded: str, vandal: Vandal
) -> None:
    row = memory.sessions.get(recorded)
    with vandal.engine.connect() as connection:
        (prev,) = connection.exec_driver_sql(
            f"SELECT hash FROM seals WHERE session_id = '{recorded}' AND n = {row.n_seals - 1}"
        ).one()
        (changes,) = connection.exec_driver_sql(
            f"SELECT changes FROM seals WHERE session_id = '{recorded}' AND n = {row.n_seals}"
        ).one()

    forged = changes.replace(digest("nobody has read this yet"), digest("nobody has said this"))
    link = seal_hash(prev, recorded, row.n_seals, forged)
    anew = [
        "UPDATE messages SET text = 'nobody has said this' WHERE text = 'nobody has read this yet'",
        f"UPDATE seals SET changes = '{forged}', hash = '{link}' WHERE session_id = '{recorded}' AND n = {row.n_seals}",
        f"UPDATE sessions SET seal_hash = '{link}' WHERE id = '{recorded}'",
    ]
    assert vandal.during(anew, lambda: memory.verify(recorded)).ok
    assert not vandal.during(anew, lambda: memory.verify(recorded, head=row.seal_hash)).ok


def test_an_earlier_head_is_in_a_record_that_has_grown(memory: Memory, recorded: str) -> None:
    head = memory.verify(recorded).head
    memory.inbox.put(recorded, "more")
    grown = memory.verify(recorded, head=head)
    assert grown.ok and grown.head != head
    assert not memory.verify(recorded, head="f" * 64).ok
