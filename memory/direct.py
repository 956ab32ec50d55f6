"""Delivers a STOP by `sqlite3` or `psycopg` alone: SQLAlchemy takes longer to import than a STOP may take.

The same transaction as `Inbox.put`'s, to a session that a live process runs. Whatever is not as usual is left to
`open_memory`, which says what is wrong. On SQLite it does not queue up behind writers: it takes the first gap.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from loopwright.digests import Written, changes_text, digests, seal_hash
from loopwright.errors import BadInput
from loopwright.memory.values import LAST, STALE_S, check_text, stop_text

RETRY_S = 0.001
"""Pause between two attempts to write; SQLite's own grow to 0.1 s, in which others take their turn."""

Execute = Callable[..., Any]


def put_stop(url: str, session_id: str, text: str, *, author: str, timeout_s: float) -> str | None:
    """Deliver a STOP to a session that is being run; its status.

    None: nothing was written. Nobody runs the session, it has ended or is not there, the author will not do, or the
    database does not work.
    """
    try:
        author = check_text("author", author, max_length=200)
        if url.startswith("sqlite:///"):
            with _sqlite(unquote(url.removeprefix("sqlite:///")), timeout_s) as execute:
                return _put(execute, session_id, text, author, lambda: datetime.now(UTC), sqlite=True)
        scheme, _, rest = url.partition("://")
        if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
            return _put_postgresql(f"postgresql://{rest}", session_id, text, author, timeout_s)
    except (sqlite3.Error, OSError, ImportError, BadInput):
        pass
    return None


def _put(
    execute: Execute, session_id: str, text: str, author: str, clock: Callable[[], datetime], *, sqlite: bool
) -> str | None:
    """Within a transaction that other writers of the session wait for."""
    locked = "" if sqlite else " FOR UPDATE"
    of = f"SELECT status, n_seals, seal_hash FROM sessions WHERE id = ?{locked}"
    session = execute(of, (session_id,)).fetchone()
    if session is None and session_id == LAST:
        newest = execute("SELECT id FROM sessions ORDER BY created_at DESC, id LIMIT 1", ()).fetchone()
        session_id = newest[0] if newest else session_id
        session = execute(of, (session_id,)).fetchone()
    lease = execute("SELECT pid, heartbeat_at FROM leases WHERE session_id = ?", (session_id,)).fetchone()
    now = clock()
    if session is None or session[0] not in ("running", "waiting"):
        return None
    if lease is None or not _is_alive(lease[0], lease[1], now):
        return None
    status, n_seals, last_hash = session
    values = {"author": author, "text": stop_text(text), "is_stop": True, "received_at": now}
    kept = values | {"received_at": now.replace(tzinfo=None).isoformat(" ", "microseconds") if sqlite else now}
    insert = "INSERT INTO messages (session_id, author, text, is_stop, received_at) VALUES (?, ?, ?, ?, ?) RETURNING id"
    (message_id,) = execute(insert, (session_id, *kept.values())).fetchone()
    changes = changes_text([Written("messages", [message_id], digests(values))])
    link = seal_hash(last_hash, session_id, n_seals + 1, changes)
    seal = (session_id, n_seals + 1, changes, last_hash, link)
    execute("INSERT INTO seals (session_id, n, changes, prev_hash, hash) VALUES (?, ?, ?, ?, ?)", seal)
    execute("UPDATE sessions SET n_seals = ?, seal_hash = ? WHERE id = ?", (n_seals + 1, link, session_id))
    return str(status)


def _is_alive(pid: int, beat: datetime | str, now: datetime) -> bool:
    """Whether a lease's holder is alive as far as can be told cheaply; one on another machine is left to `Lease`."""
    if isinstance(beat, str):
        beat = datetime.fromisoformat(beat).replace(tzinfo=UTC)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return now - beat <= timedelta(seconds=STALE_S)


@contextmanager
def _sqlite(file: str, timeout_s: float) -> Iterator[Execute]:
    until = time.monotonic() + timeout_s
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(RETRY_S)
        with connection:
            yield connection.execute


def _put_postgresql(url: str, session_id: str, text: str, author: str, timeout_s: float) -> str | None:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=max(1, round(timeout_s))) as connection:

            def execute(statement: str, values: tuple[Any, ...]) -> Any:
                return connection.execute(statement.replace("?", "%s").encode(), values)

            def clock() -> datetime:
                now: datetime = execute("SELECT clock_timestamp()", ()).fetchone()[0]
                return now

            return _put(execute, session_id, text, author, clock, sqlite=False)
    except psycopg.Error as error:
        raise OSError(str(error)) from error
