"""Builds the vocabularies of a collection of recipes: its ingredients and its actions.

OUT/parameters.json     what decides the content; it cannot change under a folder that was begun
OUT/ingredients.json    classes of ingredients (`loopwright.tools.recipe.vocabulary.Vocabulary`)
OUT/actions.json        actions
OUT/counts.json         recipes read and used, lines without a name, names without a class
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from loopwright.errors import BadInput
from loopwright.schema import Frozen
from loopwright.tools.files import keep_parameters, write_whole
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.ingredients import ingredient_name
from loopwright.tools.recipe.recipe import Recipe, RecipeRules, is_used
from loopwright.tools.recipe.verbs import bundled_verbs
from loopwright.tools.recipe.vocabulary import ClusterRules, cluster, frequent

INGREDIENTS, ACTIONS, COUNTS = "ingredients.json", "actions.json", "counts.json"


class VocabularyRules(Frozen):
    """What decides the content, beside the recipes."""

    recipes: RecipeRules = RecipeRules()
    ingredients: ClusterRules = ClusterRules()
    min_actions: int = Field(default=1, ge=1, description="actions that occur in fewer recipes are dropped")


class VocabularyCounts(Frozen):
    """What was read, and what was left out."""

    recipes: int
    used: int
    lines: int
    nameless_lines: int
    unclassed_lines: int


class Counted(NamedTuple):
    """The vocabularies of one collection, and what they were counted over."""

    known: Vocabularies
    counts: VocabularyCounts


def vocabularies_of(recipes: Iterable[Recipe], rules: VocabularyRules = VocabularyRules()) -> Counted:  # noqa: B008
    """Count a collection, each recipe once: a class counts once a recipe. Reads `recipes` once.

    Raises:
        BadInput: none is used.
    """
    names, verbs = Counter[str](), Counter[str]()
    n_recipes = used = lines = nameless = 0
    finder = bundled_verbs()
    for recipe in recipes:
        n_recipes += 1
        if not is_used(recipe, rules.recipes):
            continue
        used += 1
        found = [ingredient_name(line) for line in recipe.ingredients]
        lines += len(found)
        nameless += found.count("")
        names.update(set(found) - {""})
        verbs.update(finder.actions(recipe.instructions))
    if not used:
        raise BadInput(
            f"None of {n_recipes} recipes has {rules.recipes.fewest_ingredients} to {rules.recipes.most_ingredients} "
            f"ingredients and {rules.recipes.fewest_instructions} to {rules.recipes.most_instructions} instructions."
        )
    ingredients = cluster(names, rules.ingredients)
    unclassed = sum(count for name, count in names.items() if name not in ingredients.members)
    return Counted(
        Vocabularies(actions=frequent(verbs, rules.min_actions), ingredients=ingredients),
        VocabularyCounts(recipes=n_recipes, used=used, lines=lines, nameless_lines=nameless, unclassed_lines=unclassed),
    )


def build(out: Path, recipes: Iterable[Recipe], rules: VocabularyRules = VocabularyRules()) -> Counted:  # noqa: B008
    """Build everything in `out`, made where it is missing. The same recipes give the same files.

    Raises:
        BadInput: no recipe is used, or `out` was built with other rules.
    """
    keep_parameters(out, rules.model_dump(mode="json"))
    found = vocabularies_of(recipes, rules)
    found.known.ingredients.save(out / INGREDIENTS)
    found.known.actions.save(out / ACTIONS)
    write_whole(out / COUNTS, (json.dumps(found.counts.model_dump(), indent=1) + "\n").encode())
    return found
