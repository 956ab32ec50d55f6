"""Vocabularies of a collection: counted once a recipe, filtered by settings, written so that they come back."""

import json
from pathlib import Path

import pytest

from loopwright.errors import BadInput
from loopwright.finetune.data.recipe.vocabulary import ACTIONS, INGREDIENTS, VocabularyRules, build, vocabularies_of
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.recipe import Recipe, RecipeRules
from loopwright.tools.recipe.vocabulary import ClusterRules, Vocabulary

SOUP = Recipe(title="Soup", ingredients=("2 onions", "1 red onion", "salt"), instructions=("Chop the onions.", "Boil."))
SALAD = Recipe(title="Salad", ingredients=("onion", "For the top:"), instructions=("Chop the onion.", "Serve."))
WATER = Recipe(title="Water", ingredients=("water",), instructions=("Boil it.", "Serve it."))
RULES = VocabularyRules(ingredients=ClusterRules(min_count=1))


def test_recipes_are_counted_once_and_small_ones_left_out() -> None:
    found = vocabularies_of([SOUP, SALAD, WATER], RULES)
    assert found.known.ingredients.counts == {"onion": 3, "salt": 1}
    assert found.known.actions.counts == {"chop": 2, "boil": 1, "serve": 1}
    counts = found.counts
    assert (counts.recipes, counts.used, counts.lines, counts.nameless_lines) == (3, 2, 5, 1)


def test_no_recipe_at_all_is_an_error() -> None:
    with pytest.raises(BadInput, match="None of 1 recipes has 2 to 19 ingredients"):
        vocabularies_of([WATER])
    assert vocabularies_of([WATER], VocabularyRules(recipes=RecipeRules(fewest_ingredients=1))).counts.used == 1


def test_what_is_built_comes_back_and_is_built_again_alike(tmp_path: Path) -> None:
    found = build(tmp_path, [SOUP, SALAD], RULES)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    build(tmp_path, [SALAD, SOUP], RULES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert Vocabulary.load(tmp_path / INGREDIENTS) == found.known.ingredients
    assert Vocabulary.load(tmp_path / ACTIONS).version == found.known.actions.version
    assert json.loads((tmp_path / "counts.json").read_text())["used"] == 2
    with pytest.raises(BadInput, match="Use the same parameters, or another folder"):
        build(tmp_path, [SOUP], VocabularyRules())


def test_the_real_recipes_give_a_vocabulary(real_data: Path) -> None:
    path = real_data / "recipes" / "recipes.json"
    if not path.is_file():
        pytest.skip(f"`{path}` is not there")
    found = vocabularies_of(read_recipes(path), VocabularyRules(ingredients=ClusterRules(min_count=2, own_count=5)))
    assert found.counts.used == 232
    assert {"onion", "butter", "olive_oil", "tomato_paste", "chicken_breast"} <= set(found.known.ingredients.classes)
    assert {"chop", "stir", "bake", "saute"} <= set(found.known.actions.classes)
    assert found.counts.unclassed_lines / found.counts.lines < 0.12
