"""What people say to the recipe loop, in words of their own, and what becomes of the labels."""

import pytest

from loopwright.agents.recipe.feedback import FEEDBACK, Edits, With, Without
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.schema import Reject, Stop, Unclear

LANGUAGE = FeedbackLanguage(FEEDBACK)
NUTS = ("almond", "walnut", "sesame")
MEAT = ("chicken", "beef", "bacon", "sausage", "ham", "lamb", "turkey")
CHEESE = ("cheddar", "mozzarella", "gouda")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("No nuts!", Without(ingredients=NUTS)),
        ("There is no cheese in it.", Without(ingredients=CHEESE)),
        ("it does not contain any milk, please", Without(ingredients=("milk",))),
        ("without tomatoes and onions", Without(ingredients=("tomato", "onion"))),
        ("leave out the olive oil", Without(ingredients=("olive_oil",))),
        ("don't boil it", Without(actions=("boil",))),
        ("it was not fried", Without(actions=("fry",))),
        ("no meat or fish in it", Without(ingredients=(*MEAT, "salmon", "shrimp", "cod"))),
        ("add basil", With(ingredients=("basil",))),
        ("please add some lemons and grate them", With(actions=("grate",), ingredients=("lemon",))),
        ("there are mushrooms", With(ingredients=("mushroom",))),
        ("also garnish it", With(actions=("garnish",))),
        ("don't boil it, don't fry it", Without(actions=("boil", "fry"))),
        ("no nuts, add basil", Unclear),
        ("add basil, no nuts", Unclear),
        ("no nuts but add basil", Unclear),
        ("add cheese", Unclear),
        ("add saffron", Unclear),
        ("no way", Unclear),
        ("perhaps somewhat elsewhere", Unclear),
        ("no, that is wrong", Reject),
        ("stop", Stop),
    ],
)  # fmt: skip
def test_what_is_meant(text: str, meant: object) -> None:
    found = LANGUAGE.parse(text)
    if isinstance(meant, type):
        assert isinstance(found, meant), found
    else:
        assert found == meant


def test_who_names_a_group_is_asked_which_of_them() -> None:
    found = LANGUAGE.parse("add cheese")
    assert isinstance(found, Unclear)
    assert found.question == "Which of them: cheddar, mozzarella, gouda?"


def test_the_newest_word_on_a_label_counts() -> None:
    edits = Edits().after(Without(ingredients=NUTS), "no nuts").after(With(ingredients=("walnut",)), "add walnuts")
    assert edits.applied("ingredients", ["almond", "egg"]) == ("egg", "walnut")
    assert edits.applied("actions", ["boil"]) == ("boil",)
    again = edits.after(Without(ingredients=("walnut",)), "no walnuts")
    assert again.applied("ingredients", ["almond", "egg"]) == ("egg",)
    assert again.words == ("no nuts", "add walnuts", "no walnuts")


@pytest.mark.parametrize("example", [example for kind in FEEDBACK for example in kind.examples])
def test_examples_say_what_they_are_examples_of(example: str) -> None:
    kinds = [kind for kind in FEEDBACK if example in kind.examples]
    assert isinstance(LANGUAGE.parse(example), kinds[0])
