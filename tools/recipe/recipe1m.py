"""Reads Recipe1M (Marin et al. 2019) from its JSON layers and its folder of pictures. Its pickles are never opened:
they hold executable classes.

    FOLDER/layer1.json                  title, ingredients, instructions, partition
    FOLDER/layer2.json                  names of pictures (optional)
    FOLDER/det_ingrs.json               ingredients that were parsed before (optional)
    FOLDER/images/a/b/c/d/abcd....jpg   or images/PARTITION/a/b/c/d/...
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loopwright.errors import BadInput
from loopwright.tools.json_entries import read_entries
from loopwright.tools.recipe.recipe import Recipe, raise_problem

LAYER_1, LAYER_2, PARSED = "layer1.json", "layer2.json", "det_ingrs.json"
_LICENCE = "Recipe1M: research use only, as its makers give it"
_DEPTH = 4


def read_recipe1m(
    folder: Path,
    *,
    partition: str | None = None,
    licence: str = "",
    on_problem: Callable[[str], None] = raise_problem,
) -> Iterator[Recipe]:
    """Recipes of one part, `train`, `val` or `test`, or of all, in the order of `layer1.json`, one by one.

    A picture is the first one named in `layer2.json` that is there. Where `det_ingrs.json` is, ingredients are what it
    holds to be valid.

    Raises:
        BadInput: a layer is missing or damaged, or an entry is wrong and `on_problem` raises.
    """
    layer_2, parsed = folder / LAYER_2, folder / PARSED
    pictures = dict(_pictures(layer_2)) if layer_2.is_file() else {}
    valid = dict(_valid(parsed)) if parsed.is_file() else {}
    for number, entry in read_entries(folder / LAYER_1):
        part = str(entry.get("partition", ""))
        if partition is not None and part != partition:
            continue
        where = f"`{folder / LAYER_1}`, entry {number} ({entry.get('id')!r})"
        try:
            identity = str(entry["id"])
            ingredients = valid.get(identity) or _texts(entry, "ingredients", where)
            yield Recipe(
                title=str(entry["title"]),
                ingredients=ingredients,
                instructions=_texts(entry, "instructions", where),
                image=_found(folder / "images", part, pictures.get(identity, ())),
                source=str(entry.get("url") or f"{LAYER_1}:{identity}"),
                licence=licence or _LICENCE,
            )
        except KeyError as error:
            on_problem(f"{where}: has no `{error.args[0]}`; expected `id`, `title`, `ingredients`, `instructions`.")
        except (BadInput, ValueError) as error:
            on_problem(str(error) if isinstance(error, BadInput) else f"{where}: {error}")


def _pictures(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, entry in read_entries(path):
        try:
            yield str(entry["id"]), tuple(str(image["id"]) for image in entry["images"])
        except (KeyError, TypeError) as error:
            raise BadInput(
                f"`{path}`, entry {number}: {entry!r:.60}; expected `id` and `images`, a list of objects with `id`."
            ) from error


def _valid(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, entry in read_entries(path):
        try:
            pairs = zip(entry["ingredients"], entry["valid"], strict=True)
            yield str(entry["id"]), tuple(str(one["text"]) for one, is_valid in pairs if is_valid)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"`{path}`, entry {number}: {entry!r:.60}; expected `id`, `ingredients` (objects with `text`) and as "
                "many `valid`."
            ) from error


def _texts(entry: dict[str, Any], field: str, where: str) -> tuple[str, ...]:
    try:
        found = tuple(str(one["text"]) for one in entry[field])
    except TypeError as error:
        raise BadInput(
            f"{where}: `{field}` is {entry[field]!r:.60}; expected a list of objects with `text`."
        ) from error
    if not found:
        raise BadInput(f"{where}: `{field}` is empty; expected one or more.")
    return found


def _found(images: Path, part: str, names: tuple[str, ...]) -> Path | None:
    for name in names:
        for root in (images, images / part):
            path = root.joinpath(*name[:_DEPTH], name)
            if path.is_file():
                return path
    return None
