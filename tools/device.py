"""A simulated device's durable half: its state and the acts it has applied, in one small SQLite file of its own.

It stands for hardware: killing the session's process does not reset it, and another process that opens the same file
sees the same device. Every act is one transaction with the key that names it. Knows no C-arm: state is plain JSON.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loopwright.errors import OperatorError
from loopwright.schema import Act, Outcome, canonical_json

State = dict[str, Any]


class Change(NamedTuple):
    """What an act makes of a device: its new state, and the outcome to record."""

    state: State
    outcome: Outcome


class DeviceFile:
    """State and applied keys of one device. Safe across threads and processes: each call opens the file anew."""

    def __init__(self, path: Path, initial: State, *, busy_timeout_s: float = 10.0) -> None:
        """Open `path`, or make it with the state `initial`.

        Raises:
            OperatorError: the file cannot be made, opened or written, or is no device file.
        """
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        with self._transaction(mode="rwc") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS device (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT)")
            connection.execute("CREATE TABLE IF NOT EXISTS applied (key TEXT PRIMARY KEY, act TEXT, outcome TEXT)")
            connection.execute("INSERT OR IGNORE INTO device VALUES (1, ?)", (canonical_json(initial),))

    def state(self) -> State:
        """The state as it is committed now."""
        with self._transaction(write=False) as connection:
            return self._read(connection)

    def update(self, change: Callable[[State], State]) -> None:
        """Replace the state outside any act: what a simulator may do and hardware may not."""
        with self._transaction() as connection:
            self._write(connection, change(self._read(connection)))

    def apply(self, key: str, act: Act, change: Callable[[State], Change]) -> Outcome:
        """Apply `act` once: state, act and outcome are committed together. A known key returns its outcome."""
        with self._transaction() as connection:
            known = self._outcome(connection, key)
            if known is not None:
                return known
            state, outcome = change(self._read(connection))
            self._write(connection, state)
            row = (key, act.model_dump_json(), outcome.model_dump_json())
            connection.execute("INSERT INTO applied VALUES (?, ?, ?)", row)
            return outcome

    def outcome_of(self, key: str) -> Outcome | None:
        """The outcome that was committed under `key`, None where there is none."""
        with self._transaction(write=False) as connection:
            return self._outcome(connection, key)

    @contextmanager
    def _transaction(self, *, write: bool = True, mode: Literal["rw", "rwc"] = "rw") -> Iterator[sqlite3.Connection]:
        try:
            if mode == "rwc":
                self.path.parent.mkdir(parents=True, exist_ok=True)
            uri = f"{self.path.resolve().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(uri, uri=True, timeout=self._busy_timeout_s, isolation_level=None)) as opened:
                opened.execute("PRAGMA synchronous = FULL")
                opened.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                with opened:
                    yield opened
        except (sqlite3.Error, OSError) as error:
            raise OperatorError(
                f"The device file `{self.path}` cannot be used: {error}. Nothing was changed. Check that it is there, "
                "the rights and the disk space of its folder, and that no other program holds it."
            ) from error

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
