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
COUNTS_WEIGHT = 0.3
"""Set by hand on simulated dishes; see `docs/recipe.md` for what comes of it."""
SEEN, UNSEEN = 0.3, 0.5
"""From which odds on a label speaks for others, and those of a predicted label of which nobody gives any."""
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
    """Both sides that SCSR selects from, and the score of every label that has one."""

    initial: tuple[Scored, ...]
    rectified: tuple[Scored, ...]
    all: tuple[Scored, ...] = ()


class Judge(Protocol):
    """Scores the predicted labels of one set."""

    def scores(self, what: LabelSet, said: Mapping[LabelSet, Prediction], image: ImageRef | None, ask: Asker) -> Judged:
        """The predictor's labels with scores, and the judge's own."""
        ...


class CountsJudge:
    """What a second look at the picture says of each label, and how well the label goes with the others in recipes.

    `seen` are the second look's odds, {} where there is none: then the predictor's own count. `weight` is how much the
    counts say beside it: the mean lift of the labels that are seen, each by how surely it is.
    """

    def __init__(
        self, counts: Cooccurrence, seen: Mapping[LabelSet, Mapping[str, float]], weight: float = COUNTS_WEIGHT
    ) -> None:
        self._counts, self._seen, self._weight = counts, seen, weight

    def scores(self, what: LabelSet, said: Mapping[LabelSet, Prediction], image: ImageRef | None, ask: Asker) -> Judged:
        """See `Judge`."""
        odds = {kind: self._odds(kind, said[kind]) for kind in SETS}
        others: dict[tuple[str, str], float] = {
            (kind, label): p for kind in SETS for label, p in odds[kind].items() if p >= SEEN
        }
        sure = {label: self._sure((what, label), p, others) for label, p in odds[what].items()}
        initial = tuple(Scored(label, sure[label]) for label in said[what].labels)
        return Judged(initial, plausible(sure), tuple(Scored(*one) for one in sure.items()))

    def _odds(self, what: LabelSet, said: Prediction) -> dict[str, float]:
        """Of every label that was looked for, or that was predicted."""
        looked: Mapping[str, float] = self._seen.get(what) or said.odds
        return {**dict.fromkeys(said.labels, UNSEEN), **looked}

    def _sure(self, label: tuple[str, str], seen: float, others: Mapping[tuple[str, str], float]) -> float:
        return logistic(logit(seen) + self._weight * self._counts.lift(label, others))


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
            initial = tuple(Scored(label, sure.get(label, 0.0)) for label in labels)
            return Judged(initial, plausible(sure), tuple(Scored(*one) for one in sure.items()))
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
