"""Reads recipes from our JSON, from Markdown collections and from Recipe1M; `read_recipes` finds out which it is.

What is wrong is said with file, entry, what was expected and the repair. By default the first wrong entry is an error;
with `on_problem` it is handed over and left out.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.tools.json_entries import read_entries
from loopwright.tools.recipe.markdown import parse_markdown
from loopwright.tools.recipe.recipe import Recipe, raise_problem
from loopwright.tools.recipe.recipe1m import LAYER_1, read_recipe1m

OnProblem = Callable[[str], None]
_INSTRUCTIONS = ("instructions", "steps")
_EXPECTED = "expected `title` (text), `ingredients` and `instructions` (lists of text)"


def read_recipes(path: Path, *, licence: str = "", on_problem: OnProblem = raise_problem) -> Iterator[Recipe]:
    """Every recipe under `path`, one by one.

    Args:
        path: a JSON file of ours, a folder of Markdown files, one Markdown file, or Recipe1M's folder (`layer1.json`).
        licence: of recipes that do not say theirs.
        on_problem: called with what is wrong with an entry that is left out; by default that is an error.

    Raises:
        BadInput: there is no recipe under `path`, or one is wrong and `on_problem` raises.
    """
    path = path.expanduser()
    if path.is_dir():
        if (path / LAYER_1).is_file():
            found = read_recipe1m(path, licence=licence, on_problem=on_problem)
        else:
            found = read_markdown(path, licence=licence, on_problem=on_problem)
    elif path.suffix == ".md":
        found = _markdown_files([path], path.parent, licence, on_problem)
    else:
        found = read_json(path, licence=licence, on_problem=on_problem)
    is_empty = True
    for recipe in found:
        is_empty = False
        yield recipe
    if is_empty:
        raise BadInput(
            f"`{path}` holds no recipe. Expected a JSON file, a folder of Markdown files, or Recipe1M's folder with "
            f"`{LAYER_1}`."
        )


def read_json(path: Path, *, licence: str = "", on_problem: OnProblem = raise_problem) -> Iterator[Recipe]:
    """Recipes of a JSON array, or of one object a line: `title`, `ingredients`, `instructions` (or `steps`), and where
    there are any `image` (by path from the file's folder), `id`, `source` and `licence`. Other fields are not read.
    """
    for number, entry in read_entries(path):
        try:
            yield _recipe(path, number, entry, licence)
        except BadInput as error:
            on_problem(str(error))


def read_markdown(folder: Path, *, licence: str = "", on_problem: OnProblem = raise_problem) -> Iterator[Recipe]:
    """Recipes of all `.md` files below `folder`, in order of their paths. See `parse_markdown`."""
    yield from _markdown_files(sorted(folder.rglob("*.md")), folder, licence, on_problem)


def _markdown_files(paths: list[Path], root: Path, licence: str, on_problem: OnProblem) -> Iterator[Recipe]:
    for path in paths:
        try:
            yield parse_markdown(path.read_text(encoding="utf-8-sig"), path, root=root, licence=licence)
        except BadInput as error:
            on_problem(str(error))
        except (OSError, UnicodeDecodeError) as error:
            on_problem(f"`{path}` cannot be read as UTF-8 text: {error}.")


def _recipe(path: Path, number: int, entry: dict[str, Any], licence: str) -> Recipe:
    name = entry.get("id") or entry.get("title")
    where = f"`{path}`, entry {number} ({name!r:.60})"
    steps = next((field for field in _INSTRUCTIONS if field in entry), _INSTRUCTIONS[0])
    image = entry.get("image")
    if image is not None and not isinstance(image, str):
        raise BadInput(f"{where}: `image` is {image!r:.60}; expected a path from the file's folder, or none.")
    if image is not None and not (path.parent / image).is_file():
        raise BadInput(f"{where}: `image` {image!r} is no file below `{path.parent}`. Add it, or leave `image` out.")
    try:
        return Recipe.model_validate(
            {
                "title": entry.get("title"),
                "ingredients": entry.get("ingredients"),
                "instructions": entry.get(steps),
                "image": None if image is None else path.parent / image,
                "source": entry.get("source") or f"{path.name}:{entry.get('id', number)}",
                "licence": entry.get("licence") or licence,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise BadInput(f"{where}: `{field}`: {first['msg']}; {_EXPECTED}. Correct or remove the entry.") from error
