"""A model that says what was done to a dish and what is in it: its answer, and its odds of every label."""

from loopwright.agents.asker import Asker
from loopwright.agents.recipe.formats import actions_form, ingredients_form
from loopwright.agents.recipe.judge import LabelSet, Prediction, label_odds
from loopwright.agents.recipe.prompts import actions_messages, ingredients_messages
from loopwright.errors import NoAnswer
from loopwright.schema import ImageRef
from loopwright.tools.recipe.vocabulary import Vocabulary

PREDICTOR = "predictor"


def predict_by_model(
    what: LabelSet, image: ImageRef | None, known: Vocabulary, ask: Asker, *, scored: bool = True
) -> Prediction:
    """What the model in the role `predictor` answers; the odds too, where it can score them and `scored`. No answer
    names nothing.
    """
    names, think = known.classes, ""
    try:
        if what == "actions":
            answer = ask.ask(PREDICTOR, actions_messages(image), actions_form(names), may_fail=True)
            labels, think = answer.actions, answer.think
        else:
            labels = ask.ask(PREDICTOR, ingredients_messages(image), ingredients_form(names), may_fail=True)
    except NoAnswer:
        return Prediction()
    odds: dict[str, float] = {}
    if scored and ask.can_score(PREDICTOR):
        odds = label_odds(what, image, known, len(labels), PREDICTOR, ask)
    return Prediction(labels=labels, odds={name: round(p, 4) for name, p in odds.items()}, think=think)
