"""The inbox: what humans said to a session, as they said it. Parsing is the loop's; here a STOP is only a flag."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from loopwright.memory.sessions import lock_held, lock_session
from loopwright.memory.store import Store
from loopwright.memory.tables import ACTIVE_STOP, Base, MessageTable
from loopwright.memory.values import MAX_AUTHOR, MAX_TEXT, check_text, kept_text, plain_json
from loopwright.schema import Message

_TABLE = Base.metadata.tables["messages"]
_COLUMNS = tuple(_TABLE.c[name] for name in Message.model_fields)
_OF = select(*_COLUMNS).where(_TABLE.c.session_id == bindparam("of")).order_by(_TABLE.c.id)
_UNREAD, _STOPS = _OF.where(_TABLE.c.read_at_step.is_(None)), _OF.where(ACTIVE_STOP).limit(1)
_UNREAD_IDS = select(_TABLE.c.id).where(
    _TABLE.c.session_id == bindparam("of"),
    _TABLE.c.read_at_step.is_(None),
    _TABLE.c.id.between(bindparam("first"), bindparam("last")),
)
_UNREAD_PAGE = _UNREAD.where(_TABLE.c.id > bindparam("after")).limit(bindparam("most"))
_NEWS = _UNREAD.where(~_TABLE.c.is_stop).limit(1)
_UNREAD_STOPS = _OF.where(ACTIVE_STOP, _TABLE.c.read_at_step.is_(None))
_MARK = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("message"), _TABLE.c.session_id == bindparam("of"), _TABLE.c.read_at_step.is_(None))
    .values(parsed=bindparam("reading"), read_at_step=bindparam("step"))
)
"""Built once: a session that runs looks for messages before every node and act, and for a STOP all the time."""

_WITHDRAWN = {"kind": "note", "text": "withdrawn by a STOP"}


class Inbox:
    """The messages of one memory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, session_id: str, text: str, *, author: str = "clinician", is_stop: bool = False) -> Message:
        """Deliver a message. Once a STOP is delivered, no act of the session is authorised until `clear_stop`.

        A STOP is delivered whatever its text and its author are like: what cannot be kept of them is left out.

        Raises:
            BadInput: empty, longer than `MAX_TEXT`, or not text.
            UnknownName: there is no such session.
        """
        if is_stop:
            text = kept_text(text, max_length=MAX_TEXT, otherwise="STOP")
            author = kept_text(author, max_length=MAX_AUTHOR, otherwise="unknown")
        values: dict[str, Any] = {
            "author": check_text("author", author, max_length=MAX_AUTHOR),
            "text": check_text("text", text, max_length=MAX_TEXT),
            "is_stop": is_stop,
        }
        with self._store.write() as connection:
            session = lock_session(connection, session_id)  # in line with authorisations: see `Ledger.authorise`
            values["received_at"] = datetime.now(UTC)  # not before it was let in
            kept = insert(MessageTable).values(session_id=session_id, **values)
            row = connection.execute(kept.returning(*_COLUMNS)).one()
            session.wrote(MessageTable, [row.id], values)
            return Message(**row._mapping)

    def unread(self, session_id: str) -> list[Message]:
        """What no step has read yet, oldest first."""
        return list(self.each_unread(session_id))

    def each_unread(self, session_id: str, page: int = 500) -> Iterator[Message]:
        """The same, fetched `page` at a time: there may be very many, and whoever reads them may leave off."""
        after, is_more = 0, True
        while is_more:
            with self._store.read() as connection:
                asked = {"of": session_id, "after": after, "most": page}
                rows = connection.execute(_UNREAD_PAGE, asked).all()
            for row in rows:
                yield Message(**row._mapping)
                after = row.id
            is_more = len(rows) == page

    def has_news(self, session_id: str) -> bool:
        """Whether anything but a STOP waits to be read."""
        with self._store.read() as connection:
            return connection.execute(_NEWS, {"of": session_id}).one_or_none() is not None

    def mark_read(self, session_id: str, readings: Mapping[int, dict[str, Any]], step: int) -> None:
        """Record what `step` understood of the session's messages with these ids, in one transaction.

        Of a message that was read before, as when a node is run again, the first reading stands. What a power cut takes
        back is read again: the reading is in the event log by then.

        Raises:
            SessionBusy: this process does not hold the session.
        """
        if not readings:
            return
        rows: list[dict[str, Any]] = [
            {"message": id_, "of": session_id, "step": step, "reading": plain_json(f"What was read of {id_}", words)}
            for id_, words in readings.items()
        ]
        with self._store.write(late=True) as connection:
            session = lock_held(self._store, connection, session_id)
            asked = {"of": session_id, "first": min(readings), "last": max(readings)}
            unread = set(connection.scalars(_UNREAD_IDS, asked))
            rows = [row for row in rows if row["message"] in unread]
            if rows:
                connection.execute(_MARK, rows)
            for row in rows:
                session.wrote(MessageTable, [row["message"]], {"parsed": row["reading"], "read_at_step": step})

    def unread_stops(self, session_id: str) -> list[Message]:
        """The STOPs that no step has read and nobody cleared, oldest first."""
        with self._store.read() as connection:
            return [Message(**row._mapping) for row in connection.execute(_UNREAD_STOPS, {"of": session_id})]

    def unread_before(self, session_id: str, message_id: int) -> list[str]:
        """The texts of what no step has read and came before a message, oldest first; STOPs are left out."""
        before = _UNREAD.where(~_TABLE.c.is_stop, _TABLE.c.id < message_id).with_only_columns(_TABLE.c.text)
        with self._store.read() as connection:
            return list(connection.scalars(before, {"of": session_id}))

    def withdraw_before(self, session_id: str, message_id: int, step: int) -> None:
        """A STOP goes before what was said until then: nobody reads it any more.

        Raises:
            SessionBusy: this process does not hold the session.
        """
        withdrawn = update(MessageTable).where(
            MessageTable.session_id == session_id, MessageTable.id < message_id, MessageTable.read_at_step.is_(None)
        )
        with self._store.write(late=True) as connection:
            session = lock_held(self._store, connection, session_id)
            values = {"parsed": _WITHDRAWN, "read_at_step": step}
            ids = connection.scalars(withdrawn.values(**values).returning(MessageTable.id)).all()
            session.wrote_alike(MessageTable, ([id_] for id_ in ids), values)

    def active_stop(self, session_id: str) -> Message | None:
        """The first STOP that was not cleared."""
        with self._store.read() as connection:
            return active_stop(connection, session_id)

    def newest(self, session_id: str) -> int:
        """The id of the newest message, 0 before the first."""
        query = select(func.max(MessageTable.id)).where(MessageTable.session_id == session_id)
        with self._store.read() as connection:
            return connection.scalar(query) or 0

    def clear_stop(self, session_id: str, *, up_to: int | None = None) -> int:
        """A human lets the session go on; returns how many STOPs were active. `up_to` is the last one meant.

        Raises:
            SessionBusy: this process does not hold the session.
        """
        with self._store.write() as connection:
            session = lock_held(self._store, connection, session_id)
            active = update(MessageTable).where(MessageTable.session_id == session_id, ACTIVE_STOP)
            if up_to is not None:
                active = active.where(MessageTable.id <= up_to)
            values = {"cleared_at": datetime.now(UTC)}
            cleared = connection.scalars(active.values(**values).returning(MessageTable.id)).all()
            session.wrote_alike(MessageTable, ([id_] for id_ in cleared), values)
            return len(cleared)

    def since(self, session_id: str, step: int) -> list[Message]:
        """What was read at `step` or later, and what waits to be read, oldest first."""
        recent = or_(MessageTable.read_at_step >= step, MessageTable.read_at_step.is_(None))
        with self._store.read() as connection:
            return [Message(**row._mapping) for row in connection.execute(_OF.where(recent), {"of": session_id})]


def active_stop(connection: Connection, session_id: str) -> Message | None:
    """The first STOP of a session that was not cleared, as this transaction sees it."""
    row = connection.execute(_STOPS, {"of": session_id}).one_or_none()
    return None if row is None else Message(**row._mapping)
