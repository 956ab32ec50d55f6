"""Reads the entries of a JSON array of any size one by one, without ever holding the whole file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loopwright.errors import BadInput

_PART_CHARS = 1 << 20
_LONGEST_CHARS = 1 << 26
_SPACE = " \t\r\n"


def read_entries(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of a JSON array, or of a file with one object a line, with its number from 1.

    Raises:
        BadInput: no such file, no UTF-8 text, no JSON array or lines of objects; with the number of the entry.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, entry in enumerate(_entries(file.read(_PART_CHARS), file, path), start=1):
                yield number, entry
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"`{path}` is not there as a file; expected JSON.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"`{path}`, after entry {number}: no UTF-8 text ({error}). Convert the file.") from error


def _entries(text: str, file: Any, path: Path) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    start = _after_space(text, 0)
    is_array = text[start : start + 1] == "["
    if not is_array and text[start : start + 1] != "{":
        raise BadInput(f"`{path}` begins with {text[:20]!r}; expected a JSON array of objects, or one object a line.")
    at, number = start + is_array, 0
    while True:
        at = _after_space(text, at)
        if at >= len(text):
            text, at = file.read(_PART_CHARS), 0
            if text:
                continue
            if is_array:
                raise BadInput(f"`{path}` ends within its array, after entry {number}. Fetch the file again.")
            return
        if is_array and text[at] == "]":
            return
        if text[at] == ",":
            at += 1
            continue
        try:
            entry, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise BadInput(f"`{path}`, entry {number + 1}: nested too deep. Correct it.") from None
        except json.JSONDecodeError as error:
            more = file.read(max(_PART_CHARS, len(text))) if len(text) - at < _LONGEST_CHARS else ""
            if not more:
                raise BadInput(f"`{path}`, entry {number + 1}: no JSON ({error.msg}). Correct it.") from error
            text, at = text[at:] + more, 0
            continue
        number += 1
        if not isinstance(entry, dict):
            raise BadInput(f"`{path}`, entry {number}: {entry!r:.60}; expected an object. Correct it.")
        yield entry


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
