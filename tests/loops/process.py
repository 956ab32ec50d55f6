"""Processes that run a session of a loop, and at the n-th thing that they write die, are suspended, or lose the disk.

Each is forked for an `Order` (`tests.forking`), and runs the real loop, memory and device; only the harm is wrapped
around what they commit: events, checkpoints, ledger, inbox and status, and the device's acts.
"""

import os
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from tests.forking import serve
from tests.loops.cases import CASES

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.session import Session
from loopwright.memory import open_memory
from loopwright.memory.store import Store
from loopwright.tools.device import Device
from loopwright.tools.devices import prune_session

MAX_TURNS = 50


How = Literal["kill", "suspend", "full disk", "locked", "cut connection"]
"""What happens at the n-th write: a signal after it was committed, or a failure of the database just before that."""

SIGNALS: dict[str, signal.Signals] = {"kill": signal.SIGKILL, "suspend": signal.SIGSTOP}


class Order(TypedDict):
    """`do` is, in turn, `run`, `ask` (run to the first question), `hold` (and let go), `rewind STEP`, `fork STEP`,
    `say TEXT` or `prune`; `kill_after` 0: no harm at all.
    """

    case: str
    url: str
    devices: str
    session: str
    answer: str
    do: list[str]
    kill_after: int
    how: NotRequired[How]


class Writes:
    """Counts what is committed, and does the harm at the n-th."""

    def __init__(self, at: int, how: How, url: str) -> None:
        self.n = 0
        self._at, self._how, self._url = at, how, url
        self._others: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._count(Device, "apply")
        self._count_transactions()

    def _written(self) -> None:
        if threading.current_thread().name.startswith("lease"):  # a heartbeat comes when it comes
            return
        with self._lock:
            self.n += 1
            if self.n == self._at and self._how in SIGNALS:
                os.kill(os.getpid(), SIGNALS[self._how])

    def _is_due(self) -> bool:
        return self.n + 1 == self._at and not threading.current_thread().name.startswith("lease")

    def _about_to_write(self) -> None:
        if self._how == "locked" and self._is_due() and not self._others:
            other = sqlite3.connect(self._url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            self._others.append(other)

    def _about_to_commit(self) -> None:
        if self._how == "full disk" and self._is_due():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        elif self._how == "cut connection" and self._is_due():
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(f"SELECT pg_terminate_backend(pid) {others}")

    def _count(self, of: type, name: str) -> None:
        real: Callable[..., Any] = getattr(of, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            self._written()
            return result

        setattr(of, name, counted)

    def _count_transactions(self) -> None:
        real = Store.write

        @contextmanager
        def counted(store: Store, **how: bool) -> Iterator[Any]:
            self._about_to_write()
            with real(store, **how) as connection:
                yield connection
                self._about_to_commit()
            self._written()

        setattr(Store, "write", counted)  # noqa: B010 - mypy knows its signature


def answered(order: Order) -> dict[str, Any]:
    """What became of an order; where a process outlives the harm that is done, its errors are an answer."""
    if order.get("how", "kill") == "kill":
        return obey(order)
    try:
        return obey(order)
    except (LoopwrightError, SQLAlchemyError) as error:
        return {"error": type(error).__name__, "text": str(error)[:500]}


def obey(order: Order) -> dict[str, Any]:
    """Do what is ordered, with the session's own loop."""
    case, how = CASES[order["case"]], order.get("how", "kill")
    with open_memory(order["url"], busy_timeout_s=0.1 if how == "locked" else 10.0) as memory:
        writes = Writes(order["kill_after"], how, order["url"])
        if order["do"] == ["prune"]:
            prune_session(memory, Path(order["devices"]), order["session"])
            return {"session": order["session"], "writes": writes.n}
        session = case.loop.resume(order["session"], memory, models=case.models(), devices=Path(order["devices"]))
        for each in order["do"]:
            what, _, rest = each.partition(" ")
            if what == "run":
                run(session, order["answer"])
            elif what == "ask":
                run(session, "")
            elif what == "hold":
                memory.sessions.acquire(session.id).release()
            elif what == "rewind":
                session.rewind(int(rest))
            elif what == "fork":
                session = case.loop.fork(session, int(rest))
            else:
                session.say(rest)
        return {"status": session.status, "session": session.id, "writes": writes.n}


def run(session: Session, answer: str) -> None:
    """Run to the end, and give `answer` to each question."""
    for _ in range(MAX_TURNS):
        if session.status in ("succeeded", "failed") or session.run() != "waiting" or not answer:
            return
        session.say(answer)


if __name__ == "__main__":
    serve(answered)
