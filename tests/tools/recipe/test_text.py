"""Actions and ingredients found in text: twenty sentences and twenty lines checked by hand, and real recipes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tools.recipe.sentences import LINES, SENTENCES

from loopwright.tools.recipe.ingredients import clean_name, ingredient_name, singular
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.verbs import bundled_lexicon, bundled_verbs


@pytest.mark.parametrize(("sentence", "verbs"), SENTENCES)
def test_the_actions_of_a_sentence(sentence: str, verbs: tuple[str, ...]) -> None:
    assert bundled_verbs().actions([sentence]) == verbs


@pytest.mark.parametrize(("line", "name"), LINES)
def test_the_ingredient_of_a_line(line: str, name: str) -> None:
    assert ingredient_name(line) == name


def test_a_mention_says_where_its_word_stands() -> None:
    text = "Then gently sauté the leek."
    (mention,) = bundled_verbs().mentions(text)
    assert (mention.verb, text[mention.start : mention.end]) == ("saute", "sauté")


def test_no_verb_is_both_plain_and_ambiguous() -> None:
    lexicon = bundled_lexicon()
    assert lexicon.verbs & lexicon.ambiguous == set()
    assert set(lexicon.spellings.values()) <= lexicon.all
    assert lexicon.substances <= lexicon.ambiguous


@pytest.mark.parametrize(
    ("text", "name"),
    [("Salt & Pepper 2", "salt_and_pepper"), ("Crème  FRAÎCHE!", "creme_fraiche"), ("7-up", "up"), ("12 %", "")],
)
def test_cleaning_is_inversecooking_s(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("plural", "one"),
    [("tomatoes", "tomato"), ("berries", "berry"), ("leeks", "leek"), ("molasses", "molass"), ("hummus", "hummus")],
)
def test_plurals_go_by_spelling(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_real_recipes_have_actions_and_names(real_data: Path) -> None:
    """244 recipes, of which a person looked at 50 steps and 80 lines (docs/recipe-data.md)."""
    path = real_data / "recipes" / "recipes.json"
    if not path.is_file():
        pytest.skip(f"`{path}` is not there")
    recipes = list(read_recipes(path))
    actions = [bundled_verbs().actions(recipe.instructions) for recipe in recipes]
    assert sum(len(found) >= 2 for found in actions) / len(recipes) > 0.99
    names = [ingredient_name(line) for recipe in recipes for line in recipe.ingredients]
    assert sum(map(bool, names)) / len(names) > 0.99


@pytest.fixture
def text_of_every_verb() -> Iterator[tuple[str, str]]:
    return ((verb, f"{verb.capitalize()} the leek.") for verb in sorted(bundled_lexicon().all))


def test_every_verb_is_found_where_a_command_begins(text_of_every_verb: Iterator[tuple[str, str]]) -> None:
    missed = [verb for verb, text in text_of_every_verb if bundled_verbs().actions([text]) != (verb,)]
    assert missed == []
