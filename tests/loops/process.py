"""Processes that run a session of a loop and kill themselves after the n-th thing that they wrote.

Each is forked for an `Order` (`tests.forking`), and runs the real loop, memory and device; only the killing is wrapped
around what they commit: events, checkpoints, ledger, inbox and status, and the device's acts.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from tests.forking import serve
from tests.loops.cases import CASES

from loopwright.graphs.loop.session import Session
from loopwright.memory import open_memory
from loopwright.memory.store import Store
from loopwright.tools.device import Device

MAX_TURNS = 50


class Order(TypedDict):
    """`do` is `run`, `rewind STEP`, `fork STEP` or `say TEXT`, in turn; `kill_after` 0: not at all."""

    case: str
    url: str
    devices: str
    session: str
    answer: str
    do: list[str]
    kill_after: int


class Writes:
    """Counts what is committed, and kills this process after the n-th."""

    def __init__(self, kill_after: int) -> None:
        self.n = 0
        self._kill_after = kill_after
        self._lock = threading.Lock()
        self._count(Device, "apply")
        self._count_transactions()

    def _written(self) -> None:
        if threading.current_thread().name.startswith("lease"):  # a heartbeat comes when it comes
            return
        with self._lock:
            self.n += 1
            if self.n == self._kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

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
            with real(store, **how) as connection:
                yield connection
            self._written()

        setattr(Store, "write", counted)  # noqa: B010 - mypy knows its signature


def obey(order: Order) -> dict[str, Any]:
    """Do what is ordered, with the session's own loop."""
    case = CASES[order["case"]]
    with open_memory(order["url"]) as memory:
        writes = Writes(order["kill_after"])
        session = case.loop.resume(order["session"], memory, models=case.models(), devices=Path(order["devices"]))
        for each in order["do"]:
            what, _, rest = each.partition(" ")
            if what == "run":
                run(session, order["answer"])
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
    serve(obey)
