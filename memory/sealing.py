"""Seals: each transaction of a session commits to digests of the rows that it wrote, in a chain of its own.

    hash = SHA-256(hash of the seal before, session, number, [table, row, {column: digest}] of each row written)

So the newest seal's hash, the head of the record, stands for every column of every row of the session, its events
among them by `head_hash`; `loopwright.memory.verify` reads the rows and the chain back and names what differs. A
database that was hashed anew as a whole, or whose end was cut, is told from the real one by a head kept elsewhere. The
lease is not sealed: it says who runs a session now, and is no part of its record.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Update, bindparam, insert, update

from loopwright.digests import Written, changes_text, digests, seal_hash
from loopwright.memory.tables import Base

_SESSIONS = Base.metadata.tables["sessions"]
_INSERT = insert(Base.metadata.tables["seals"])


class Locked:
    """A session's row, locked until the transaction ends: what its writers need of it, and what they write.

    The row is written with the seal, just before the commit. Within one transaction a session has one of these.
    """

    def __init__(
        self, *, id: str, loop: str, token: int, n_events: int, head_hash: str, n_seals: int, seal_hash: str
    ) -> None:
        self.id, self.loop, self.token = id, loop, token
        self.n_events, self.head_hash = n_events, head_hash
        self._n_seals, self._seal_hash = n_seals, seal_hash
        self._written: list[Written] = []
        self._changed: dict[str, Any] = {}

    def wrote(self, table: type[Base], key: Sequence[str | int], columns: Mapping[str, Any]) -> None:
        """A row of the session was inserted or updated: `columns` are its values, as passed to SQL.

        Columns that were never written are NULL.

        Args:
            table: whose row.
            key: what names the row within the session: its primary key or another that is unique.
            columns: those that were written, but for the key and the session's id.
        """
        self.wrote_alike(table, [key], columns)

    def wrote_alike(self, table: type[Base], keys: Iterable[Sequence[str | int]], columns: Mapping[str, Any]) -> None:
        """The same was written into each of these rows."""
        of = digests(columns)
        self._written += [Written(table.__tablename__, key, of) for key in keys]

    def removed_all(self, table: type[Base]) -> None:
        """Every row of the session in this table was deleted."""
        self._written.append(Written(table.__tablename__, [], None))

    def change(self, **columns: Any) -> None:
        """Change the session's own row."""
        self._changed |= columns
        for name in columns.keys() & {"token", "n_events", "head_hash"}:
            setattr(self, name, columns[name])

    def seal(self, connection: Connection) -> None:
        """Write the session's row and the seal of this transaction; nothing, where nothing was written."""
        if self._changed:
            self._written.append(Written("sessions", [], digests(self._changed)))
        if not self._written:
            return
        n, changes = self._n_seals + 1, changes_text(self._written)
        link = seal_hash(self._seal_hash, self.id, n, changes)
        seal = {"session_id": self.id, "n": n, "changes": changes, "prev_hash": self._seal_hash, "hash": link}
        connection.execute(_INSERT, seal)
        row = {**self._changed, "n_seals": n, "seal_hash": link}
        connection.execute(_update(tuple(row)), {"of": self.id, **row})


@cache
def _update(columns: tuple[str, ...]) -> Update:
    """Built once for each set of columns: building it takes longer than running it."""
    return update(_SESSIONS).where(_SESSIONS.c.id == bindparam("of")).values({n: bindparam(n) for n in columns})
