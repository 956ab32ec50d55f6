"""Events: append, find, read, verify. Hashes are those of `loopwright.schema.events`; no payload is interpreted."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Text, bindparam, insert, select, type_coerce

from loopwright.memory.rows import Verification
from loopwright.memory.sessions import lock_held, unknown_session
from loopwright.memory.store import Change, Store
from loopwright.memory.tables import Base, EventTable, SessionTable
from loopwright.memory.values import plain_json
from loopwright.schema import GENESIS, Event, canonical_json, chain_hash, payload_hash

CORRECTED = "corrected"
"""The kind of an event by which a loop keeps a human's correction."""

_COLUMNS = tuple(EventTable.__table__.c[name] for name in Event.model_fields)
_RAW_COLUMNS = tuple(type_coerce(c, Text).label(c.name) if c.name in ("payload", "created_at") else c for c in _COLUMNS)
"""As `_COLUMNS`, but what a vandal made unreadable is found by `verify` and not by the database driver."""

_EVENTS = Base.metadata.tables["events"]
_BY_KEYS = select(*_COLUMNS).where(
    _EVENTS.c.session_id == bindparam("of"), _EVENTS.c.key.in_(bindparam("keys", expanding=True))
)
_INSERT = insert(_EVENTS)
"""Built once: an append is the most frequent write, and building these takes longer than running them."""


class NewEvent(NamedTuple):
    """An event before it is written."""

    branch: int
    step: int
    kind: str
    payload: dict[str, Any]
    key: str | None = None


