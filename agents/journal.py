"""The session's only pen: every event of a loop is written here, once (rule 2).

LangGraph re-runs a node from its start after a kill or an interrupt. What a node has already written is found again by
its key and returned instead of being computed a second time, so a re-run node sees the very same world. The same
mechanism replays a session: what came from outside is read from the record, what code derived is computed anew and
compared. Knows nothing of any loop.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from loopwright.errors import Halted
from loopwright.memory import Memory
from loopwright.schema import Event

Payload = dict[str, Any]


class Moment(NamedTuple):
    """Where a loop stands: `branch` counts rewinds, `step` counts acts on the world."""

    branch: int
    step: int


class RecordEnded(Halted):
    """A replay has come to the end of what was recorded."""


class Journal:
    """Writes a session's events, each key once. One live process holds a session, so the cache is the log."""

    def __init__(self, memory: Memory, session_id: str) -> None:
        self._memory = memory
        self.session_id = session_id
        self._by_key = {e.key: e for e in memory.events.read(session_id) if e.key is not None}
        self._fresh: list[Event] = []

    def outside(self, at: Moment, kind: str, produce: Callable[[], Payload], *, name: str = "") -> Payload:
        """Record what comes from outside the loop's code (a world, a model, a human): `produce` runs at most once."""
        key = event_key(at, kind, name)
        if key in self._by_key:
            return self._by_key[key].payload
        return self._append(at, kind, produce(), key).payload

    def derived(self, at: Moment, kind: str, payload: Payload, *, name: str = "") -> Payload:
        """Record what code computed from what is already in the log."""
        key = event_key(at, kind, name)
        if key in self._by_key:
            return self._by_key[key].payload
        return self._append(at, kind, payload, key).payload

    def process(self, at: Moment, kind: str, payload: Payload) -> Event:
        """Record what happened to the process: paused, resumed, stopped, rewound, an error. Such events have no key."""
        return self._append(at, kind, payload, None)

    def known(self, at: Moment, kind: str, name: str = "") -> Payload | None:
        """The payload recorded under this key, None where there is none."""
        event = self._by_key.get(event_key(at, kind, name))
        return event.payload if event else None

    def written_at(self, at: Moment, kind: str, name: str = "") -> datetime:
        """When the event of this key was written; it is there."""
        return self._by_key[event_key(at, kind, name)].created_at

    def starting_with(self, at: Moment, kind: str, prefix: str) -> list[Payload]:
        """Payloads of this moment and kind whose name starts with `prefix`, in the order of the log."""
        start = event_key(at, kind, prefix)
        return [e.payload for key, e in self._by_key.items() if key.startswith(start)]

    def drain(self) -> list[Event]:
        """The events written since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _append(self, at: Moment, kind: str, payload: Payload, key: str | None) -> Event:
        event = self._memory.events.append(self.session_id, kind, payload, branch=at.branch, step=at.step, key=key)
        if key is not None:
            self._by_key[key] = event
        self._fresh.append(event)
        return event


class ReplayJournal(Journal):
    """Reads from a record what came from outside and from the process; lets code derive the rest anew."""

    def __init__(self, memory: Memory, session_id: str, record: Iterable[Event]) -> None:
        super().__init__(memory, session_id)
        self._record = list(record)
        self._recorded = {e.key: e for e in self._record if e.key is not None}
        self._copied = 0

    def outside(self, at: Moment, kind: str, produce: Callable[[], Payload], *, name: str = "") -> Payload:
        """The recorded payload; `produce` is never called."""
        recorded = self._expect(event_key(at, kind, name))
        return super().outside(at, kind, lambda: recorded.payload, name=name)

    def derived(self, at: Moment, kind: str, payload: Payload, *, name: str = "") -> Payload:
        """Written as computed now, so that a difference shows; ends where the record ends."""
        self._expect(event_key(at, kind, name))
        return super().derived(at, kind, payload, name=name)

    def starting_with(self, at: Moment, kind: str, prefix: str) -> list[Payload]:
        """From the record: what was heard then is heard now."""
        start = event_key(at, kind, prefix)
        return [e.payload for e in self._record if e.key is not None and e.key.startswith(start)]

    def copy_process_events(self) -> list[Event]:
        """Copy the process events that stand next in the record, and return them."""
        copied = []
        while self._copied < len(self._record) and self._record[self._copied].key is None:
            event = self._record[self._copied]
            copied.append(event)
            self._append(Moment(event.branch, event.step), event.kind, event.payload, None)
        return copied

    def _expect(self, key: str) -> Event:
        if key not in self._recorded:
            raise RecordEnded(f"The record holds no {key!r}.")
        return self._recorded[key]

    def _append(self, at: Moment, kind: str, payload: Payload, key: str | None) -> Event:
        if key is not None:
            self.copy_process_events()
        self._copied += 1
        return super()._append(at, kind, payload, key)


def event_key(at: Moment, kind: str, name: str = "") -> str:
    """The key of an event within its session."""
    return f"{at.branch}/{at.step}/{kind}" + (f"/{name}" if name else "")
