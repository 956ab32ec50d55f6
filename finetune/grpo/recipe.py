"""What a prediction of a dish's labels earns: the recipe paper's F1 and word-level rewards over the simulator's labels.

`ACTIONS` and `INGREDIENTS` are the forms that the recipe loop asks for, over the bundled kitchen's vocabularies.
"""

from collections import Counter
from functools import cache
from typing import Literal

from loopwright.agents.recipe.formats import TEMPLATE, actions_form, ingredients_form
from loopwright.agents.recipe.prompts import in_words
from loopwright.finetune.grpo.episode import Episode
from loopwright.finetune.grpo.rewards import ANSWER, f1_reward, word_reward
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import kitchen_vocabularies
from loopwright.tools.recipe.kitchen.plan import seeds_of
from loopwright.tools.recipe.labels import Band, BandRules, bands

LabelSet = Literal["actions", "ingredients"]
LISTED: dict[LabelSet, str] = {"actions": ANSWER, "ingredients": f"^{TEMPLATE}(.*)"}
"""Where each answer has its labels."""
COUNTED = 2000
"""Training dishes by which labels are called rare."""

ACTIONS = actions_form(kitchen_vocabularies().actions.classes)
INGREDIENTS = ingredients_form(kitchen_vocabularies().ingredients.classes)


def label_f1(episode: Episode, *, labels: LabelSet) -> list[float]:
    """F1 of the sample's labels."""
    return f1_reward(episode, answer=LISTED[labels])


def label_word(episode: Episode, *, labels: LabelSet, head_share: float = 0.6, tail_share: float = 0.1) -> list[float]:
    """The word-level reward. The shares are those of `BandRules`: the paper does not publish its cut-offs."""
    return word_reward(episode, bands=_bands(labels, head_share, tail_share), answer=LISTED[labels])


REWARDS = {"label_f1": label_f1, "label_word": label_word}


@cache
def _bands(labels: LabelSet, head_share: float, tail_share: float) -> dict[str, Band]:
    """By how often the training dishes have them."""
    counts = Counter[str](dict.fromkeys(getattr(kitchen_vocabularies(), labels).classes, 0))
    for seed in seeds_of("train", COUNTED):
        counts.update(getattr(SimulatedDish(seed).labels, labels))
    rules = BandRules(head_share=head_share, tail_share=tail_share)
    return {in_words(name): band for name, band in bands(counts, rules).items()}
