"""Recipes from every kind of file; what is wrong is said with file, entry, what was expected and the repair."""

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import BadInput
from loopwright.tools.json_entries import read_entries
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.recipe import Recipe, RecipeRules, is_used
from loopwright.tools.recipe.recipe1m import read_recipe1m

SOUP = {"id": "pea-soup", "title": "Pea soup", "ingredients": ["500 g peas", "salt"], "steps": ["Soak.", "Boil."]}
MARKDOWN = """---
title: Pea soup
tags: [soup]
licence: CC0-1.0
---
![Pea soup](/pix/pea-soup.png)

Warms.

## Ingredients
### For the soup
- 500 g **peas**
* [salt](https://example.org)

## Directions
1. Soak the peas.
2) Boil them.

## Notes
- Keeps well.
"""


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_our_json_as_an_array_and_by_lines(tmp_path: Path) -> None:
    (tmp_path / "soup.png").touch()
    entries = [{**SOUP, "image": "soup.png"}, {**SOUP, "instructions": ["Eat."], "licence": "MIT", "source": "me"}]
    entries[1].pop("steps")
    array = list(read_recipes(written(tmp_path / "r.json", entries), licence="CC0"))
    lines = list(read_recipes(written(tmp_path / "r.jsonl", "\n".join(map(json.dumps, entries))), licence="CC0"))
    assert array[0] == Recipe(
        title="Pea soup",
        ingredients=("500 g peas", "salt"),
        instructions=("Soak.", "Boil."),
        image=tmp_path / "soup.png",
        source="r.json:pea-soup",
        licence="CC0",
    )
    assert (array[1].instructions, array[1].licence, array[1].source, array[1].image) == (("Eat.",), "MIT", "me", None)
    assert [recipe.title for recipe in lines] == ["Pea soup", "Pea soup"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ingredients": None}, r"`.*r\.json`, entry 2 \('pea-soup'\): `ingredients`: .* expected `title`"),
        ({"steps": []}, "`instructions`: Tuple should have at least 1 item"),
        ({"title": ""}, "`title`: String should have at least 1 character"),
        ({"image": "gone.png"}, "`image` 'gone.png' is no file below"),
        ({"image": 3}, "`image` is 3; expected a path"),
    ],
)
def test_a_wrong_entry_is_named_or_handed_over(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = written(tmp_path / "r.json", [SOUP, {**SOUP, **change}, SOUP])
    with pytest.raises(BadInput, match=said):
        list(read_recipes(path))
    problems: list[str] = []
    assert len(list(read_recipes(path, on_problem=problems.append))) == 2
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "holds no recipe"),
        ("hello", "begins with 'hello'; expected a JSON array"),
        ('[{"title": ', "entry 1: no JSON"),
        ('[{"a": 1}, {"b": tru}]', "entry 2: no JSON"),
        ('[{"a": 1}', "ends within its array, after entry 1"),
        ("[3]", "entry 1: 3; expected an object"),
    ],
)
def test_damaged_json_is_named_by_its_entry(tmp_path: Path, content: str, said: str) -> None:
    path = written(tmp_path / "r.json", content)
    with pytest.raises(BadInput, match=said):
        list(read_recipes(path, on_problem=lambda _: None))


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b'[{"title": "\xff\xfe"}]')
    with pytest.raises(BadInput, match="no UTF-8"):
        list(read_recipes(path))
    with pytest.raises(BadInput, match="is not there"):
        list(read_recipes(tmp_path / "none.json"))


