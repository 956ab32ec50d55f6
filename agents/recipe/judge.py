"""Who judges predicted labels, and how sure it is of each: the scores that SCSR selects by (Liu et al., section 2.3).

A judge gives two sides: scores of the predictor's labels, and labels of its own with scores. `CountsJudge` knows how
often labels stand together in recipes, which whoever looks at one picture does not; `ModelJudge` is any model, which
looks at the picture again. Models that score closed sets are asked for the odds of every label at once.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from loopwright.agents.asker import Asker
from loopwright.agents.recipe.prompts import in_words, judge_messages, one_action_messages, one_ingredient_messages
from loopwright.agents.recipe.scsr import Scored
from loopwright.models.answers import JsonFormat, one_of
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.recipe.cooccurrence import Cooccurrence
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.vocabulary import Vocabulary

JUDGE = "judge"
LabelSet = Literal["actions", "ingredients"]
SETS: tuple[LabelSet, ...] = ("actions", "ingredients")
PLAUSIBLE = 0.1
"""A judge's own labels are those that it takes to be there with at least so much."""
MOST_JUDGED = 40
_ASK_ONE = {"actions": one_action_messages, "ingredients": one_ingredient_messages}


class Prediction(Frozen):
    """What a predictor says of one set: its labels, the surest first, and how probable it takes every label to be.

    `odds` are probabilities that the dish has a label; {} where the predictor gives none. `is_familiar`: the picture
    is like those that the predictor learnt from; None where it cannot tell.
    """

    labels: tuple[str, ...] = Field(default=(), max_length=100)
    odds: dict[str, float] = Field(default={})
    think: str = ""
    is_familiar: bool | None = None


class Judged(NamedTuple):
    """Both sides that SCSR selects from."""

    initial: tuple[Scored, ...]
    rectified: tuple[Scored, ...]


class Judge(Protocol):
    """Scores the predicted labels of one set."""

    def scores(self, what: LabelSet, said: Mapping[LabelSet, Prediction], image: ImageRef | None, ask: Asker) -> Judged:
        """The predictor's labels with scores, and the judge's own."""
        ...


class CountsJudge:
    """Odds of the picture, times how well a label goes with the others, as counted in recipes.

    `weight` is how much the counts say beside the picture: each other label's lift counts with it, averaged.
    """

    def __init__(self, counts: Cooccurrence, weight: float = 1.0) -> None:
        self._counts, self._weight = counts, weight

    def scores(self, what: LabelSet, said: Mapping[LabelSet, Prediction], image: ImageRef | None, ask: Asker) -> Judged:
        """See `Judge`."""
        own = said[what]
        others = {
            (kind, label): max(0.0, min(1.0, said[kind].odds.get(label, 0.8)))
            for kind in SETS
            for label in said[kind].labels
        }
        sure = {label: self._sure(what, label, own, others) for label in (*own.labels, *own.odds)}
        initial = tuple(Scored(label, sure[label]) for label in own.labels)
        return Judged(initial, plausible(sure))

    def _sure(self, what: LabelSet, label: str, own: Prediction, others: Mapping[tuple[LabelSet, str], float]) -> float:
        seen = own.odds.get(label, 0.5 if label in own.labels else PLAUSIBLE)
        lift = self._counts.lift((what, label), others)
        return logistic(logit(seen) + self._weight * lift)


class JudgedLabel(Frozen):
    """A label and how sure the judge is of it."""

    label: str = Field(max_length=80)
    confidence: int = Field(ge=0, le=100, description="how sure, percent")


class JudgeAnswer(Frozen):
    """What a judge that cannot score says: of each label that it was shown, and its own list."""

    shown: tuple[JudgedLabel, ...] = Field(max_length=MOST_JUDGED, description="each label that was shown")
    own: tuple[JudgedLabel, ...] = Field(max_length=MOST_JUDGED, description="what the picture shows, in your own view")


class ModelJudge:
    """A model that looks at the picture again; whoever can score closed sets is asked for all odds at once."""

    def __init__(self, known: Vocabularies) -> None:
        self._known = known

    def scores(self, what: LabelSet, said: Mapping[LabelSet, Prediction], image: ImageRef | None, ask: Asker) -> Judged:
        """See `Judge`."""
        labels = said[what].labels
        if ask.can_score(JUDGE):
            sure = label_odds(what, image, getattr(self._known, what), len(labels), JUDGE, ask)
            return Judged(tuple(Scored(label, sure.get(label, 0.0)) for label in labels), plausible(sure))
        answer: JudgeAnswer = ask.ask(
            JUDGE, judge_messages(image, what, labels), JsonFormat(JudgeAnswer), may_fail=True
        )
        shown = self._read(what, answer.shown)
        return Judged(
            tuple(Scored(label, shown.get(label, 0.0)) for label in labels),
            tuple(Scored(*one) for one in self._read(what, answer.own).items()),
        )

    def _read(self, what: LabelSet, said: Sequence[JudgedLabel]) -> dict[str, float]:
        """What is known of it; a label that nobody knows is left out."""
        words = {in_words(name): name for name in getattr(self._known, what).classes}
        found: dict[str, float] = {}
        for one in said:
            if (name := words.get(in_words(one.label.strip().lower()))) is not None:
                found[name] = max(one.confidence / 100, found.get(name, 0.0))
        return found


def label_odds(
    what: LabelSet, image: ImageRef | None, known: Vocabulary, expected: int, role: str, ask: Asker
) -> dict[str, float]:
    """How probable a model that scores takes each label to be in the dish, from one pass over all of them.

    It says how probable it is to name a label, were it to name one; of `expected` labels each is named alike.
    """
    words = [in_words(name) for name in known.classes]
    odds = ask.score(role, _ASK_ONE[what](image), words, one_of(words))
    return {name: min(0.99, max(1, expected) * odds[in_words(name)]) for name in known.classes}


def plausible(sure: Mapping[str, float]) -> tuple[Scored, ...]:
    """The labels that are there with `PLAUSIBLE` or more, the surest first."""
    found = sorted(sure, key=lambda label: (-sure[label], label))
    return tuple(Scored(label, sure[label]) for label in found if sure[label] >= PLAUSIBLE)[:MOST_JUDGED]


def logit(p: float) -> float:
    """Log odds, of a probability kept off 0 and 1."""
    p = min(0.999, max(0.001, p))
    return log(p / (1 - p))


def logistic(x: float) -> float:
    """Its inverse."""
    return 1 / (1 + exp(-x))
