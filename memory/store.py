"""The engine and its two transactions, `read()` and `write()`. Knows connections and their failures; knows no table.

A write is one transaction: committed whole and on disk, or nothing of it. SQLite writers take the file's write lock
at their start (BEGIN IMMEDIATE), so a check and the write that rests on it cannot be parted; on PostgreSQL the callers
lock the session's row to the same end. A database's own errors leave here as `MemoryUnavailable`.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from sqlalchemy import URL, Connection, DateTime, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, ProgrammingError
from sqlalchemy.exc import IntegrityError as ConstraintError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from loopwright.errors import BadInput, MemoryUnavailable, MissingDependency

_REPAIRS = (
    (("unable to open", "permission denied"), "Make the folder, or correct its name or its permissions."),
    (("not a database", "malformed"), "It was left untouched: name another file, or put a backup in its place."),
    (("idle-in-transaction",), "Nothing of this write was kept: this process was suspended in it. Resume."),
    (("locked", "busy", "lock timeout"), "Another program holds it: end that one, or raise `memory.busy_timeout_s`, "
     "and try again."),
    (("full", "disk i/o", "no space", "file too large"), "Nothing of this write was kept: free space, then resume."),
    (("readonly", "read-only"), "Make the file and its folder writable."),
    (("does not exist",), "Create it first (`createdb`), or correct the name in the URL."),
    (("authentication", "no password"), "Correct the user and the password in the URL."),
    (("connection refused", "connection failed", "could not connect", "timeout", "closed"), "Start the server, or "
     "correct the host and port in the URL."),
)  # fmt: skip

Change = Callable[[Connection], object]
"""Writes something, in a transaction that is open."""

MIGRATION_LOCK = 0x4C6F6F70
"""PostgreSQL's advisory lock for whoever changes tables: a number that no other program is likely to take."""


SUSPENDED_S = 5.0
"""PostgreSQL takes back a transaction in which nothing was asked for so long, s: whoever is suspended in one would keep
all others from the session, and a STOP from its inbox."""


class Sealing(Protocol):
    """What a transaction still has to write when it is about to be committed."""

    def seal(self, connection: Connection) -> None:
        """Write it."""


