"""Comparing a replay with its record, key by key: what ran at the same time has no order among itself."""

from collections.abc import Sequence

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
