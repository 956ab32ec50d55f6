"""Verify a session whole: its record in the memory, and the device files of its simulated worlds against its ledger."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.serve import default_devices, worlds_of
from loopwright.memory import Change, LedgerEntry, Memory, Verification
from loopwright.schema import Act, Outcome
from loopwright.tools.actuate import world_sha256
from loopwright.tools.devices import device_files


class _Device(NamedTuple):
    """What lies in a device file: the one row of `device`, and those of `applied` in order."""

    device: list[tuple[Any, ...]]
    applied: list[tuple[Any, ...]]


def verify_session(
    memory: Memory, session_id: str, loop: Declaration | None, *, devices: Path | None = None, head: str = ""
) -> Verification:
    """Check a session's record (`Memory.verify`), and that its device files are as its ledger has it.

    Args:
        memory: where it is recorded.
        session_id: which.
        loop: its loop; without it a device's acts are compared, and its state is not.
        devices: the folder of simulated devices; None: the configured one.
        head: see `Memory.verify`.

    Raises:
        UnknownName: there is no such session.
    """
    found = memory.verify(session_id, head=head)
    changes = [*found.changes, *_device_changes(memory, session_id, loop, devices or default_devices())]
    reason = str(changes[0]) if changes else ""
    return found.model_copy(update={"ok": not changes, "changes": tuple(changes), "reason": reason})


def _device_changes(memory: Memory, session_id: str, loop: Declaration | None, folder: Path) -> Iterator[Change]:
    """Devices are read first and once more: a session that runs writes its ledger before and after each act."""
    files = device_files(folder, session_id)
    before = {file: _read(file) for file in files}
    ledger = {entry.key: entry for entry in memory.ledger.of(session_id)}
    token = memory.sessions.get(session_id).token
    for file, device in before.items():
        yield from [_unreadable(file)] if device is None else _file_changes(file, device, ledger, token)
    after = {row[1] for file in files if (device := _read(file)) is not None for row in device.applied}
    for key, entry in ledger.items():
        if entry.world_sha256 is not None and key not in after and None not in before.values():
            yield Change(table="applied", row=json.dumps(key), what=f"is in no device file of `{folder}`")
    if loop is not None:
        yield from _moved(memory, session_id, loop, folder, ledger)


def _file_changes(file: Path, device: _Device, ledger: Mapping[str, LedgerEntry], token: int) -> Iterator[Change]:
    keys = set()
    for n, (seq, key, act, outcome) in enumerate(device.applied, start=1):
        row = f"{json.dumps(key, default=repr)} of `{file.name}`"
        entry = ledger.get(key)
        if seq != n:
            yield Change(table="applied", row=row, column="seq", what=f"is {seq!r}, expected {n}")
        if entry is None or entry.status not in ("authorised", "settled"):
            yield Change(table="applied", row=row, what="is an act that the ledger has not sent")
            continue
        keys.add(key)
        if not _is(act, entry.act):
            yield Change(table="applied", row=row, column="act", what="was changed")
        if entry.outcome is not None and not _is(outcome, entry.outcome):
            yield Change(table="applied", row=row, column="outcome", what="was changed")
    held = [row[2] for row in device.device]
    least = max((ledger[key].token or 0 for key in keys), default=0)
    if len(held) != 1 or not isinstance(held[0], int) or not least <= held[0] <= token:
        what = f"is {held}, expected {least} to {token}"
        yield Change(table="device", row=f"1 of `{file.name}`", column="token", what=what)


def _is(text: Any, expected: Act | Outcome) -> bool:
    """Whether this is the JSON of a value, however its members are ordered and its numbers written."""
    try:
        return type(expected).model_validate_json(text) == expected
    except ValidationError:
        return False


def _moved(
    memory: Memory, session_id: str, loop: Declaration, folder: Path, ledger: Mapping[str, LedgerEntry]
) -> Iterator[Change]:
    """Worlds whose state is not the one that their last act left."""
    for file, world in worlds_of(loop, memory.sessions.get(session_id), folder).items():
        if not file.exists():
            continue
        try:
            last = world.last_key()
            entry = ledger.get(last) if last else None
            expected = None if entry is None else entry.world_sha256
            is_left = expected in (None, world_sha256(world)) or world.last_key() != last
            what = "is not the one that its last act left"
        except LoopwrightError as error:
            is_left, what = False, f"cannot be compared: {error}"
        except (ValueError, TypeError, KeyError) as error:
            is_left, what = False, f"cannot be read: {error!r}"
        if not is_left:
            yield Change(table="device", row=f"1 of `{file.name}`", column="state", what=what)


def _read(file: Path) -> _Device | None:
    """What lies in a device file, None where it is none any more."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            connection.execute("BEGIN")
            device = connection.execute("SELECT id, state, token FROM device").fetchall()
            applied = connection.execute("SELECT seq, key, act, outcome FROM applied ORDER BY seq").fetchall()
            return _Device(device, applied)
    except sqlite3.Error:
        return None


def _unreadable(file: Path) -> Change:
    return Change(table="device", row=f"1 of `{file.name}`", what="cannot be read: this is no device file any more")