class Store:
    """One database. `tokens` are those of the leases that this process holds, by session id."""

    def __init__(self, url: URL, *, busy_timeout_s: float) -> None:
        self.address = url
        self.busy_timeout_s = busy_timeout_s
        self.tokens: dict[str, int] = {}
        self._moment: ContextVar[Connection | None] = ContextVar("moment", default=None)
        self.engine = _make_engine(url, busy_timeout_s)
        self._reader = self.engine
        if not self.is_sqlite:
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")

    @property
    def url(self) -> str:
        """The URL with its password hidden."""
        return self.address.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file rather than a server."""
        return self.engine.dialect.name == "sqlite"

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(str(self.address.database))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment; within `moment` that one."""
        shared = self._moment.get()
        if shared is not None:
            yield shared
            return
        with self.translated(), self._reader.connect() as connection:
            if self.is_sqlite:
                _begin_sqlite(connection, "BEGIN")
            with connection.begin():
                yield connection

    @contextmanager
    def moment(self) -> Iterator[Connection]:
        """Several reads of this thread that all see the same moment, however much is written meanwhile."""
        with self.read() as connection:
            connection.execute(select(1))  # from here on
            outer = self._moment.set(connection)
            try:
                yield connection
            finally:
                self._moment.reset(outer)

    @contextmanager
    def write(self, *, late: bool = False) -> Iterator[Connection]:
        """A transaction that is durable when it ends, and leaves nothing when it raises.

        `late`: SQLite brings it to the disk with the next one that is not late, as it writes its log in order. A power
        cut before that takes it back; a kill does not.
        """
        with self.translated(), self.engine.connect() as connection:
            if self.is_sqlite:
                _begin_sqlite(connection, f"PRAGMA synchronous = {'NORMAL' if late else 'FULL'}", "BEGIN IMMEDIATE")
            with connection.begin():
                sealing: dict[str, Sealing] = {}
                connection.info["sealing"] = sealing
                yield connection
                for each in sealing.values():
                    each.seal(connection)

    @contextmanager
    def outside_transaction(self) -> Iterator[Connection]:
        """For what cannot run inside one: VACUUM."""
        options = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with self.translated(), self.engine.execution_options(**options).connect() as connection:
            yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert of this database's own dialect, which can say what is to happen on a conflict."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def now(self, connection: Connection) -> datetime:
        """The one clock of all processes that share this database: the server's, or this machine's."""
        if self.is_sqlite:
            return datetime.now(UTC)
        clock = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        return connection.scalars(clock).one().astimezone(UTC)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the database cannot do just now into `MemoryUnavailable`; leave wrong SQL as it is."""
        try:
            yield
        except (ConstraintError, ProgrammingError, DataError):
            raise
        except (DBAPIError, PoolTimeout) as error:
            raise self.unavailable(error.orig if isinstance(error, DBAPIError) else error) from error
        except sqlite3.DatabaseError as error:
            raise self.unavailable(error) from error

    def unavailable(self, cause: BaseException | None) -> MemoryUnavailable:
        """The error for `cause`, with the repair that fits it."""
        text = " ".join(str(cause).split())
        lowered = text.lower()
        repair = next((r for words, r in _REPAIRS if any(w in lowered for w in words)), "See the cause.")
        return MemoryUnavailable(f"Memory `{self.url}` cannot be used: {text}. {repair}")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def or_replace(insert: sqlite.Insert | postgresql.Insert, *unique: str) -> sqlite.Insert | postgresql.Insert:
    """`insert`, which overwrites a row that has the same values in the columns `unique`; its primary key stays."""
    new = {column.name: insert.excluded[column.name] for column in insert.table.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=unique, set_=new)


def parse_url(url: str) -> URL:
    """`url` with its driver named.

    Raises:
        BadInput: not a URL, or not of a database that is supported.
    """
    expected = "Expected `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput(f"Memory URL {url!r} cannot be read. {expected}") from error
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_url(url, expected)
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    shown = parsed.render_as_string(hide_password=True)
    raise BadInput(f"Memory URL {shown!r} is of a database that is not supported. {expected}")


def _sqlite_url(url: str, expected: str) -> URL:
    """With the file's name decoded as every SQLAlchemy would from 2.1 on."""
    name, mark, options = url.partition(":///")[2].partition("?")
    if mark:
        raise BadInput(
            f"Memory URL {url!r} has the options {options!r} after `?`; expected none for a SQLite file. Leave them "
            "out, or write `%3F` for a `?` in the file's name."
        )
    file = unquote(name)
    if not file or file == ":memory:" or file.startswith("file:"):
        raise BadInput(f"Memory URL {url!r} names no file; a memory must outlive its process. {expected}")
    return URL.create("sqlite+pysqlite", database=file)


def _make_engine(url: URL, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        # the connection last used has the newest pages in its cache
        engine = create_engine(url, connect_args={"timeout": busy_timeout_s}, pool_use_lifo=True)
        event.listen(engine, "connect", _set_up_sqlite)
        return engine
    try:
        limits = {"idle_in_transaction_session_timeout": SUSPENDED_S, "lock_timeout": busy_timeout_s}
        options = " ".join(f"-c {name}={round(1000 * seconds)}" for name, seconds in limits.items())
        connecting = {"connect_timeout": max(1, round(busy_timeout_s)), "options": options}
        return create_engine(url, pool_pre_ping=True, connect_args=connecting)
    except ImportError as error:
        raise MissingDependency(
            f"Memory `{url.render_as_string(hide_password=True)}` needs `psycopg`. "
            "Install it: `pip install 'loopwright[postgres]'`."
        ) from error


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: see `_begin_sqlite`
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in the file; waits for writers
    for pragma in ("foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection, *statements: str) -> None:
    """Begin by these statements, past SQLAlchemy: as an event of its engine it would take several times as long."""
    cursor = connection.connection.cursor()
    for statement in statements:
        cursor.execute(statement)
