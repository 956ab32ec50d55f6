"""Comparing a replay with its record, key by key: what ran at the same time has no order among itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.schema import Event


def first_difference(record: Sequence[Event], replayed: Sequence[Event]) -> str | None:
    """The first entry that came out otherwise, in words; None where every payload hashes equal.

    An entry of the record that the replay did not reach is a difference, unless a STOP, a rewind or the end of the
    record cut its node short.
    """
    again = {event.key: event for event in replayed if event.key is not None}
    cut = max((e.seq for e in record if e.kind in ("stopped", "paused", "rewound", "error")), default=0)
    is_over = any(e.kind == "finished" for e in record)
    for event in record:
        if event.key is None or event.kind == "resumed_with":  # what entered the inbox, not what the loop did
            continue
        found = again.pop(event.key, None)
        if found is None:
            if is_over and event.seq > cut:
                return f"event {event.seq} ({event.kind}, step {event.step}) was recorded and not replayed"
        elif found.payload_hash != event.payload_hash:
            return (
                f"event {event.seq} ({event.kind}, step {event.step}): recorded {event.payload!r}, replayed "
                f"{found.kind} {found.payload!r}"
            )
    extra = next(iter(again.values()), None)
    return None if extra is None else f"{extra.kind} at step {extra.step} was replayed and not recorded"


def first_state_difference(
    record: Sequence[Event], recorded: Mapping[tuple[int, int], Any], replayed: Mapping[tuple[int, int], Any]
) -> str | None:
    """The first node that left another state than it did on record, and the state key, in words; None: none did.

    Args:
        record: the events, which name the nodes.
        recorded: the state after the nodes of a (branch, tick), by key.
        replayed: the same of the replay.
    """
    for place in sorted(recorded.keys() & replayed.keys()):
        before, now = recorded[place], replayed[place]
        names = sorted(before.keys() | now.keys())
        other = next((name for name in names if before.get(name) != now.get(name)), None)
        if other is not None:
            visits = [e for e in record if e.kind == "node" and (e.branch, e.payload["tick"]) == place]
            nodes = " or ".join(repr(e.payload["node"]) for e in visits if not e.payload["path"])
            return (
                f"node {nodes} of step {visits[-1].step if visits else 0} left the state key {other!r} as "
                f"{before.get(other)!r:.200}, and in the replay as {now.get(other)!r:.200}. Chance, time and the "
                "outside are on record where they go through `ctx.random()`, `ctx.now()` and `ctx.external(...)`"
            )
    return None
