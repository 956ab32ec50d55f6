"""Whom a file of conversations is about: patients by name, beside the file, so that nobody is tested on their own data.

FOLDER/cases.json     each file's name, and the cases that its content depends on
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from loopwright.errors import BadInput
from loopwright.schema.json_text import parse_json
from loopwright.tools.files import write_whole

CASES = "cases.json"


def write_cases(folder: Path, cases: Mapping[str, Collection[str]]) -> None:
    """Say for each file of `folder`, by name, on which cases it depends. Other files' entries go."""
    content = {name: sorted(of_file) for name, of_file in cases.items()}
    write_whole(folder / CASES, (json.dumps(content, indent=1) + "\n").encode())


def forget_cases(folder: Path) -> None:
    """Say of no file in `folder` any more on whom it depends: new ones are about to take their places."""
    (folder / CASES).unlink(missing_ok=True)


def cases_of(path: Path) -> tuple[str, ...]:
    """The cases that a file depends on; none where nobody wrote them down.

    Raises:
        BadInput: what is written there cannot be read.
    """
    beside = path.parent / CASES
    if not beside.is_file():
        return ()
    try:
        return tuple(map(str, parse_json(beside.read_text(encoding="utf-8")).get(path.name, ())))
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"`{beside}` is damaged ({error}). Build the data again.") from error
