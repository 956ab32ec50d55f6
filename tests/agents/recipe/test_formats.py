"""Answers of the recipe loop's models: exact, repaired, refused."""

import re

import pytest

from loopwright.agents.recipe.formats import (
    INSTRUCTIONS,
    MOST_LABELS,
    ActionAnswer,
    actions_form,
    ingredients_form,
)
from loopwright.errors import BadInput
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import kitchen_vocabularies

KNOWN = kitchen_vocabularies()
ACTIONS, INGREDIENTS = actions_form(KNOWN.actions.classes), ingredients_form(KNOWN.ingredients.classes)
PAPER = re.compile(r"^<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)


def test_actions_are_in_the_papers_format() -> None:
    answer = ActionAnswer(think="pan, golden", actions=("fry", "chop"))
    text = ACTIONS.render(answer)
    assert text == "<think>pan, golden</think><answer>fry, chop</answer>"
    assert PAPER.fullmatch(text)
    assert ACTIONS.parse(text) == answer
    assert re.fullmatch(ACTIONS.pattern, text)
    assert len(text) <= ACTIONS.longest_chars


def test_ingredients_are_in_the_template() -> None:
    text = INGREDIENTS.render(("olive_oil", "egg"))
    assert text == "Ingredients: olive oil, egg"
    assert INGREDIENTS.parse(text) == ("olive_oil", "egg")
    assert INGREDIENTS.parse("Ingredients: egg, olive oil, egg") == ("egg", "olive_oil"), "twice says nothing more"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("ingredients: Eggs, olive oil and tomatoes.", ("egg", "olive_oil", "tomato")),
        ("```\nIngredients: eggs; unicorn\n```", ("egg",)),
    ],
)
def test_what_means_well_is_repaired(text: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        INGREDIENTS.parse(text)
    assert INGREDIENTS.repair(text) == labels


@pytest.mark.parametrize("text", ["", "Ingredients: ", "Ingredients: unicorn", "I cannot see it."])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="ingredients"):
        INGREDIENTS.repair(text)


def test_actions_are_repaired() -> None:
    found = ACTIONS.repair("Sure! <think>It is *fried*.\nThen what?</think>\n<answer>Fry, Chop</answer> Enjoy!")
    assert found == ActionAnswer(think="It is fried . Then what", actions=("fry", "chop"))


@pytest.mark.parametrize("seed", range(2_000_000, 2_000_020))
def test_the_kitchens_own_instructions_are_in_the_form(seed: int) -> None:
    steps = SimulatedDish(seed).recipe.instructions
    text = INSTRUCTIONS.render(steps)
    assert INSTRUCTIONS.parse(text) == steps
    assert re.fullmatch(INSTRUCTIONS.pattern, text)


def test_numbered_steps_are_repaired() -> None:
    assert INSTRUCTIONS.repair("1. Chop the *onion*.\n\n2) Fry it!\n- Serve.") == (
        "Chop the onion .",
        "Fry it",
        "Serve.",
    )


def test_more_labels_than_there_may_be_are_no_answer() -> None:
    names = KNOWN.ingredients.classes[: MOST_LABELS + 1]
    assert re.fullmatch(INGREDIENTS.pattern, INGREDIENTS.render(names)) is None
