"""Files that a user asked for: they appear whole or not at all, and a full or read-only disk is said plainly."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from loopwright.errors import OperatorError


def partial_path(path: Path) -> Path:
    """A hidden name beside `path`, to be written first and then renamed."""
    return path.with_name(f".{path.name}.{token_hex(4)}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a kill, sees either the old file or the new one."""
    partial = partial_path(path)
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk cannot do into `OperatorError`, naming `path` and the repair."""
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"`{path}` cannot be written: {error}. Free space or name another place, then try again."
        ) from error
