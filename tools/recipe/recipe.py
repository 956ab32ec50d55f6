"""A recipe as people write it, whatever file it came from."""

from pathlib import Path

from pydantic import Field

from loopwright.errors import BadInput
from loopwright.schema import Frozen


class RecipeRules(Frozen):
    """Which recipes are used. The defaults are inversecooking's: 2 to 19 ingredients, 2 to 19 instructions."""

    fewest_ingredients: int = Field(default=2, ge=0)
    most_ingredients: int = Field(default=19, ge=0)
    fewest_instructions: int = Field(default=2, ge=0)
    most_instructions: int = Field(default=19, ge=0)


class Recipe(Frozen):
    """Title, lines of the ingredient list, steps. `source` says where it stands: file and entry."""

    title: str = Field(min_length=1)
    ingredients: tuple[str, ...] = Field(min_length=1)
    instructions: tuple[str, ...] = Field(min_length=1)
    image: Path | None = None
    source: str = ""
    licence: str = ""


def is_used(recipe: Recipe, rules: RecipeRules = RecipeRules()) -> bool:  # noqa: B008 - frozen
    """Whether a recipe has as many ingredients and instructions as `rules` ask for."""
    return (
        rules.fewest_ingredients <= len(recipe.ingredients) <= rules.most_ingredients
        and rules.fewest_instructions <= len(recipe.instructions) <= rules.most_instructions
    )


def raise_problem(problem: str) -> None:
    """What a loader does with a wrong entry, unless it is told otherwise.

    Raises:
        BadInput: always.
    """
    raise BadInput(problem)