def test_large_json_is_never_held_as_a_whole(tmp_path: Path) -> None:
    """24 MB in entries of 12 kB, read within a few parts of 1 MiB; entries cross the parts' borders."""
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[\n")
        for number in range(2000):
            file.write("," * (number > 0) + json.dumps({"number": number, "text": "é" * 2000}))
        file.write("]")
    tracemalloc.start()
    assert [entry["number"] for _, entry in read_entries(path)] == list(range(2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 20e6 > peak


def test_markdown_collections(tmp_path: Path) -> None:
    (tmp_path / "static" / "pix").mkdir(parents=True)
    (tmp_path / "static" / "pix" / "pea-soup.png").touch()
    folder = tmp_path / "content"
    folder.mkdir()
    written(folder / "pea-soup.md", MARKDOWN)
    written(folder / "plain.md", "# Toast\n\n## What you need: ingredients\n- bread\n## Method\nToast the bread.\n")
    soup, toast = read_recipes(folder)
    assert soup == Recipe(
        title="Pea soup",
        ingredients=("500 g peas", "salt"),
        instructions=("Soak the peas.", "Boil them."),
        image=tmp_path / "static" / "pix" / "pea-soup.png",
        source="pea-soup.md",
        licence="CC0-1.0",
    )
    assert (toast.title, toast.instructions) == ("Toast", ("Toast the bread.",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## Ingredients\n- bread\n## Steps\n1. Eat.", "has no title; expected `title:`"),
        ("# Toast\n## Steps\n1. Eat.", "has no ingredients; expected a heading"),
        ("# Toast\n## Ingredients\n- bread\n", "has no instructions"),
        ("---\ntitle: [\n---\n", "front matter is no YAML"),
        ("---\njust text\n---\n", "front matter is 'just text'"),
    ],
)
def test_a_markdown_file_without_a_part_is_named(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path / "toast.md", text)
    with pytest.raises(BadInput, match=rf"toast\.md.*{said}"):
        list(read_recipes(tmp_path))


@pytest.fixture
def recipe1m(tmp_path: Path) -> Path:
    texts = {"ingredients": [{"text": "2 eggs"}, {"text": "salt"}], "instructions": [{"text": "Beat."}]}
    layer_1 = [
        {"id": "0001aa", "title": "Eggs", "partition": "train", "url": "http://example.org/1", **texts},
        {"id": "0002bb", "title": "More eggs", "partition": "test", **texts},
    ]
    written(tmp_path / "layer1.json", layer_1)
    written(tmp_path / "layer2.json", [{"id": "0001aa", "images": [{"id": "gone.jpg"}, {"id": "abcdef.jpg"}]}])
    picture = tmp_path / "images" / "train" / "a" / "b" / "c" / "d" / "abcdef.jpg"
    picture.parent.mkdir(parents=True)
    picture.touch()
    (tmp_path / "recipe1m_train.pkl").write_bytes(pickle.dumps(Path))
    return tmp_path


def test_recipe1m_from_its_layers(recipe1m: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    first, second = read_recipes(recipe1m)
    assert (first.title, first.ingredients, first.instructions) == ("Eggs", ("2 eggs", "salt"), ("Beat.",))
    assert first.image is not None and first.image.name == "abcdef.jpg"
    assert (first.source, second.source, second.image) == ("http://example.org/1", "layer1.json:0002bb", None)
    assert [recipe.title for recipe in read_recipe1m(recipe1m, partition="test")] == ["More eggs"]


def test_recipe1m_s_parsed_ingredients_go_first(recipe1m: Path) -> None:
    parsed = {"id": "0001aa", "valid": [True, False], "ingredients": [{"text": "eggs"}, {"text": "bowl"}]}
    written(recipe1m / "det_ingrs.json", [parsed])
    first, second = read_recipes(recipe1m)
    assert (first.ingredients, second.ingredients) == (("eggs",), ("2 eggs", "salt"))
    written(recipe1m / "det_ingrs.json", [{"id": "0001aa", "valid": [True], "ingredients": []}])
    with pytest.raises(BadInput, match=r"det_ingrs\.json`, entry 1: .* as many `valid`"):
        list(read_recipes(recipe1m))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"title": "x", "ingredients": [], "instructions": []}, "has no `id`"),
        ({"id": "1", "title": "x", "instructions": [{"text": "Eat."}]}, "has no `ingredients`"),
        ({"id": "1", "title": "x", "ingredients": ["egg"], "instructions": []}, "list of objects with `text`"),
        ({"id": "1", "title": "x", "ingredients": [], "instructions": []}, "`ingredients` is empty"),
    ],
)
def test_a_wrong_entry_of_recipe1m_is_named(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    written(tmp_path / "layer1.json", [entry])
    with pytest.raises(BadInput, match=rf"layer1\.json`, entry 1 .*{said}"):
        list(read_recipes(tmp_path))


def test_which_recipes_are_used_is_a_setting() -> None:
    recipe = Recipe(title="x", ingredients=("egg",), instructions=("Beat.", "Fry."))
    assert not is_used(recipe)
    assert is_used(recipe, RecipeRules(fewest_ingredients=1))
    assert not is_used(recipe, RecipeRules(fewest_ingredients=1, most_instructions=1))


def test_the_real_recipes_are_read(real_data: Path) -> None:
    path = real_data / "recipes" / "recipes.json"
    if not path.is_file():
        pytest.skip(f"`{path}` is not there")
    recipes = list(read_recipes(path, licence="Unlicense"))
    assert (len(recipes), sum(recipe.image is not None for recipe in recipes)) == (244, 83)
