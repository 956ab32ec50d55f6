"""Labels of texts: what a recipe, or instructions that somebody wrote, say is done and is in the dish."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from loopwright.tools.recipe.ingredients import ingredient_name
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.labels import Labels
from loopwright.tools.recipe.recipe import Recipe
from loopwright.tools.recipe.verbs import bundled_verbs
from loopwright.tools.recipe.vocabulary import Vocabulary, plain_vocabulary


class Vocabularies(NamedTuple):
    """The labels that there are."""

    actions: Vocabulary
    ingredients: Vocabulary


@cache
def kitchen_vocabularies() -> Vocabularies:
    """Those of simulated dishes."""
    kitchen = bundled_kitchen()
    return Vocabularies(
        actions=plain_vocabulary("actions", kitchen.actions),
        ingredients=plain_vocabulary("ingredients", kitchen.ingredients),
    )


def labels_of_recipe(recipe: Recipe, known: Vocabularies) -> Labels:
    """Actions of its instructions, ingredients of its list, as far as they are known."""
    names = (known.ingredients.class_of(name) for line in recipe.ingredients if (name := ingredient_name(line)))
    return Labels(
        actions=_actions(recipe.instructions, known.actions),
        ingredients=frozenset(name for name in names if name is not None),
    )


def labels_of_text(instructions: Iterable[str], known: Vocabularies) -> Labels:
    """Actions and ingredients that instructions name, as far as they are known."""
    texts = tuple(instructions)
    return Labels(
        actions=_actions(texts, known.actions),
        ingredients=frozenset(mention.name for text in texts for mention in known.ingredients.mentions(text)),
    )


def _actions(texts: Iterable[str], known: Vocabulary) -> frozenset[str]:
    return frozenset(bundled_verbs().actions(texts)) & known.members.keys()
