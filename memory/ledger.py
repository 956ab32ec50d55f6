"""The actuation ledger: an act happens at most once and is never forgotten (rule 3). It sends nothing to a world.

intend -> intended -> authorise -> authorised -> settle -> settled
              \\________________________\\_______ refuse -> refused
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

from sqlalchemy import Connection, Executable, Row, bindparam, insert, select, update

from loopwright.errors import ApprovalExpired, DeveloperError, IntegrityError, Stopped, UnknownName
from loopwright.memory.inbox import active_stop
from loopwright.memory.rows import Approver, LedgerEntry
from loopwright.memory.sealing import Locked
from loopwright.memory.sessions import lock_held
from loopwright.memory.store import Store
from loopwright.memory.tables import UNSETTLED, ActTable, Base
from loopwright.memory.values import check_text, plain_json
from loopwright.schema import Act, Outcome
from loopwright.settings import settings

_TABLE = Base.metadata.tables[ActTable.__tablename__]
_COLUMNS = tuple(_TABLE.c[name] for name in LedgerEntry.model_fields)
_BY_KEY = select(*_COLUMNS).where(_TABLE.c.key == bindparam("key"))
_INTEND = insert(_TABLE).returning(*_COLUMNS, _TABLE.c.id)


@cache
def _change(names: tuple[str, ...]) -> Executable:
    """Set these columns of one act. Built once: building it takes longer than running it."""
    new: dict[str, Any] = {name: bindparam(name) for name in names}
    return update(_TABLE).where(_TABLE.c.key == bindparam("of")).values(new).returning(*_COLUMNS)


class Ledger:
    """The acts of one memory, by idempotency key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def intend(self, session_id: str, key: str, act: Act, *, step: int) -> LedgerEntry:
        """Write down what is about to be asked for. A key that is known returns its entry, however far it got.

        It is on the disk, at the latest, with the authorisation: see `Store.write` on `late`.

        Raises:
            BadInput: `key` is empty or longer than 200 characters.
            DeveloperError: `act` is not JSON.
            IntegrityError: `key` is known for another command or session.
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such session.
        """
        check_text("key", key, max_length=200)
        command = plain_json(f"Act `{key}`", act.model_dump(mode="json"))
        with self._store.write(late=True) as connection:
            session = lock_held(self._store, connection, session_id)
            known = _find(connection, key)
            if known is not None:
                if (known.session_id, known.command_sha256) != (session_id, act.sha256):
                    raise IntegrityError(
                        f"Ledger key `{key}` belongs to {known.act!r} of session `{known.session_id}`, not to {act!r}. "
                        "Give every act a key of its own."
                    )
                return known
            values = {
                "step": step, "act": command, "command_sha256": act.sha256, "status": "intended", "reason": "",
                "intended_at": datetime.now(UTC),
            }  # fmt: skip
            row = connection.execute(_INTEND, {"key": key, "session_id": session_id, **values}).one()
            session.wrote(ActTable, [key], values | {"id": row.id})
            return _entry(row)

    def authorise(
        self, key: str, command_sha256: str, by: Approver, *, approved_at: datetime | None = None
    ) -> LedgerEntry:
        """Let the one command with this hash be sent, unless a STOP is active; in line with every STOP.

        After a STOP was delivered this returns for no act of its session, not even for one authorised before; what
        was authorised before may already have been sent. An act that was not sent is authorised anew, which counts.

        Args:
            key: what it was intended under.
            command_sha256: `Act.sha256` of the command that was approved.
            by: who approved it.
            approved_at: when; None: now.

        Raises:
            Stopped: a STOP of the session is active.
            ApprovalExpired: it was approved longer ago than `approval.expires_s` of the settings.
            IntegrityError: the command approved is not the one intended.
            SessionBusy: this process does not hold the session.
            DeveloperError: the act is settled or refused already.
            UnknownName: there is no such key.
        """
        if by not in get_args(Approver):
            raise UnknownName("approver", by, get_args(Approver))
        with self._store.write() as connection:
            entry, session = self._locked(connection, key)
            stop = active_stop(connection, entry.session_id)
            if stop is not None:
                raise Stopped(f"`{stop.author}` said STOP ({stop.text!r}); act `{key}` is not authorised.")
            if entry.command_sha256 != command_sha256:
                raise IntegrityError(
                    f"Act `{key}` was intended as {entry.command_sha256!r}, the approval is for {command_sha256!r}. "
                    "Show the human the exact command again."
                )
            _expect(entry, "intended", "authorised")
            now = datetime.now(UTC)
            refuse_expired(key, approved_at or now)
            approval = {"approved_by": by, "approved_at": approved_at or now, "authorised_at": now}
            return self._change(connection, session, key, status="authorised", token=session.token, **approval)

    def token_to_send(self, entry: LedgerEntry) -> int:
        """The token that an authorised act is sent with; asked for last, as its process may have slept since.

        Raises:
            ApprovalExpired: it was approved too long ago.
            DeveloperError: it was never authorised.
        """
        _expect(entry, "authorised")
        assert entry.approved_at is not None and entry.token is not None  # a constraint of the table
        refuse_expired(entry.key, entry.approved_at)
        return entry.token

    def settle(self, key: str, outcome: Outcome, *, world_sha256: str | None = None) -> LedgerEntry:
        """Record what the world did, and a digest of the world afterwards. The same outcome again changes nothing.

        Raises:
            IntegrityError: `outcome` is of another key, or differs from the one on record.
            SessionBusy: this process does not hold the session.
            DeveloperError: the act was never authorised, or was refused.
            UnknownName: there is no such key.
        """
        with self._store.write() as connection:
            entry, session = self._locked(connection, key)
            if outcome.key != key or entry.outcome not in (None, outcome):
                raise IntegrityError(f"Act `{key}` has the outcome {entry.outcome!r}; the world now says {outcome!r}.")
            if entry.status == "settled":
                return entry
            _expect(entry, "authorised")
            left = {"outcome": outcome.model_dump(mode="json"), "world_sha256": world_sha256}
            return self._change(connection, session, key, status="settled", closed_at=datetime.now(UTC), **left)

    def refuse(self, key: str, reason: str) -> LedgerEntry:
        """Close an act that was never sent. The first reason stands.

        Raises:
            DeveloperError: the act is settled.
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such key.
        """
        with self._store.write() as connection:
            entry, session = self._locked(connection, key)
            if entry.status == "refused":
                return entry
            _expect(entry, "intended", "authorised")
            closed = {"reason": reason, "closed_at": datetime.now(UTC)}
            return self._change(connection, session, key, status="refused", **closed)

    def get(self, key: str) -> LedgerEntry | None:
        """The entry of `key`."""
        with self._store.read() as connection:
            return _find(connection, key)

    def unsettled(self, session_id: str) -> list[LedgerEntry]:
        """What was intended or authorised and is neither settled nor refused, oldest first."""
        return self._all(session_id, UNSETTLED)

    def of(self, session_id: str) -> list[LedgerEntry]:
        """Every act of a session, oldest first."""
        return self._all(session_id)

    def _all(self, session_id: str, *where: Any) -> list[LedgerEntry]:
        query = select(*_COLUMNS).where(ActTable.session_id == session_id, *where).order_by(ActTable.id)
        with self._store.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def _locked(self, connection: Connection, key: str) -> tuple[LedgerEntry, Locked]:
        """The entry, once its session's row is locked; its session must be held by this process."""
        session = lock_held(self._store, connection, self._entry(connection, key).session_id)
        return self._entry(connection, key), session

    def _entry(self, connection: Connection, key: str) -> LedgerEntry:
        entry = _find(connection, key)
        if entry is None:
            near = connection.scalars(select(ActTable.key).order_by(ActTable.id.desc()).limit(5))
            raise UnknownName("ledger key", key, near)
        return entry

    def _change(self, connection: Connection, session: Locked, key: str, **values: Any) -> LedgerEntry:
        row = connection.execute(_change(tuple(values)), {"of": key, **values}).one()
        session.wrote(ActTable, [key], values)
        return _entry(row)


def is_expired(approved_at: datetime) -> bool:
    """Whether `approved_at` is longer ago than approvals hold."""
    return datetime.now(UTC) - approved_at > timedelta(seconds=settings().approval.expires_s)


def refuse_expired(key: str, approved_at: datetime) -> None:
    """Raise `ApprovalExpired` where `approved_at` is longer ago than approvals hold."""
    if is_expired(approved_at):
        age = datetime.now(UTC) - approved_at
        raise ApprovalExpired(
            f"Act `{key}` was approved {age.total_seconds():.0f} s ago; an approval holds for "
            f"{settings().approval.expires_s:g} s (`approval.expires_s`). Nothing was sent: have it approved again."
        )


def _find(connection: Connection, key: str) -> LedgerEntry | None:
    row = connection.execute(_BY_KEY, {"key": key}).one_or_none()
    return None if row is None else _entry(row)


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(**{name: row._mapping[name] for name in LedgerEntry.model_fields})


def _expect(entry: LedgerEntry, *statuses: str) -> None:
    if entry.status not in statuses:
        raise DeveloperError(
            f"Act `{entry.key}` is {entry.status!r}, expected {' or '.join(map(repr, statuses))}. "
            "Look the key up with `get` before going on with it."
        )
