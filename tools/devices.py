"""The device files of sessions: SESSION.sqlite, and SESSION.LOOP.sqlite for the world of an inner loop."""

from pathlib import Path

from loopwright.memory import Memory


def device_file(folder: Path, session_id: str, path: str) -> Path:
    """The device file of a session's world; `path` leads to its loop, empty: the outer one."""
    inner = path.strip("/").replace("/", ".")
    return folder / (f"{session_id}.{inner}.sqlite" if inner else f"{session_id}.sqlite")


def device_files(folder: Path, session_id: str) -> list[Path]:
    """The device files of a session that are there."""
    return sorted(file for file in _all(folder) if f"{file.name}.".startswith(f"{session_id}."))


def prune_session(memory: Memory, folder: Path, session_id: str) -> int:
    """Remove a session and then its device files, or those that a prune left which was killed; the bytes freed.

    In this order: a session without its device would be resumed beside a new one.

    Raises:
        SessionBusy: a live process runs it.
        UnknownName: there is neither such a session nor a device of it.
    """
    devices = device_files(folder, session_id)
    freed = sum(device.stat().st_size for device in devices)
    if memory.sessions.exists(session_id) or not devices:
        freed += memory.retention.prune(session_id).freed_bytes
    for device in devices:
        for file in (device.with_name(f"{device.name}-journal"), device):
            file.unlink(missing_ok=True)
    return freed


def strangers(folder: Path, session_ids: set[str]) -> list[Path]:
    """Device files of none of these sessions: of another memory, or left by a prune that was killed."""
    return [file for file in _all(folder) if not any(file.name.startswith(f"{known}.") for known in session_ids)]


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sqlite"))
