"""What a simulated dish teaches: the recipe loop's own questions about its picture, and the right answers to them.

Questions are built by `loopwright.agents.recipe.prompts`, answers are in the forms of its `formats`, as at inference.
Labels are listed from what the picture shows best to what it shows least, by the exact posterior:
a model that breaks off names the surest. Knows no file.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray
from pydantic import Field

from loopwright.agents.recipe.formats import INSTRUCTIONS, ActionAnswer, actions_form, ingredients_form
from loopwright.agents.recipe.prompts import (
    actions_messages,
    in_words,
    ingredients_messages,
    instructions_messages,
    one_action_messages,
    one_ingredient_messages,
    repair_words,
)
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.kitchen.instructions import write_recipe
from loopwright.tools.recipe.kitchen.pantry import Appearance, Kitchen, bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import Evidence, Plan, Used

Question = tuple[list[BaseMessage], str]


class TaskSettings(Frozen):
    """What is asked about a dish."""

    label_every: int = Field(default=4, ge=1, description="of so many dishes one is asked for its labels")
    one_share: float = Field(default=0.3, ge=0, le=1, description="of those, asked for one label of each set too")
    write_share: float = Field(default=1.0, ge=0, le=1, description="dishes whose instructions are asked for")
    plain_share: float = Field(default=0.15, ge=0, le=1, description="of those, without a context")
    edited_share: float = Field(
        default=0.5, ge=0, le=1, description="of those with one, another than the picture's: the context is to be kept"
    )
    repair_share: float = Field(default=0.25, ge=0, le=1, description="of those with one, told what a draft had wrong")


class Scene(NamedTuple):
    """A dish, the picture of it, and another dish, of which something may be borrowed."""

    dish: SimulatedDish
    image: ImageRef
    other: SimulatedDish


def questions(scene: Scene, asked: TaskSettings, rng: np.random.Generator) -> Iterator[Question]:
    """Messages up to the answer, and the answer; each dish takes the same number of draws."""
    draws = rng.random(7)
    if scene.dish.seed % asked.label_every == 0:
        yield from _labels(scene, asked, draws)
    if draws[3] < asked.write_share:
        yield _writing(scene, asked, draws, rng)


def _labels(scene: Scene, asked: TaskSettings, draws: NDArray[np.float64]) -> Iterator[Question]:
    """All labels of either set, and one of them."""
    dish, image = scene.dish, scene.image
    posterior, labels = dish.posterior(), dish.labels
    actions, ingredients = surest(labels.actions, posterior.actions), surest(labels.ingredients, posterior.ingredients)
    if actions:
        answer = ActionAnswer(think=reasoning(dish.plan.evidence), actions=actions)
        yield actions_messages(image), actions_form(dish.known.actions.classes).render(answer)
    yield ingredients_messages(image), ingredients_form(dish.known.ingredients.classes).render(ingredients)
    if draws[0] < asked.one_share:
        if actions:
            yield one_action_messages(image), in_words(actions[int(draws[1] * len(actions))])
        yield one_ingredient_messages(image), in_words(ingredients[int(draws[2] * len(ingredients))])


def _writing(scene: Scene, asked: TaskSettings, draws: NDArray[np.float64], rng: np.random.Generator) -> Question:
    """Its instructions, with or without a context."""
    dish, image = scene.dish, scene.image
    is_plain = draws[4] < asked.plain_share
    plan = edited(dish.plan, scene.other.plan, rng) if not is_plain and draws[5] < asked.edited_share else dish.plan
    text = INSTRUCTIONS.render(write_recipe(bundled_kitchen(), plan, dish.seed).instructions)
    if is_plain:
        return instructions_messages(image), text
    told = (sorted(plan.labels.actions), sorted(plan.labels.ingredients))
    repair = _repair(plan, scene.other.plan, rng) if draws[6] < asked.repair_share else ""
    return instructions_messages(image, *told, repair=repair), text


def surest(labels: Iterable[str], odds: Mapping[str, float]) -> tuple[str, ...]:
    """Labels by how probable the picture makes them, equal ones by name."""
    return tuple(sorted(labels, key=lambda label: (-odds[label], label)))


def reasoning(evidence: Evidence) -> str:
    """The simulator's own explanation: the vessel, and each cue of something that was done."""
    cues: set[str] = set()
    for sight in evidence.sights:
        cues |= {sight.cut, sight.heat, sight.coat} if isinstance(sight, Appearance) else {sight}
    return ", ".join((evidence.vessel, *sorted(cues - {""})))


def edited(plan: Plan, other: Plan, rng: np.random.Generator) -> Plan:
    """A plan without some of its ingredients, and with one of another dish, as a person or a judge may change it."""
    kitchen = bundled_kitchen()
    used = [one for one in plan.used if not one.item.is_ingredient or rng.random() > 0.25]
    names = {one.item.name for one in used}
    borrowed = [one for one in other.used if one.item.is_ingredient and one.item.name not in names]
    if borrowed and _count(used) < kitchen.most:
        used.append(borrowed[int(rng.integers(len(borrowed)))])
    return plan._replace(used=_in_order(used, kitchen)) if _count(used) else plan


def _repair(plan: Plan, other: Plan, rng: np.random.Generator) -> str:
    """What a draft of this dish could have had wrong: it lacked some labels, and had some of another dish."""
    own = [*plan.labels.actions, *plan.labels.ingredients]
    foreign = [*other.labels.actions, *other.labels.ingredients]
    missing = rng.permutation(sorted(own))[: rng.integers(3)]
    invented = rng.permutation(sorted(set(foreign) - set(own)))[: rng.integers(1, 3)]
    return repair_words(map(str, missing), map(str, invented))


def _in_order(used: list[Used], kitchen: Kitchen) -> tuple[Used, ...]:
    place = {item.name: n for n, item in enumerate(kitchen.items)}
    return tuple(sorted(used, key=lambda one: place[one.item.name]))


def _count(used: Iterable[Used]) -> int:
    return sum(one.item.is_ingredient for one in used)
