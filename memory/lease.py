"""The lease: which one process runs a session. Knows hosts, processes and heartbeats; knows nothing of what they run.

A holder beats every `HEARTBEAT_S`. A lease is up when its process is dead (seen on the same machine) or when its last
beat is older than `STALE_S`, and is then taken over at once. Each lease of a session has a fencing token one greater
than the last (M. Kleppmann, "How to do distributed locking", 2016), kept in the session's row. A holder that slept
through a takeover, say in a suspended machine, comes with a smaller one: the memory refuses its writes in the
transaction that would make them (`loopwright.memory.sessions.lock_held`), and the device its acts.
"""

import os
import platform
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from loopwright.errors import MemoryUnavailable, SessionBusy
from loopwright.memory.sealing import Locked
from loopwright.memory.store import Store
from loopwright.memory.tables import LeaseTable
from loopwright.memory.values import STALE_S

HEARTBEAT_S = 2.0


class Lease:
    """A session held by this process until `release()` or the end of the `with` block.

    `token` is greater than that of every lease of the session before; worlds are told it.
    """

    def __init__(self, store: Store, session_id: str, token: int) -> None:
        self.session_id = session_id
        self.token = token
        self.is_lost = False
        self._store = store
        self._released = threading.Event()
        self._beat_thread = threading.Thread(target=self._beat, name=f"lease {session_id}", daemon=True)
        self._beat_thread.start()

    def check(self) -> None:
        """Raise `SessionBusy` where another process has taken over."""
        if self.is_lost:
            raise SessionBusy(
                f"Session `{self.session_id}` was taken over: this process gave no sign of life for {STALE_S:g} s. "
                "Let the other one go on, or stop it and resume the session here."
            )

    def release(self) -> None:
        """Let go; harmless when repeated or lost. Where the database cannot be written the lease runs out by itself."""
        if self._released.is_set():
            return
        self._released.set()
        self._beat_thread.join()
        del self._store.tokens[self.session_id]
        with suppress(MemoryUnavailable), self._store.write(late=True) as connection:
            connection.execute(delete(LeaseTable).where(*self._mine()))

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            try:
                with self._store.write(late=True) as connection:
                    beat = update(LeaseTable).where(*self._mine()).values(heartbeat_at=self._store.now(connection))
                    self.is_lost = connection.execute(beat).rowcount == 0
            except MemoryUnavailable:
                continue  # a full disk or a busy file may pass; if not, whoever takes over makes the next beat fail
            if self.is_lost:
                return

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return LeaseTable.session_id == self.session_id, LeaseTable.token == self.token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_lease(store: Store, connection: Connection, session: Locked) -> int:
    """Write this process down as the holder of a session; returns the token.

    Raises:
        SessionBusy: naming the live process that holds it; or this process has lost it and not let go yet, so that
            what still runs under the lost lease would pass for the new one.
    """
    now, session_id = store.now(connection), session.id
    refuse_if_held(store, connection, session_id)
    if session_id in store.tokens:
        raise SessionBusy(
            f"Session `{session_id}` was taken over from this process, which still runs under its lost lease (token "
            f"{store.tokens[session_id]}). Let that run end, or `release` the lease, and try again."
        )
    connection.execute(delete(LeaseTable).where(LeaseTable.session_id == session_id))
    session.change(token=session.token + 1)
    connection.execute(
        insert(LeaseTable).values(
            session_id=session_id,
            token=session.token,
            host=this_host(),
            pid=os.getpid(),
            pid_started_at=_started_at(os.getpid()),
            heartbeat_at=now,
        )
    )
    return session.token


def refuse_if_held(store: Store, connection: Connection, session_id: str) -> None:
    """Raise `SessionBusy` where a live process, this one included, holds the session."""
    lease = connection.execute(select(LeaseTable).where(LeaseTable.session_id == session_id)).one_or_none()
    if lease is None or not is_alive(lease, now := store.now(connection)):
        return
    age = now - lease.heartbeat_at
    where = "on this machine" if lease.host == this_host() else f"on `{lease.host}`"
    raise SessionBusy(
        f"Session `{session_id}` is run by process {lease.pid} {where} (last sign of life {age.total_seconds():.1f} s "
        "ago). End that process, or wait for it; to say something to the session use `loopwright feedback`."
    )


def is_alive(lease: Row[Any], now: datetime) -> bool:
    """Whether the process that wrote this row of the lease table still lives and beats."""
    dead_here = lease.host == this_host() and _started_at(lease.pid) != lease.pid_started_at
    return now - lease.heartbeat_at <= timedelta(seconds=STALE_S) and not dead_here


def this_host() -> str:
    """This machine as processes see it: two containers may share a host name, but not a namespace of process ids."""
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{namespace.readlink()}" if namespace.is_symlink() else platform.node()


def _started_at(pid: int) -> datetime | None:
    """When process `pid` began, None where there is none: a reused id does not pass for the old process."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return datetime.fromtimestamp(round(process.create_time(), 1), UTC)
    except psutil.NoSuchProcess:
        return None
