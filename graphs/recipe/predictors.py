"""Who says what was done to a dish and what is in it: a model that is asked, or a small network that looks."""

from typing import Any

from loopwright.agents.recipe.formats import actions_form, ingredients_form
from loopwright.agents.recipe.judge import LabelSet, Prediction, label_odds
from loopwright.agents.recipe.prompts import actions_messages, ingredients_messages
from loopwright.graphs.loop.context import Context
from loopwright.graphs.recipe.run import PREDICTOR
from loopwright.schema import ImageRef
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.vocabulary import Vocabulary


def predict(what: LabelSet, image: ImageRef, ctx: Context) -> Prediction:
    """The labels of one set that the run's predictor sees, with odds where it has any."""
    return _asked(what, image, ctx)


def known_of(ctx: Context) -> Vocabularies:
    """The labels that the run's dish may have."""
    return Vocabularies(*(Vocabulary.model_validate(ctx.prepared["known"][what]) for what in Vocabularies._fields))


def _asked(what: LabelSet, image: ImageRef, ctx: Context) -> Prediction:
    """A model's answer, and the odds that it gives all labels where it can score them."""
    known: Vocabulary = getattr(known_of(ctx), what)
    names = known.classes
    think = ""
    if what == "actions":
        answer = ctx.ask(PREDICTOR, actions_messages(image), actions_form(names))
        labels, think = answer.actions, answer.think
    else:
        labels = ctx.ask(PREDICTOR, ingredients_messages(image), ingredients_form(names))
    odds: dict[str, Any] = {}
    if ctx.can_score(PREDICTOR):
        odds = label_odds(what, image, known, len(labels), PREDICTOR, ctx)
    return Prediction(labels=labels, odds={name: round(p, 4) for name, p in odds.items()}, think=think)
