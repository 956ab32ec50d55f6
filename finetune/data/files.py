"""Files of conversations: one JSON object a line, images by path from the file's own folder.

What is wrong is said with file and row. Files appear whole or not at all, and one that says the same is left alone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.finetune.data.rows import FORMATS, Example, FormatName, read_row
from loopwright.models.pixels import open_picture
from loopwright.schema.json_text import parse_json
from loopwright.tools.files import write_whole


class Problem(NamedTuple):
    """What is wrong with one row, counted from 1."""

    path: Path
    row: int
    message: str

    def __str__(self) -> str:
        return f"`{self.path}`, row {self.row}: {self.message}."


class Checked(NamedTuple):
    """A file's good examples, and every problem of the others."""

    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]


def read_examples(path: Path) -> tuple[Example, ...]:
    """The examples of a file in any format. Images are not looked at (`check_file` does).

    Raises:
        BadInput: no such file, nothing in it, or a wrong row; the first one is named.
    """
    examples = []
    for row, found in _rows(path):
        if isinstance(found, str):
            raise BadInput(
                f"{Problem(path, row, found)} Correct the row; `loopwright data check` lists all that is wrong."
            )
        examples.append(found)
    return tuple(examples)


def check_file(path: Path) -> Checked:
    """Read every row and open every image.

    Raises:
        BadInput: no such file, or nothing in it.
    """
    examples, problems = [], []
    whole: dict[str, str] = {}
    for row, found in _rows(path):
        if isinstance(found, str):
            problems.append(Problem(path, row, found))
            continue
        for image in found.images:
            if image not in whole:
                whole[image] = _image_problem(path.parent / image)
        wrong = [f"image {image!r} {whole[image]}" for image in found.images if whole[image]]
        problems += [Problem(path, row, message) for message in wrong]
        if not wrong:
            examples.append(found)
    return Checked(tuple(examples), tuple(problems))


def write_examples(path: Path, examples: Iterable[Example], form: FormatName) -> bool:
    """Write a file whole, unless it says the same already. Returns whether it was written."""
    lines = [json.dumps(FORMATS[form].write(example), ensure_ascii=False) for example in examples]
    return _write("\n".join([*lines, ""]), path)


def write_dataset_info(folder: Path, names: Sequence[str]) -> None:
    """Describe ShareGPT files of `folder` to LLaMA-Factory (`--dataset_dir FOLDER --media_dir FOLDER`)."""
    columns = {"messages": "conversations", "system": "system", "images": "images"}
    info = {Path(name).stem: {"file_name": name, "formatting": "sharegpt", "columns": columns} for name in names}
    _write(json.dumps(info, indent=1) + "\n", folder / "dataset_info.json")


def _write(text: str, path: Path) -> bool:
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return True


def _rows(path: Path) -> Iterator[tuple[int, Example | str]]:
    """Each row's number, and its example or what is wrong with it. Blank lines are no rows."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON text may hold other separators of lines
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"`{path}` is not there as a file; expected one with a conversation a line.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"`{path}` is not UTF-8 text ({error}).") from error
    if not any(line.strip() for line in lines):
        raise BadInput(f"`{path}` holds no row; expected one JSON object a line.")
    for row, line in enumerate(lines, start=1):
        if line.strip():
            yield row, _example_or_problem(line)


def _example_or_problem(line: str) -> Example | str:
    try:
        return read_row(parse_json(line))
    except json.JSONDecodeError as error:
        return f"no JSON ({error})"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{f'`{where}`: ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
    except ValueError as error:
        return str(error)


def _image_problem(path: Path) -> str:
    if not path.is_file():
        return f"is not there: no file `{path}`"
    try:
        open_picture(path, "it")
    except BadInput as error:
        return f"cannot be shown ({error})"
    return ""
