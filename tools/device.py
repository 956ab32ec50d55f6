"""A simulated device: its state, the acts it has applied and the token of its holder, in one small SQLite file.

It stands for hardware: killing the session's process does not reset it, and another process that opens the same file
sees the same device. Every act is one transaction with the key that names it and the token of whoever sends it; a
token smaller than one it has seen is refused. Knows no kind of world: state is plain JSON.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from loopwright.errors import OperatorError, SessionBusy
from loopwright.schema import Act, Outcome, canonical_json

State = dict[str, Any]

UNHELD = 0
"""The token of whoever holds no session: a device that a session has held refuses it."""


class Change(NamedTuple):
    """What an act makes of a device: its new state (None: as it was), and the outcome to record."""

    state: State | None
    outcome: Outcome


class Device:
    """One device. Safe across threads; a device with a file across processes too, as each call opens it anew."""

    def __init__(self, path: Path | None, initial: State, *, busy_timeout_s: float = 10.0) -> None:
        """Open the device at `path`, or make it with the state `initial`; without a path it lives in this process.

        Raises:
            OperatorError: the file cannot be made, opened or written, or is no device file.
        """
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._in_memory: sqlite3.Connection | None = None
        if path is None:
            self._in_memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        with self._transaction(mode="rwc") as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS device (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT, token INTEGER)"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS applied (seq INTEGER PRIMARY KEY, key TEXT UNIQUE, act TEXT, outcome TEXT)"
            )
            connection.execute("INSERT OR IGNORE INTO device VALUES (1, ?, ?)", (canonical_json(initial), UNHELD))

    def state(self) -> State:
        """The state as it is committed now."""
        with self._transaction(write=False) as connection:
            return self._read(connection)

    def replace(self, state: State) -> None:
        """Put `state` in the place of the present one outside any act: for a simulator that no session holds.

        Raises:
            SessionBusy: a session holds the device.
        """
        with self._transaction() as connection:
            self._admit(connection, UNHELD)
            self._write(connection, state)

    def hold(self, token: int) -> None:
        """Refuse tokens smaller than `token` from now on.

        Raises:
            SessionBusy: the device has seen a greater one.
        """
        with self._transaction() as connection:
            self._admit(connection, token)

    def apply(self, key: str, act: Act, token: int, change: Callable[[State], Change]) -> Outcome:
        """Apply `act` once: state, act and outcome are committed together. A known key returns its outcome.

        Raises:
            SessionBusy: the device has seen a greater token.
        """
        with self._transaction() as connection:
            self._admit(connection, token)
            known = self._outcome(connection, key)
            if known is not None:
                return known
            state, outcome = change(self._read(connection))
            if state is not None:
                self._write(connection, state)
            row = (key, act.model_dump_json(), outcome.model_dump_json())
            connection.execute("INSERT INTO applied (key, act, outcome) VALUES (?, ?, ?)", row)
            return outcome

    def outcome_of(self, key: str) -> Outcome | None:
        """The outcome that was committed under `key`, None where there is none."""
        with self._transaction(write=False) as connection:
            return self._outcome(connection, key)

    def last_key(self) -> str | None:
        """The key of the newest act, None before the first."""
        with self._transaction(write=False) as connection:
            row = connection.execute("SELECT key FROM applied ORDER BY seq DESC LIMIT 1").fetchone()
            return None if row is None else str(row[0])

    def close(self) -> None:
        """Forget a device that lives in this process; a file stays."""
        if self._in_memory is not None:
            self._in_memory.close()

    @contextmanager
    def _transaction(self, *, write: bool = True, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        try:
            with self._connected(mode) as connection:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                with connection:
                    yield connection
        except (sqlite3.Error, OSError) as error:
            raise OperatorError(
                f"The device {self._name} cannot be used: {error}. Nothing was changed. Check that its file is there, "
                "the rights and the disk space of its folder, and that no other program holds it."
            ) from error

    @contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        if self.path is None:
            with self._lock:
                yield cast(sqlite3.Connection, self._in_memory)
            return
        if mode == "rwc":
            self.path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{self.path.resolve().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=self._busy_timeout_s, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection

    @property
    def _name(self) -> str:
        return "in this process" if self.path is None else f"`{self.path}`"

    def _admit(self, connection: sqlite3.Connection, token: int) -> None:
        """Remember the greatest token, refuse a smaller one."""
        (held,) = connection.execute("SELECT token FROM device").fetchone()
        if token < held:
            raise SessionBusy(
                f"The device {self._name} is held with token {held}, this comes with token {token}: another process "
                "took the session over. Nothing moved. Let that one go on, or stop it and resume the session here."
            )
        if token > held:
            connection.execute("UPDATE device SET token = ?", (token,))

    @staticmethod
    def _read(connection: sqlite3.Connection) -> State:
        (text,) = connection.execute("SELECT state FROM device").fetchone()
        state: State = json.loads(text)
        return state

    @staticmethod
    def _write(connection: sqlite3.Connection, state: State) -> None:
        connection.execute("UPDATE device SET state = ?", (canonical_json(state),))

    @staticmethod
    def _outcome(connection: sqlite3.Connection, key: str) -> Outcome | None:
        row = connection.execute("SELECT outcome FROM applied WHERE key = ?", (key,)).fetchone()
        return None if row is None else Outcome.model_validate_json(row[0])
