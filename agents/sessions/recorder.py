"""The session's only pen: every event of a loop is written here, once, under a key (DESIGN rules 2 and 3).

LangGraph runs a node again from its start after a kill or an interrupt. What the node has recorded is found by its key
and returned instead of being produced a second time, so a node that is run again sees the very same world. The same
mechanism replays a session. Knows no loop, no model and no world.

Events that can be had again are held back until the next one that cannot, or until the node ends: they share its
transaction, and are computed or read again if the process dies before.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from loopwright.errors import Diverged, Halted
from loopwright.memory import Memory
from loopwright.memory.events import NewEvent
from loopwright.memory.store import Change
from loopwright.memory.values import plain_json
from loopwright.schema import Event, canonical_json, sha256_of

Payload = dict[str, Any]


class Place(NamedTuple):
    """Where an entry belongs: `branch` counts rewinds, `step` counts passes of the loop, `key` is unique in both."""

    branch: int
    step: int
    key: str


class RecordEnded(Halted):
    """A replay has come to the end of what was recorded."""


class Recorder:
    """Writes one session's events, each key once. Safe for threads; one live process holds a session."""

    def __init__(self, memory: Memory, session_id: str) -> None:
        self.session_id = session_id
        self._memory = memory
        self._lock = threading.RLock()
        self._log: list[Event] = memory.events.read(session_id)
        self._entries: dict[str, tuple[str, Payload]] = {e.key: (e.kind, e.payload) for e in self._log if e.key}
        self._times: dict[str, datetime] = {e.key: e.created_at for e in self._log if e.key}
        self._pending: list[NewEvent] = []
        self._fresh: list[Event] = []

    @property
    def events(self) -> list[Event]:
        """All that is written, oldest first."""
        with self._lock:
            return list(self._log)

    @property
    def record(self) -> list[Event]:
        """What entries are found in: the session's own events, or in a replay those that are replayed."""
        return self.events

    def find(self, key: str) -> Payload | None:
        """The payload recorded under `key`, None where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry[1]

    def written_at(self, key: str) -> datetime:
        """When the entry of `key` was written; it is there, and was not held back."""
        with self._lock:
            return self._times[key]

    def expects(self, key: str) -> Payload | None:
        """The entry of this key, be it written, or in the record that is replayed and not reached yet."""
        return self.find(key)

    def stopped_since(self, key: str) -> bool:
        """Whether a human said STOP after the entry of `key` was written."""
        with self._lock:
            if key not in self._times:
                return False
            newer = takewhile(lambda event: event.key != key, reversed(self._log))
            return any(event.kind == "stopped" for event in newer)

    def record_external(
        self,
        place: Place,
        kind: str,
        produce: Callable[[], Payload],
        *,
        inputs: Any = None,
        is_repeatable: bool = False,
        is_late: bool = False,
    ) -> Payload:
        """Record what comes from outside the loop's code (a world, a model, a human); `produce` runs at most once.

        Args:
            place: where in the session.
            kind: the event's kind.
            produce: makes the payload; called where the key is new.
            inputs: JSON of all that the entry depends on; a digest of it is kept with the entry.
            is_repeatable: `produce` changes nothing: should the process die in it, it may run again after looks into
                the inbox that find more. So what is held back is written with the entry, and not before it.
            is_late: what was produced may be lost to a power cut, and produced again, as long as nothing that is on the
                disk came after it: an act is on the ledger, a read is read again. With `is_repeatable` it is held back.

        Raises:
            Diverged: the entry of this key is of another kind, or was made from other inputs.
        """
        digest = {} if inputs is None else {"inputs": sha256_of(inputs)[:16]}
        known = self._known(place.key, kind, digest)
        if known is not None:
            return known
        if is_repeatable and is_late:
            return self._hold_back(place, kind, {**produce(), **digest})
        if not is_repeatable:
            self.flush()
        return self._write(place, kind, {**produce(), **digest}, late=is_late)

    def record_look(
        self, place: Place, kind: str, look: Callable[[], Payload], is_empty: Callable[[Payload], bool]
    ) -> tuple[Payload, bool]:
        """Record what a look into the inbox found, and whether this is new; one that found nothing is held back."""
        known = self._known(place.key, kind, {})
        if known is not None:
            return known, False
        found = look()
        write = self._hold_back if is_empty(found) else self._write
        return write(place, kind, found), True

    def record_computed(self, place: Place, kind: str, payload: Payload) -> Payload:
        """Record what code computed from what is recorded already; it is held back.

        Raises:
            Diverged: something else was computed under this key before.
        """
        known = self._known(place.key, kind, {})
        if known is not None:
            if canonical_json(known) != canonical_json(plain_json(f"The entry {place.key!r}", payload)):
                raise Diverged(_diverged(place.key, f"computed {payload!r}", f"{known!r}"))
            return known
        return self._hold_back(place, kind, payload)

    def record_process(self, kind: str, payload: Payload, *, branch: int, step: int) -> Event:
        """Record what happened to the process: resumed, stopped, rewound, an error. Such events have no key."""
        with self._lock:
            return self._append(NewEvent(branch, step, kind, payload))[-1]

    def flush(self, also: Change | None = None) -> None:
        """Write what was held back, before something that depends on it: an act, the next node; and what `also` does.

        It is on the disk with the next entry that was not held back; a power cut before that takes it back with all
        that came after it, and it is computed again.
        """
        with self._lock:
            if self._pending or also is not None:
                self._append(late=True, also=also)

    def drain(self) -> list[Event]:
        """The events written since the last call."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh

    def _known(self, key: str, kind: str, digest: Payload) -> Payload | None:
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            return None
        recorded_kind, payload = entry
        if recorded_kind != kind or any(payload.get(name) != value for name, value in digest.items()):
            raise Diverged(_diverged(key, f"{kind!r} from inputs {digest.get('inputs')!r}", f"{recorded_kind!r}"))
        return payload

    def _write(self, place: Place, kind: str, payload: Payload, *, late: bool = False) -> Payload:
        with self._lock:
            return self._append(NewEvent(place.branch, place.step, kind, payload, place.key), late=late)[-1].payload

    def _hold_back(self, place: Place, kind: str, payload: Payload) -> Payload:
        with self._lock:
            plain = plain_json(f"The entry {place.key!r} ({kind})", payload)
            self._pending.append(NewEvent(place.branch, place.step, kind, plain, place.key))
            self._entries[place.key] = (kind, plain)
            return plain

    def _append(self, *new: NewEvent, late: bool = False, also: Change | None = None) -> list[Event]:
        """Write what was held back, then `new`, and what `also` does, in one transaction."""
        events = self._memory.events.append_all(self.session_id, [*self._pending, *new], late=late, also=also)
        self._pending.clear()
        for event in events:
            if event.key is not None:
                self._entries[event.key] = (event.kind, event.payload)
                self._times[event.key] = event.created_at
        self._log += events
        self._fresh += events
        return events


