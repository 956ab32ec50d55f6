"""Whether a text says what its labels say."""

import pytest

from loopwright.agents.recipe.verify import check
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import kitchen_vocabularies

KNOWN = kitchen_vocabularies()


def test_what_is_missing_and_what_is_invented_is_named() -> None:
    told = {"actions": ["chop", "boil"], "ingredients": ["onion", "olive_oil"]}
    found = check(["Chop the onions.", "Fry them with basil."], told, KNOWN)  # type: ignore[arg-type]
    assert found.missing == {"actions": ("boil",), "ingredients": ("olive_oil",)}
    assert found.invented == {"actions": ("fry",), "ingredients": ("basil",)}
    assert (found.ok, found.n_wrong) == (False, 4)
    assert found.repair() == "Do mention boil, olive oil. Leave out fry, basil."
    assert found.in_words() == "it does not mention: boil, olive oil; it adds: fry, basil"


def test_of_a_set_that_was_not_told_only_what_was_denied_is_wrong() -> None:
    found = check(["Chop the onions and the walnuts."], {"actions": ["chop"]}, KNOWN, removed=["walnut"])
    assert found.invented == {"actions": (), "ingredients": ("walnut",)}
    assert found.missing == {"actions": ()}


@pytest.mark.parametrize("seed", range(2_000_000, 2_000_030))
def test_the_kitchens_own_texts_agree_with_their_labels(seed: int) -> None:
    dish = SimulatedDish(seed)
    assert check(dish.recipe.instructions, dish.labels._asdict(), KNOWN).ok  # type: ignore[arg-type]
