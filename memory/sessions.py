"""Sessions: their rows and who may run them. Knows nothing of what a session does."""

from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, get_args

from sqlalchemy import Connection, bindparam, insert, select

from loopwright.errors import BadInput, SessionBusy, UnknownName
from loopwright.memory.lease import Lease, is_alive, take_lease
from loopwright.memory.rows import SessionRow, SessionStatus
from loopwright.memory.sealing import Locked
from loopwright.memory.store import Store
from loopwright.memory.tables import LeaseTable, SessionTable
from loopwright.memory.values import LAST, check_text, plain_json
from loopwright.schema import GENESIS

_COLUMNS = tuple(SessionTable.__table__.c[name] for name in SessionRow.model_fields)

_LOCKED = ("id", "loop", "token", "n_events", "head_hash", "n_seals", "seal_hash")
_LOCK = (
    select(*(SessionTable.__table__.c[name] for name in _LOCKED))
    .where(SessionTable.__table__.c.id == bindparam("session_id"))
    .with_for_update()
)

UNSEALED = ("id", "n_seals", "seal_hash")
"""Columns of a session's row that its seals do not list: its name, and the end of the chain of seals itself."""


class Sessions:
    """The sessions of one memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leases: dict[str, Lease] = {}

    def create(
        self, loop: str, config: dict[str, Any], *, parent: str | None = None, session_id: str | None = None
    ) -> SessionRow:
        """A new session of `loop`, status `created`; `parent` is the session that it is forked from.

        Its id is a new one, or `session_id`, as a LangGraph server names its threads.

        Raises:
            BadInput: `session_id` is empty, longer than 200 characters, or taken.
            DeveloperError: `config` is not JSON.
            UnknownName: there is no session `parent`.
        """
        now = datetime.now(UTC)
        session = SessionRow(
            id=session_id or f"{loop}-{token_hex(6)}",
            loop=loop,
            config=plain_json(f"The configuration of a `{loop}` session", config),
            parent=parent,
            status="created",
            created_at=now,
            updated_at=now,
            n_events=0,
            head_hash=GENESIS,
            token=0,
            n_seals=0,
            seal_hash=GENESIS,
        )
        values = {**session.model_dump(), "is_pruning": False}
        check_text("session_id", session.id, max_length=200)
        with self._store.write() as connection:
            if _exists(connection, session.id):
                raise BadInput(f"There is a session {session.id!r} already. Resume it, or choose another id.")
            if parent is not None:
                lock_session(connection, parent)
            connection.execute(insert(SessionTable).values(**values))
            lock_session(connection, session.id).wrote(
                SessionTable, [], {name: value for name, value in values.items() if name not in UNSEALED}
            )
        return self.get(session.id)

    def exists(self, session_id: str) -> bool:
        """Whether there is a session of this id."""
        with self._store.read() as connection:
            return _exists(connection, session_id)

    def get(self, session_id: str) -> SessionRow:
        """The session, or `UnknownName` with near ids."""
        with self._store.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(SessionTable.id == session_id)).one_or_none()
            if row is None:
                raise unknown_session(connection, session_id)
            return SessionRow(**row._mapping)

    def find(self, name: str) -> str:
        """The id that a person means by `name`: an id, the beginning of one alone, or `last` for the newest session.

        Raises:
            BadInput: several begin like that.
            UnknownName: none does.
        """
        newest = select(SessionTable.id).order_by(SessionTable.created_at.desc(), SessionTable.id)
        with self._store.read() as connection:
            if _exists(connection, name):
                return name
            if name == LAST:
                found = connection.scalars(newest.limit(1)).all()
            else:
                alike = newest.where(SessionTable.id.startswith(name, autoescape=True))
                found = connection.scalars(alike.limit(6)).all() if name else []
            if not found:
                raise unknown_session(connection, name)
        if len(found) > 1:
            some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            raise BadInput(f"Several sessions begin with {name!r}: {some}. Write more of the one that you mean.")
        return found[0]

    def list(self) -> list[SessionRow]:
        """Every session, newest first."""
        with self._store.read() as connection:
            rows = connection.execute(select(*_COLUMNS).order_by(SessionTable.created_at.desc(), SessionTable.id))
            return [SessionRow(**row._mapping) for row in rows]

    def interrupted(self) -> frozenset[str]:
        """Ids of the sessions that say `running` though no live process holds them: killed, or the power went."""
        with self._store.read() as connection:
            running = connection.scalars(select(SessionTable.id).where(SessionTable.status == "running")).all()
            return frozenset(running) - self._held(connection)

    def held(self) -> frozenset[str]:
        """Ids of the sessions that a live process holds, this one or another."""
        with self._store.read() as connection:
            return self._held(connection)

    def _held(self, connection: Connection) -> frozenset[str]:
        now = self._store.now(connection)
        leases = connection.execute(select(LeaseTable)).all()
        return frozenset(lease.session_id for lease in leases if is_alive(lease, now))

    def set_status(self, session_id: str, status: SessionStatus) -> SessionRow:
        """The session with its new status.

        Raises:
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such session, or status.
        """
        if status not in get_args(SessionStatus):
            raise UnknownName("session status", status, get_args(SessionStatus))
        with self._store.write() as connection:
            lock_held(self._store, connection, session_id).change(status=status, updated_at=datetime.now(UTC))
        return self.get(session_id)

    def acquire(self, session_id: str) -> Lease:
        """Hold the session for this process, alone; a dead holder's lease is taken over at once.

        Until the lease is released this memory, and no other, writes for the session: whatever changes a session but
        `Inbox.put` and `Retention.prune` is refused where its lease is not held.

        Raises:
            SessionBusy: another live process, or another thread of this one, holds it.
            UnknownName: there is no such session.
        """
        with self._store.write() as connection:
            token = take_lease(self._store, connection, lock_session(connection, session_id))
        self._store.tokens[session_id] = token
        self._leases[session_id] = Lease(self._store, session_id, token)
        return self._leases[session_id]

    def release_all(self) -> None:
        """Let go of every session that this memory holds."""
        for lease in self._leases.values():
            lease.release()


def _exists(connection: Connection, session_id: str) -> bool:
    return connection.scalars(select(SessionTable.id).where(SessionTable.id == session_id)).one_or_none() is not None


def lock_session(connection: Connection, session_id: str) -> Locked:
    """Lock the session's row until the transaction ends.

    Whatever must not interleave within a session begins with this, STOP among it, or with `lock_held`. SQLite's
    writers are alone anyway.

    Raises:
        UnknownName: there is no such session.
    """
    sealing: dict[str, Locked] = connection.info["sealing"]
    if session_id not in sealing:
        row = connection.execute(_LOCK, {"session_id": session_id}).one_or_none()
        if row is None:
            raise unknown_session(connection, session_id)
        sealing[session_id] = Locked(**row._mapping)
    return sealing[session_id]


def lock_held(store: Store, connection: Connection, session_id: str) -> Locked:
    """`lock_session` for those who write on behalf of a session: the holder of its newest lease, and nobody else.

    Raises:
        SessionBusy: this process holds no lease of the session, or another one took it over.
        UnknownName: there is no such session.
    """
    session, token = lock_session(connection, session_id), store.tokens.get(session_id)
    if token is None:
        raise SessionBusy(
            f"Session `{session_id}` is not held here, and only its holder may write for it. Nothing was written. Hold "
            "it first: `with memory.sessions.acquire(session_id):`."
        )
    if token != session.token:
        raise SessionBusy(
            f"Session `{session_id}` is held with token {session.token}, this process comes with token {token}: "
            "another one took the session over. Nothing was written. Let that one go on, or stop it and resume the "
            "session here."
        )
    return session


def unknown_session(connection: Connection, session_id: str) -> UnknownName:
    """The error for an id that is not there, with a few that are: the newest, and those that begin alike."""
    ids = select(SessionTable.id).order_by(SessionTable.created_at.desc()).limit(5)
    alike = ids.where(SessionTable.id.startswith(session_id[:8], autoescape=True))
    known = dict.fromkeys([*connection.scalars(alike), *connection.scalars(ids)])
    return UnknownName("session", session_id, known)