class ReplayRecorder(Recorder):
    """Takes from a record what came from outside, and lets code compute the rest again."""

    def __init__(self, memory: Memory, session_id: str, record: Iterable[Event]) -> None:
        super().__init__(memory, session_id)
        self._record = {e.key: e for e in record if e.key is not None}

    @property
    def record(self) -> list[Event]:
        """The record that is replayed."""
        return list(self._record.values())

    def expects(self, key: str) -> Payload | None:
        """What the record has under this key."""
        return self._record[key].payload if key in self._record else None

    def record_external(
        self,
        place: Place,
        kind: str,
        produce: Callable[[], Payload],
        *,
        inputs: Any = None,
        is_repeatable: bool = False,
        is_late: bool = False,
    ) -> Payload:
        """The recorded payload; `produce` is never called. A digest of other inputs shows as a difference."""
        recorded = self._recorded(place.key)
        digest = {} if inputs is None else {"inputs": sha256_of(inputs)[:16]}
        return super().record_external(place, kind, lambda: {**recorded.payload, **digest}, inputs=inputs)

    def record_look(
        self, place: Place, kind: str, look: Callable[[], Payload], is_empty: Callable[[Payload], bool]
    ) -> tuple[Payload, bool]:
        """What was found then; `look` is never called."""
        recorded = self._recorded(place.key)
        return super().record_look(place, kind, lambda: recorded.payload, is_empty)

    def record_computed(self, place: Place, kind: str, payload: Payload) -> Payload:
        """Written as computed now, so that a difference shows; ends where the record ends."""
        self._recorded(place.key)
        return super().record_computed(place, kind, payload)

    def written_at(self, key: str) -> datetime:
        """When the entry was written that is replayed."""
        return self._recorded(key).created_at

    def _recorded(self, key: str) -> Event:
        if key not in self._record:
            raise RecordEnded(f"The record holds no {key!r}.")
        return self._record[key]


def _diverged(key: str, now: str, before: str) -> str:
    return (
        f"The entry {key!r} was recorded as {before}; run again, the loop {now}. A node must do the same when it is "
        "run again: its code has changed, or it uses a clock, chance or the outside without `ctx`. Rewind the session "
        "to an earlier step (`loopwright sessions rewind SESSION STEP`), or run it with the code that it began with."
    )
