"""Files that appear whole or not at all, whenever their writer is killed, and folders that stay of one kind."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopwright.errors import BadInput

PARAMETERS = "parameters.json"


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of a hidden file beside it: readers see what was there, or all of `data`."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
