"""Files that are sent to the console: kept beside the memory, and named to a loop by their path.

A setting of a loop takes files where its type is a path, or where the loop says so (`takes_files`). What is in a file
is for the loop to judge, when a session begins with it.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopwright.graphs.loop.config import FILES
from loopwright.graphs.loop.declare import Declaration
from loopwright.tools.files import disk_errors, partial_path
from loopwright.web.refusal import Refusal

MAX_NAME = 100
_ODD = re.compile(r"[^\w.-]+", re.ASCII)


class Kept(NamedTuple):
    """A file that was sent. The same content under the same name is kept once."""

    path: Path
    n_bytes: int
    sha256: str


def suffixes_of(field: Mapping[str, Any]) -> tuple[str, ...] | None:
    """How names of files end that a setting takes, by its JSON schema; (): any will do; None: it takes no files."""
    if FILES in field:
        return tuple(field[FILES])
    is_path = any(each.get("format") in ("path", "file-path") for each in (field, *field.get("anyOf", ())))
    return () if is_path else None


def check_name(loop: Declaration, setting: str, name: str) -> str:
    """A file's name as it is kept.

    Raises:
        Refusal: the setting takes no files, or none of this name.
    """
    fields = loop.config.model_json_schema()["properties"]
    suffixes = suffixes_of(fields.get(setting, {}))
    if suffixes is None:
        takes = [each for each, field in fields.items() if suffixes_of(field) is not None]
        raise Refusal(
            f"The loop {loop.name!r} takes no file as `{setting}`. Settings that do: {', '.join(takes) or 'none'}.",
            404,
        )
    if suffixes and not name.lower().endswith(suffixes):
        raise Refusal(f"`{setting}` takes a file named {' or '.join(f'*{s}' for s in suffixes)}, not {name!r}.", 415)
    return _ODD.sub("_", name)[-MAX_NAME:].lstrip(".") or "file"


async def keep_file(folder: Path, name: str, chunks: AsyncIterator[bytes], *, max_mb: float) -> Kept:
    """Keep what comes in pieces, whole or not at all.

    Raises:
        Refusal: it is empty or too long.
        OperatorError: the disk cannot take it.
    """
    partial, digest, n_bytes = partial_path(folder / name), hashlib.sha256(), 0
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                async for chunk in chunks:
                    n_bytes += len(chunk)
                    if n_bytes > max_mb * 1e6:
                        raise Refusal(
                            f"{name!r} has more than {max_mb:g} MB. Name a file of the server's machine by its path "
                            "instead, or raise `LOOPWRIGHT_CONSOLE__MAX_FILE_MB`.",
                            413,
                        )
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
            if not n_bytes:
                raise Refusal(f"{name!r} is empty.", 400)
            kept = folder / digest.hexdigest()[:16] / name
            kept.parent.mkdir(exist_ok=True)
            partial.replace(kept)
        finally:
            partial.unlink(missing_ok=True)
    return Kept(kept, n_bytes, digest.hexdigest())
