"""Dishes under evaluation, and who says what is in them: models as the loop asks them, the network, and trivial ones.

Every predictor gives a `Prediction` of either set for each dish, in order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from loopwright.agents.recipe.judge import SETS, LabelSet, Prediction
from loopwright.agents.recipe.predictor import predict_by_model
from loopwright.agents.role import ScoresChoices, ask, choose
from loopwright.errors import NoAnswer, OperatorError
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.recipe.figures import COUNTED, label_counts
from loopwright.models.answers import AnswerFormat
from loopwright.models.networks.recipe import DishRecogniser
from loopwright.schema import ImageRef
from loopwright.tools.recipe.dish import Dish, SimulatedDish
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.kitchen.plan import Part, seeds_of

IN_FLIGHT = 16
"""Questions under way at a time: as many as an engine draws together."""
CHOSEN_BY = 200
"""Validation dishes by which the exact posterior's threshold is chosen."""
Said = Mapping[LabelSet, Prediction]
Progress = Callable[[str], None]
T = TypeVar("T")
R = TypeVar("R")


class Case(NamedTuple):
    """A dish and the reference to its picture; None where it has none."""

    dish: Dish
    image: ImageRef | None

    @property
    def name(self) -> str:
        """For clusters."""
        return self.dish.name

    def true(self, what: LabelSet) -> frozenset[str]:
        """Its labels."""
        labels: frozenset[str] = getattr(self.dish.labels, what)
        return labels


def simulated_cases(part: Part, count: int, store: PngStore) -> list[Case]:
    """The first dishes of a part, with their pictures in `store`."""
    dishes = map(SimulatedDish, seeds_of(part, count))
    return [Case(dish, store.add(dish.image(SIZE_PX))) for dish in dishes]


class Roles:
    """An `Asker` without a session: models by role, nothing on record. `failed` counts what could not be read."""

    def __init__(self, models: Mapping[str, BaseChatModel], store: PngStore) -> None:
        self._models, self._store = models, store
        self.asked = self.strict = self.failed = 0

    def ask(self, role: str, prompt: Sequence[BaseMessage], answer: AnswerFormat[T], /, *, may_fail: bool = False) -> T:
        """See `Asker`."""
        self.asked += 1
        try:
            reply = ask(self._models[role], list(prompt), answer, images=self._store)
        except OperatorError as error:
            if type(error) is not OperatorError:
                raise
            self.failed += 1
            raise NoAnswer(str(error)) from error
        self.strict += reply.is_exact and reply.attempts == 1
        return reply.value

    def score(
        self, role: str, prompt: Sequence[BaseMessage], choices: Sequence[str], answer: AnswerFormat[str], /
    ) -> dict[str, float]:
        """See `Asker`."""
        return choose(self._models[role], prompt, choices, answer, images=self._store).probabilities

    def can_score(self, role: str) -> bool:
        """See `Asker`."""
        return isinstance(self._models[role], ScoresChoices)

    def external(self, kind: str, produce: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """See `Asker`."""
        return produce()

    def map(self, function: "Callable[[T, Roles], R]", items: Iterable[T]) -> list[R]:
        """See `Asker`."""
        return [function(item, self) for item in items]

    @property
    def formats(self) -> dict[str, float]:
        """Share of answers that kept their form at once, and how many could not be read."""
        return {"strict_format": self.strict / max(1, self.asked), "unread": float(self.failed)}


def all_at_once(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`function` of each, in order, many under way together, so that an engine draws their replies together."""
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        return list(threads.map(function, items))


def by_model(cases: Sequence[Case], asker: Roles, *, scored: bool = False) -> list[Said]:
    """The model in the role `predictor`; with the odds of every label if `scored`."""

    def one(question: tuple[Case, LabelSet]) -> Prediction:
        case, what = question
        return predict_by_model(what, case.image, getattr(case.dish.known, what), asker, scored=scored)

    found = iter(all_at_once(one, [(case, what) for case in cases for what in SETS]))
    return [{what: next(found) for what in SETS} for _ in cases]


def by_network(cases: Sequence[Case], network: DishRecogniser, *, turned: bool = False) -> list[Said]:
    """The dish network, on simulated dishes; `turned`: on turned views of the picture."""
    seen = (network.recognise(_pixels(case), turned=turned) for case in cases)
    return [{what: Prediction(labels=one[what].labels, odds=one[what].odds) for what in SETS} for one in seen]


def by_frequency(cases: Sequence[Case]) -> list[Said]:
    """The same labels for every dish: the most frequent ones of training, as many as pay there."""
    said: Said = {what: Prediction(labels=frequent(label_counts()[what], COUNTED)) for what in SETS}
    return [said for _ in cases]


def by_posterior(cases: Sequence[Case]) -> list[Said]:
    """The best that anybody can do: the exact posterior, its threshold chosen on validation dishes."""
    return [_of_posterior(case.dish, posterior_thresholds()) for case in cases]


def frequent(counts: Mapping[str, int], dishes: int) -> tuple[str, ...]:
    """The k most frequent labels of so many dishes, with the k of the best micro F1 there."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    hits = np.cumsum([counts[name] for name in names])
    sizes = np.arange(1, len(names) + 1)
    return tuple(names[: int(np.argmax(2 * hits / (sizes * dishes + hits[-1]))) + 1])


@cache
def posterior_thresholds() -> dict[LabelSet, float]:
    """Of the best micro F1 of the exact posterior on validation dishes."""
    dishes = [SimulatedDish(seed) for seed in seeds_of("validation", CHOSEN_BY)]
    posteriors = [dish.posterior() for dish in dishes]
    found: dict[LabelSet, float] = {}
    for what in SETS:
        odds = np.array([list(getattr(p, what).values()) for p in posteriors])
        true = np.array(
            [
                [name in getattr(d.labels, what) for name in getattr(p, what)]
                for d, p in zip(dishes, posteriors, strict=True)
            ]
        )

        def score(threshold: float, odds: Any = odds, true: Any = true) -> float:
            said = odds >= threshold
            return float(2 * (said & true).sum() / max(1, said.sum() + true.sum()))

        found[what] = max(map(float, np.arange(0.2, 0.7, 0.02)), key=score)
    return found


def _of_posterior(dish: Dish, thresholds: Mapping[LabelSet, float]) -> Said:
    posterior = dish.posterior()
    assert posterior is not None, "only simulated dishes have one"
    said = {}
    for what in SETS:
        odds = getattr(posterior, what)
        labels = sorted((n for n in odds if odds[n] >= thresholds[what]), key=lambda n: (-odds[n], n))
        said[what] = Prediction(labels=tuple(labels), odds=odds)
    return said


def _pixels(case: Case) -> Any:
    image = case.dish.image(SIZE_PX)
    assert image is not None, "the network is asked of drawn dishes alone"
    return image
