"""Taking over the worlds of a session that is resumed: hold them, learn what became of open acts, and compare.

A world that does not stand where the ledger left it is not this session's any more: another device, an older copy of
it, or one that somebody moved. Nothing is sent to it, and a person looks (DESIGN rule 4).
"""

from typing import Any

from loopwright.errors import IntegrityError
from loopwright.graphs.loop.runtime import Runtime
from loopwright.memory import LedgerEntry
from loopwright.tools.actuate import world_sha256


def take_over(runtime: Runtime) -> None:
    """Have every world refuse older leases, settle what was open, and compare the worlds with the ledger.

    Raises:
        IntegrityError: a world is not as the ledger left it.
        SessionBusy: a world has seen a greater token.
    """
    for path in runtime.worlds:
        runtime.actuator(runtime.scopes[path]).take_over(runtime.lease.token)
    closed = [entry for entry in runtime.memory.ledger.of(runtime.session_id) if entry.outcome is not None]
    for path in runtime.worlds:
        _require_as_left(runtime, path, {entry.key: entry for entry in closed})
    _require_all_known(runtime, sorted(closed, key=lambda entry: entry.closed_at or entry.intended_at)[::-1])


def _require_as_left(runtime: Runtime, path: str, closed: dict[str, LedgerEntry]) -> None:
    """The last act of a world is one that the ledger knows, and nothing has changed the world since."""
    world = runtime.worlds[path]
    last = world.last_key()
    if last is None:
        return
    if last not in closed:
        raise _not_as_left(runtime, path, f"its last act, `{last}`, is not on the ledger")
    if closed[last].world_sha256 not in (None, world_sha256(world)):
        raise _not_as_left(runtime, path, f"its state is not the one that its last act, `{last}`, left")


def _require_all_known(runtime: Runtime, newest_first: list[LedgerEntry]) -> None:
    """Some world knows each act, back to the last one of every world."""
    worlds = runtime.worlds
    not_seen = {world.last_key() for world in worlds.values()}
    for entry in newest_first:
        not_seen.discard(entry.key)
        if not not_seen:
            return
        if all(world.outcome_of(entry.key) is None for world in worlds.values()):
            path = next((path for path, world in worlds.items() if world.last_key() is None), next(iter(worlds)))
            raise _not_as_left(runtime, path, f"it does not know `{entry.key}`, which it did")


def _not_as_left(runtime: Runtime, path: str, why: str) -> IntegrityError:
    world, session = runtime.worlds[path], runtime.session_id
    file: Any = getattr(world, "device", None)
    named = f"`{file}`" if file else f"of `{runtime.scopes[path].loop.name}`"
    return IntegrityError(
        f"The device {named} is not as the ledger of session `{session}` left it: {why}. Nothing was sent. Look at the "
        "device. Resume the session beside the device that it has moved, not a new one or an older copy (see "
        "`LOOPWRIGHT_DATA_DIR`), or go on from a step with a session and a device of their own: "
        f"`loopwright sessions fork {session} STEP`."
    )
