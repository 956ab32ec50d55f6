"""A backup: one file that holds every session of a memory and its simulated devices, as they were at one moment.

    FILE (zip)/backup.json          format, time, and the head of each session's record
    FILE (zip)/memory.sqlite        every row, whichever database they were in
    FILE (zip)/devices/*.sqlite     the device files of the sessions

Sessions may run while it is made: each waits for as long as the device files are copied. Knows no loop.
"""

import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from loopwright.errors import BadInput, IntegrityError
from loopwright.memory import Memory
from loopwright.schema import Frozen
from loopwright.tools.devices import device_files
from loopwright.tools.files import disk_errors, partial_path, write_whole

FORMAT: Literal["loopwright-backup-1"] = "loopwright-backup-1"
_MANIFEST, _MEMORY, _DEVICES = "backup.json", "memory.sqlite", "devices/"


class Backup(Frozen):
    """What a backup holds; `heads` are those of the sessions' records, by their ids."""

    format: Literal["loopwright-backup-1"] = FORMAT
    made_at: datetime
    heads: dict[str, str]
    n_devices: int


def back_up(memory: Memory, devices: Path, file: Path) -> Backup:
    """Write every session of `memory`, and their device files in `devices`, to `file`: whole or not at all.

    Raises:
        BadInput: `file` is there already.
        IntegrityError: a row cannot be read.
        OperatorError: it cannot be written.
    """
    if file.exists():
        raise BadInput(f"`{file}` is there already; nothing was written. Name another file.")
    with disk_errors(file), _folder(file) as folder:
        heads: dict[str, str] = {}
        copies: list[Path] = []

        def copy_devices() -> None:
            heads.update({row.id: row.seal_hash for row in memory.sessions.list()})
            for session_id in heads:
                for device in device_files(devices, session_id):
                    copies.append(folder / device.name)
                    _copy_device(device, copies[-1])

        memory.copy_out(folder / _MEMORY, copy_devices)
        backup = Backup(made_at=datetime.now(UTC), heads=heads, n_devices=len(copies))
        partial = partial_path(file)
        try:
            partial.touch(mode=0o600)  # what a clinician saw and said is in it
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
                packed.writestr(_MANIFEST, backup.model_dump_json(indent=1))
                packed.write(folder / _MEMORY, _MEMORY)
                for copy in copies:
                    packed.write(copy, f"{_DEVICES}{copy.name}")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return backup


def restore(memory: Memory, devices: Path, file: Path) -> Backup:
    """Take a backup into an empty memory, and its device files into the folder `devices`; then verify each session.

    A restore that was killed is finished by another one.

    Raises:
        BadInput: `file` is no backup, or `memory` has sessions, or `devices` other device files of these names.
        IntegrityError: a session is not as it was when the backup was made.
        OperatorError: the device files cannot be written.
    """
    with _unpacked(file) as (backup, folder):
        memory.require_empty()
        copies = sorted((folder / _DEVICES).glob("*.sqlite"))
        for copy in copies:
            there = devices / copy.name
            if there.exists() and there.read_bytes() != copy.read_bytes():
                raise BadInput(
                    f"`{there}` is another device than that of the backup; nothing was changed. Restore into another "
                    "data folder (LOOPWRIGHT_DATA_DIR), or move the file away."
                )
        with disk_errors(devices):
            devices.mkdir(parents=True, exist_ok=True)
            for copy in copies:
                write_whole(devices / copy.name, copy.read_bytes())
        memory.copy_in(folder / _MEMORY)
    for session_id, head in backup.heads.items():
        found = memory.verify(session_id, head=head)
        if not found.ok:
            raise IntegrityError(f"Session {session_id} is not as `{file}` should have it: {found.reason}.")
    return backup


@contextmanager
def _unpacked(file: Path) -> Iterator[tuple[Backup, Path]]:
    """A backup's files in a folder of their own."""
    try:
        with zipfile.ZipFile(file) as packed, tempfile.TemporaryDirectory(prefix="loopwright-restore-") as folder:
            backup = Backup.model_validate_json(packed.read(_MANIFEST))
            packed.extractall(folder)
            yield backup, Path(folder)
    except FileNotFoundError as error:
        raise BadInput(f"`{file}` is not there. Name a file that `loopwright sessions backup` wrote.") from error
    except (zipfile.BadZipFile, KeyError, ValidationError) as error:
        raise BadInput(
            f"`{file}` is no whole {FORMAT!r} file: {error}. Name one that `loopwright sessions backup` wrote."
        ) from error


@contextmanager
def _folder(file: Path) -> Iterator[Path]:
    """A folder for the parts, on the disk that has to take the whole."""
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.absolute().parent) as folder:
        yield Path(folder)


def _copy_device(device: Path, copy: Path) -> None:
    """By SQLite's online backup: a session may be moving it."""
    with (
        closing(sqlite3.connect(f"{device.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
