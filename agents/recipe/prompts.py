"""What the recipe loop's models are asked: what was done to a dish, what is in it, and how it is made.

After Liu et al. (sections 2.1, 2.2 and 2.4). Each function returns all messages that precede the answer, for
inference and for training rows alike. Names of labels are said in words: `olive_oil` is "olive oil".
"""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from loopwright.models.images import image_block
from loopwright.schema import ImageRef

ACTIONS = (
    "Which cooking actions made this dish? Answer as <think>what is to be seen</think><answer>action, action</answer>."
)
INGREDIENTS = "Which ingredients are in this dish? Answer as Ingredients: name, name."
ONE_ACTION = "Name one cooking action of this dish."
ONE_INGREDIENT = "Name one ingredient of this dish."
WRITE = "Can you provide the preparation instructions for this image?"


def actions_messages(image: ImageRef | None) -> list[BaseMessage]:
    """Ask which actions made a dish; the answer is in `formats.actions_form`."""
    return [_shown(image, ACTIONS)]


def ingredients_messages(image: ImageRef | None) -> list[BaseMessage]:
    """Ask what is in a dish; the answer is in `formats.ingredients_form`."""
    return [_shown(image, INGREDIENTS)]


def one_action_messages(image: ImageRef | None) -> list[BaseMessage]:
    """Ask for one action, scored over all that there are."""
    return [_shown(image, ONE_ACTION)]


def one_ingredient_messages(image: ImageRef | None) -> list[BaseMessage]:
    """Ask for one ingredient, scored over all that there are."""
    return [_shown(image, ONE_INGREDIENT)]


def instructions_messages(
    image: ImageRef | None, actions: Sequence[str] = (), ingredients: Sequence[str] = (), repair: str = ""
) -> list[BaseMessage]:
    """Ask for instructions, in `formats.INSTRUCTIONS`; the paper's context prompt (section 2.4).

    Args:
        image: of the dish, None where there is none.
        actions: of the context; with neither these nor `ingredients` nothing is said of one, as the paper's baseline.
        ingredients: of the context.
        repair: what was wrong with an earlier draft, if anything.
    """
    text = f"{context(actions, ingredients)} {WRITE}" if actions or ingredients else WRITE
    return [_shown(image, f"{text} {repair}".rstrip())]


def repair_words(missing: Iterable[str], invented: Iterable[str]) -> str:
    """What is wrong with a draft, as its writer is told: labels that it lacks, and labels that it has on its own."""
    lacks, has = said(missing), said(invented)
    return " ".join(filter(None, (f"Do mention {lacks}." if lacks else "", f"Leave out {has}." if has else "")))


def judge_messages(image: ImageRef | None, what: str, labels: Sequence[str]) -> list[BaseMessage]:
    """Ask how sure a judge is of each predicted label, and for its own list."""
    listed = said(labels) or "none"
    text = (
        f"These {what} of the dish in the picture were predicted: {listed}. How sure are you of each, in percent? Then "
        f"list the {what} that you see yourself, and how sure you are of each."
    )
    return [_shown(image, text)]


def context(actions: Iterable[str], ingredients: Iterable[str]) -> str:
    """Labels as the generator is told them."""
    return f"Here are the cooking actions: [{said(actions)}]. The ingredients are [{said(ingredients)}]."


def said(labels: Iterable[str]) -> str:
    """Labels in words, with commas between."""
    return ", ".join(map(in_words, labels))


def in_words(label: str) -> str:
    """A label as people write it."""
    return label.replace("_", " ")


def _shown(image: ImageRef | None, text: str) -> HumanMessage:
    """A picture, and then text; text alone is what any model takes."""
    if image is None:
        return HumanMessage(text)
    blocks: list[str | dict[str, Any]] = [image_block(image), {"type": "text", "text": text}]
    return HumanMessage(content=blocks)
