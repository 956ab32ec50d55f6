"""Retention: forget a whole session, give the space back, say what takes it. Parts of a session are never removed."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Executable, delete, exists, func, select, text, update

from loopwright.memory.lease import refuse_if_held
from loopwright.memory.rows import Pruned, SessionSize, SizeReport
from loopwright.memory.sessions import lock_session
from loopwright.memory.store import Store
from loopwright.memory.tables import (
    ActTable,
    BlobRefTable,
    BlobTable,
    CheckpointTable,
    CheckpointWriteTable,
    EventTable,
    LeaseTable,
    MessageTable,
    SealTable,
    SessionTable,
    StepTable,
)

_CHILDREN = (
    LeaseTable, SealTable, EventTable, BlobRefTable, MessageTable, ActTable, StepTable, CheckpointTable,
    CheckpointWriteTable,
)  # fmt: skip


_SHRINK = "PRAGMA wal_checkpoint(TRUNCATE)"


class Retention:
    """What is kept, and for how long."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prune(self, session_id: str) -> Pruned:
        """Remove a session whole: checkpoints, events, messages, acts, steps, and the blobs that it alone refers to.

        Its forks stay. SQLite gives the space back to the disk at once, or when those let go who read it now;
        PostgreSQL keeps it for new rows until `vacuum`.

        Raises:
            SessionBusy: a live process runs it.
            UnknownName: there is no such session.
        """
        before = self._bytes_on_disk()
        with self._store.write() as connection:
            lock_session(connection, session_id)
            refuse_if_held(self._store, connection, session_id)
            if not self._store.is_sqlite:  # no blob may gain a reference while those without one are looked for
                connection.execute(text("LOCK TABLE blobs IN EXCLUSIVE MODE"))
            size = SessionSize(**connection.execute(_size_query(SessionTable.id == session_id)).one()._mapping)
            # the flag opens the triggers that guard the event log, in this transaction only
            connection.execute(update(SessionTable).where(SessionTable.id == session_id).values(is_pruning=True))
            for table in _CHILDREN:
                connection.execute(delete(table).where(table.session_id == session_id))
            connection.execute(delete(SessionTable).where(SessionTable.id == session_id))
            unused = ~exists().where(BlobRefTable.sha256 == BlobTable.sha256)
            connection.execute(delete(BlobTable).where(unused))
        if self._store.is_sqlite:
            self._outside_transaction("PRAGMA incremental_vacuum", _SHRINK)
        return Pruned(removed=size, freed_bytes=max(0, before - self._bytes_on_disk()))

    def vacuum(self, *, full: bool = False) -> int:
        """Give the space of what was pruned back to the disk; the number of bytes.

        Args:
            full: have PostgreSQL write its tables anew, while all sessions wait; else it only makes the space ready
                for new rows. SQLite always writes its file anew.

        Raises:
            MemoryUnavailable: another process is using the database, or the disk has no room for the copy.
        """
        before = self._bytes_on_disk()
        if self._store.is_sqlite:
            self._outside_transaction("VACUUM", _SHRINK)
        else:
            self._outside_transaction("VACUUM FULL" if full else "VACUUM")
        return max(0, before - self._bytes_on_disk())

    def _outside_transaction(self, *statements: str) -> None:
        with self._store.outside_transaction() as connection:
            if self._store.is_sqlite:  # as a script, which steps a PRAGMA to its end
                driver: Any = connection.connection.dbapi_connection
                driver.executescript("; ".join(statements))
            else:
                for statement in statements:
                    connection.exec_driver_sql(statement)

    def size(self) -> SizeReport:
        """What takes how much space, the newest session first."""
        with self._store.read() as connection:
            rows = connection.execute(_size_query())
            sessions = tuple(SessionSize(**row._mapping) for row in rows)
            blobs = select(func.count(), func.coalesce(func.sum(BlobTable.n_bytes), 0)).select_from(BlobTable)
            n_blobs, blob_bytes = connection.execute(blobs).one()
        total = self._bytes_on_disk()
        return SizeReport(total_bytes=total, n_blobs=n_blobs, blob_bytes=blob_bytes, sessions=sessions)

    def _bytes_on_disk(self) -> int:
        if not self._store.is_sqlite:
            size = select(func.pg_database_size(func.current_database(), type_=BigInteger))
            with self._store.read() as connection:
                return connection.scalars(size).one()
        path = self._store.path
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())


def _size_query(*where: ColumnElement[bool]) -> Executable:
    session = SessionTable
    events = select(func.coalesce(func.sum(func.length(EventTable.payload)), 0)).where(
        EventTable.session_id == session.id
    )
    refs = (
        select(func.count(), func.coalesce(func.sum(BlobTable.n_bytes), 0))
        .select_from(BlobRefTable)
        .join(BlobTable, BlobTable.sha256 == BlobRefTable.sha256)
        .where(BlobRefTable.session_id == session.id)
    )
    n_blobs, blob_bytes = (refs.with_only_columns(column).scalar_subquery() for column in refs.selected_columns)
    query = select(
        session.id.label("session_id"),
        session.loop,
        session.status,
        session.created_at,
        session.n_events,
        events.scalar_subquery().label("event_bytes"),
        n_blobs.label("n_blobs"),
        blob_bytes.label("blob_bytes"),
    )
    return query.where(*where).order_by(session.created_at.desc(), session.id)
