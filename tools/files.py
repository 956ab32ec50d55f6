"""Files that appear whole or not at all, whenever their writer is killed, and folders that stay of one kind."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from loopwright.errors import BadInput, OperatorError

PARAMETERS = "parameters.json"


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


def keep_parameters(folder: Path, parameters: Mapping[str, Any]) -> None:
    """One folder holds data of one kind: what decides it is written to `parameters.json`, and must not change.

    Args:
        folder: made where it is missing.
        parameters: as JSON has them: no tuples, no paths.

    Raises:
        BadInput: the folder was begun with others, or what says so is damaged.
    """
    path = folder / PARAMETERS
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(parameters, indent=1) + "\n").encode())
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BadInput(f"`{path}` is damaged ({error}). Build into another folder.") from error
    changes = [f"`{n}` = {before.get(n)!r}, now {now!r}" for n, now in parameters.items() if before.get(n) != now]
    if changes:
        raise BadInput(f"`{folder}` was built with {'; '.join(changes)}. Use the same parameters, or another folder.")
