"""Verify a session's record: the seals' chain, every row as its seals have it, the events' chain, the images.

Rows are read as they lie in the database, past SQLAlchemy's types, so that a value which no longer reads is a finding
and not an error. Knows no device and no loop.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, DateTime, Table, select, type_coerce
from sqlalchemy.types import NullType

from loopwright.digests import GENESIS, canonical_json, digest, digests, seal_hash
from loopwright.memory.events import verify_chain
from loopwright.memory.rows import Change, Seal, Verification
from loopwright.memory.sessions import UNSEALED, unknown_session
from loopwright.memory.store import Store
from loopwright.memory.tables import Base, UtcDateTime

KEYS = {
    "sessions": (),
    "acts": ("key",),
    "messages": ("id",),
    "steps": ("branch", "step"),
    "checkpoints": ("checkpoint_ns", "checkpoint_id"),
    "checkpoint_writes": ("checkpoint_ns", "checkpoint_id", "task_id", "idx"),
    "blob_refs": ("sha256",),
    "blobs": ("sha256",),
}
"""The tables whose rows are sealed, and what names a row within its session."""

Found = Iterable[tuple[str, Mapping[str, str]]]
"""Rows of a table: the key as JSON, and the digest of each column."""


class Unsealed(NamedTuple):
    """What the seals of a session say: the digests by table, row and column; the hash of each seal; what is wrong.

    `is_cut`: some could not be read, and rows cannot be compared.
    """

    rows: dict[str, dict[str, dict[str, str]]]
    hashes: list[str]
    changes: list[Change]
    is_cut: bool


def verify(store: Store, session_id: str, head: str = "") -> Verification:
    """See `Memory.verify`."""
    with store.read() as connection, _any_text(store, connection):
        session = _session(connection, session_id)
        read = unseal(session, read_seals(connection, session_id))
        changes = [*read.changes, *head_in(head, read)]
        n_rows = 0
        if not read.is_cut:
            for table, sealed in read.rows.items():
                found = dict(_found(connection, table, session, sealed))
                n_rows += len(found)
                changes += compare(table, sealed, found.items())
        events = verify_chain(connection, session_id, session["n_events"], session["head_hash"])
    if not events.ok:
        changes.append(Change(table="events", row=str(events.broken_seq), what=events.reason))
    return verification(events, changes, n_rows=n_rows, head=session["seal_hash"])


def verification(events: Verification, changes: Sequence[Change], *, n_rows: int, head: str) -> Verification:
    """What was found, as one value; the first finding is its reason."""
    found = {"changes": tuple(changes), "n_rows": n_rows, "head": head, "ok": not changes}
    return events.model_copy(update=found | {"reason": str(changes[0]) if changes else ""})


def unseal(session: Mapping[str, Any], seals: Iterable[Seal]) -> Unsealed:
    """Go through the seals of a session from the first to the last that its row names."""
    rows, hashes, fault = _unsealed(str(session["id"]), seals)
    changes = [] if fault is None else [fault]
    end = {"n_seals": len(hashes), "seal_hash": (hashes or [GENESIS])[-1]}
    differing = [name for name, value in end.items() if session[name] != value]
    is_cut = fault is not None or len(differing) == len(end)
    if is_cut and fault is None:
        changes.append(Change(table="seals", row=str(len(hashes) + 1), what=f"is missing; {_NOT_COMPARED}"))
    elif not is_cut:
        what = "is {!r}, the chain of its seals ends with {!r}"
        changes += [
            Change(table="sessions", row="[]", column=name, what=what.format(session[name], end[name]))
            for name in differing
        ]
    return Unsealed(rows, hashes, changes, is_cut)


def _unsealed(session_id: str, seals: Iterable[Seal]) -> tuple[dict[str, Any], list[str], Change | None]:
    """Rows, hashes, and what is wrong with the first seal that is not as it was written."""
    tables: dict[str, dict[str, dict[str, str]]] = {name: {} for name in KEYS}
    hashes: list[str] = []
    prev_hash = GENESIS
    for n, seal in enumerate(seals, start=1):
        what = "is missing"
        if seal.n == n:
            what = "does not follow the one before it" if seal.prev_hash != prev_hash else "was changed"
        if what != "was changed" or seal_hash(prev_hash, session_id, n, seal.changes) != seal.hash:
            return tables, hashes, Change(table="seals", row=str(n), what=f"{what}; {_NOT_COMPARED}")
        for table, key, columns in json.loads(seal.changes):
            rows = tables[table]
            if columns is None:
                rows.clear()
            else:
                rows.setdefault(canonical_json(key), {}).update(columns)
        prev_hash = seal.hash
        hashes.append(seal.hash)
    return tables, hashes, None


def head_in(head: str, read: Unsealed) -> Iterator[Change]:
    """Whether the record is the one whose head is known from elsewhere, or has grown from it."""
    if head and head not in read.hashes:
        what = f"the head {head} is not in it: its end was cut, or it was written anew"
        yield Change(table="seals", row=f"1 to {len(read.hashes)}", what=what)


def compare(table: str, sealed: Mapping[str, Mapping[str, str]], found: Found) -> Iterator[Change]:
    """What differs between rows as sealed and rows as found; a column that was never sealed is NULL."""
    seen = set()
    for row, columns in found:
        seen.add(row)
        if row not in sealed:
            yield Change(table=table, row=row, what="was added")
            continue
        for name, value in columns.items():
            if value != sealed[row].get(name, _NULL):
                yield Change(table=table, row=row, column=name, what="was changed")
    for row in sealed.keys() - seen:
        yield Change(table=table, row=row, what="is missing")


def found_in(table: str, rows: Iterable[Mapping[str, Any]]) -> Found:
    """Rows given by their values, their key among these."""
    for row in rows:
        key = [row[name] for name in KEYS[table]]
        yield (
            json.dumps(key, separators=(",", ":"), ensure_ascii=False, default=repr),
            digests({name: value for name, value in row.items() if name not in KEYS[table]}),
        )


_NULL = digest(None)
_NOT_COMPARED = "no row could be compared with the seals"


def _session(connection: Connection, session_id: str) -> dict[str, Any]:
    table = Base.metadata.tables["sessions"]
    row = next(_raw(connection, table, table.c.id == session_id), None)
    if row is None:
        raise unknown_session(connection, session_id)
    return row


def read_seals(connection: Connection, session_id: str) -> Iterator[Seal]:
    """The seals of a session as they lie there."""
    table = Base.metadata.tables["seals"]
    for row in _raw(connection, table, table.c.session_id == session_id, order_by=table.c.n):
        yield Seal.model_construct(**{name: row[name] for name in Seal.model_fields})


def _found(connection: Connection, table: str, session: Mapping[str, Any], sealed: Iterable[str]) -> Found:
    """The rows of a session in one of the sealed tables."""
    of = Base.metadata.tables[table]
    if table == "sessions":
        yield from found_in(table, [{name: value for name, value in session.items() if name not in UNSEALED}])
    elif table == "blobs":  # shared between sessions; the seals say which
        for key in sealed:
            for row in _raw(connection, of, of.c.sha256 == json.loads(key)[0]):
                is_whole = (
                    isinstance(data := row.pop("data"), bytes) and hashlib.sha256(data).hexdigest() == row["sha256"]
                )
                yield from found_in(table, [row if is_whole else row | {"data": "other bytes"}])
    else:
        rows = _raw(connection, of, of.c.session_id == session["id"])
        yield from found_in(table, ({n: v for n, v in row.items() if n != "session_id"} for row in rows))


def _raw(connection: Connection, table: Table, where: Any, order_by: Any = None) -> Iterator[dict[str, Any]]:
    """Rows as they lie there; times are read where they can be, as the databases keep them in their own ways."""
    times = [c.name for c in table.c if isinstance(c.type, UtcDateTime | DateTime)]
    columns = [type_coerce(c, NullType()).label(c.name) for c in table.c]
    query = select(*columns).where(where).order_by(order_by)
    for row in connection.execution_options(yield_per=200).execute(query):
        values = dict(row._mapping)
        yield values | {name: _time(values[name]) for name in times}


def _time(value: Any) -> Any:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value
    except ValueError:
        return value


@contextmanager
def _any_text(store: Store, connection: Connection) -> Iterator[None]:
    """Read bytes that are no text as what they are, rather than have the driver refuse the row."""
    driver: Any = connection.connection.dbapi_connection
    if not store.is_sqlite:
        yield
        return
    before, driver.text_factory = driver.text_factory, lambda data: data.decode(errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before