class Events:
    """The event logs of one memory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(
        self, session_id: str, kind: str, payload: dict[str, Any], *, branch: int, step: int, key: str | None = None
    ) -> Event:
        """Append one event, durable when this returns. With a `key` that was appended before, that event instead.

        Raises:
            DeveloperError: `payload` is not JSON.
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such session.
        """
        return self.append_all(session_id, [NewEvent(branch, step, kind, payload, key)])[0]

    def append_all(
        self, session_id: str, new: Sequence[NewEvent], *, late: bool = False, also: Change | None = None
    ) -> list[Event]:
        """Append events in order, and write what `also` does, all or nothing. See `append`, `Store.write` on `late`."""
        bodies = [plain_json(f"The payload of event `{each.kind}`", each.payload) for each in new]
        events: list[Event] = []
        with self._store.write(late=late) as connection:
            session = lock_held(self._store, connection, session_id)
            known = _find_all(connection, session_id, [each.key for each in new if each.key is not None])
            seq, head = session.n_events, session.head_hash
            fresh: list[Event] = []
            for each, body in zip(new, bodies, strict=True):
                found = known.get(each.key)
                if found is None:
                    found = _link(session_id, each, body, seq + 1, head)
                    seq, head = found.seq, found.hash
                    fresh.append(found)
                    if each.key is not None:
                        known[each.key] = found
                events.append(found)
            if fresh:
                connection.execute(_INSERT, [each.model_dump() for each in fresh])
                session.change(n_events=seq, head_hash=head, updated_at=fresh[-1].created_at)
            if also is not None:
                also(connection)
        return events

    def find(self, session_id: str, key: str) -> Event | None:
        """The event that was appended with `key`."""
        with self._store.read() as connection:
            return _find_all(connection, session_id, [key]).get(key)

    def read(self, session_id: str, after: int = 0) -> list[Event]:
        """The events with `seq` above `after`, in order."""
        query = select(*_COLUMNS).where(EventTable.session_id == session_id, EventTable.seq > after)
        with self._store.read() as connection:
            return [Event(**row._mapping) for row in connection.execute(query.order_by(EventTable.seq))]

    def corrections(self, loop: str, *, session_id: str | None = None) -> list[Event]:
        """What humans corrected in sessions of `loop`, or in one of them, as labelled examples; the oldest first.

        Reads through all of their events: for exports and training, not for a loop that runs.
        """
        query = select(*_COLUMNS).join(SessionTable, SessionTable.id == EventTable.session_id)
        query = query.where(SessionTable.loop == loop, EventTable.kind == CORRECTED)
        if session_id is not None:
            query = query.where(EventTable.session_id == session_id)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(EventTable.created_at, EventTable.session_id, EventTable.seq))
            return [Event(**row._mapping) for row in rows]

    def head(self, session_id: str) -> str:
        """Hash of the newest event, `GENESIS` before the first."""
        with self._store.read() as connection:
            return _end(connection, session_id)[1]


def verify_chain(connection: Connection, session_id: str, n_written: int, head: str) -> Verification:
    """Re-hash a whole chain as it lies in the database and name the first link that is not as it was written.

    Found: a changed payload, step, kind, key or time; a row removed, exchanged or added; a tail that was cut.
    `n_written` and `head` are what the session's row says of the end.
    """
    query = select(*_RAW_COLUMNS).where(EventTable.session_id == session_id).order_by(EventTable.seq)
    n, prev_hash = 0, GENESIS
    for row in connection.execution_options(yield_per=500).execute(query):
        reason = _fault(row._mapping, n + 1, prev_hash)
        if reason:
            return Verification(ok=False, n=n, broken_seq=n + 1, reason=reason)
        n, prev_hash = n + 1, row.hash
    if (n, prev_hash) == (n_written, head):
        return Verification(ok=True, n=n)
    if n == n_written:
        return Verification(ok=False, n=n, broken_seq=n, reason="the newest event is not the one on record")
    at = min(n, n_written) + 1 if isinstance(n_written, int) else 1
    reason = f"the session has {n_written} events on record, its log has {n}"
    return Verification(ok=False, n=n, broken_seq=at, reason=reason)


def _find_all(connection: Connection, session_id: str, keys: Sequence[str]) -> dict[str | None, Event]:
    """The events that were appended with these keys."""
    if not keys:
        return {}
    rows = connection.execute(_BY_KEYS, {"of": session_id, "keys": keys})
    return {row.key: Event(**row._mapping) for row in rows}


def _link(session_id: str, new: NewEvent, body: dict[str, Any], seq: int, prev_hash: str) -> Event:
    """`new` as the link number `seq` of its session's chain."""
    now = datetime.now(UTC)
    body_hash = payload_hash(new.branch, new.step, new.kind, body)
    return Event(
        session_id=session_id,
        seq=seq,
        branch=new.branch,
        step=new.step,
        kind=new.kind,
        key=new.key,
        payload=body,
        created_at=now,
        prev_hash=prev_hash,
        hash=chain_hash(prev_hash, session_id, seq, now, body_hash, new.key),
    )


def _end(connection: Connection, session_id: str) -> tuple[int, str]:
    query = select(SessionTable.n_events, SessionTable.head_hash).where(SessionTable.id == session_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise unknown_session(connection, session_id)
    return row.n_events, row.head_hash


def _fault(row: Any, seq: int, prev_hash: str) -> str:
    """What is wrong with `row` as the link number `seq` after `prev_hash`; empty where nothing is."""
    if row["seq"] != seq:
        return f"event {seq} is missing"
    if row["prev_hash"] != prev_hash:
        return f"event {seq} does not follow event {seq - 1}"
    try:
        payload = json.loads(row["payload"])
        body_hash = payload_hash(row["branch"], row["step"], row["kind"], payload)
        created_at = _raw_time(row["created_at"])
        found = chain_hash(prev_hash, row["session_id"], seq, created_at, body_hash, row["key"])
    except (TypeError, ValueError):
        return f"event {seq} cannot be read"
    is_same = found == row["hash"] and canonical_json(payload) == row["payload"]
    return "" if is_same else f"event {seq} was changed"


def _raw_time(raw: str | datetime) -> datetime:
    """SQLite keeps text without a zone, PostgreSQL gives the server's zone; both mean a moment in UTC."""
    return datetime.fromisoformat(raw).replace(tzinfo=UTC) if isinstance(raw, str) else raw.astimezone(UTC)
