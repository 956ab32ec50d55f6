"""What a model of the next action has to beat: what usually follows what, and gradient boosting over the same history.

A predictor is given histories and never an answer, and is fitted on one fold's training patients. Another one is one
more entry of `BASELINES`, or of what `loopwright.finetune.evaluate.surgery.next_action` is given beside them. Knows no
model.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput, MissingDependency
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.samples import Sample
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, TARGETS, Action

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """What may be known when the next action is predicted: a sample without its answers."""

    video: str
    index: int
    actions: tuple[Action, ...]
    near: tuple[Clip, ...]


class Training(NamedTuple):
    """What a predictor may be fitted to: samples of a fold's training patients, and of those whom it chooses by."""

    fold: str
    samples: Sequence[Sample]
    choosing: Sequence[Sample]


Predictor = Callable[[Sequence[History]], Array]
"""Histories (n) -> (n, 5) P(next action), in the order of ACTIONS."""
Fit = Callable[[Training], Predictor]

_WEIGHT = 1.0
"""Imagined clips by which a context's counts are drawn towards those of the coarser context."""
_NEAR = 5
_CLIPPINGS = 2
_BOOSTING: dict[str, Any] = {
    "categorical_features": list(range(_NEAR)),
    "learning_rate": 0.05,
    "max_leaf_nodes": 8,
    "l2_regularization": 1.0,
    "max_iter": 500,
    "early_stopping": True,
    "n_iter_no_change": 20,
    "random_state": 0,
}


def history_of(sample: Sample) -> History:
    """The sample without its answers."""
    return History(sample.video, sample.index, sample.actions, sample.near)


def no_repeat(training: Training) -> Predictor:
    """How frequent each action is, whatever was before it; never the last one, which no merged clip repeats."""
    overall = _overall(training)

    def predict(histories: Sequence[History]) -> Array:
        last = np.array([ACTIONS.index(history.actions[-1]) for history in histories])
        odds = np.where(np.arange(len(ACTIONS)) == last[:, None], 0.0, overall)
        found: Array = odds / odds.sum(axis=1, keepdims=True)
        return found

    return predict


def frequencies(*contexts: Callable[[History], Hashable]) -> Fit:
    """How frequent each action is after a context; contexts are given from the coarsest to the finest."""

    def fit(training: Training) -> Predictor:
        tables: list[dict[Hashable, Array]] = []
        for context in contexts:
            counts: dict[Hashable, Array] = defaultdict(lambda: np.zeros(len(ACTIONS)))
            for sample in training.samples:
                counts[context(history_of(sample))][ACTIONS.index(sample.next)] += 1
            tables.append(dict(counts))
        overall, never = _overall(training), np.zeros(len(ACTIONS))

        def after(history: History) -> Array:
            odds = overall
            for context, table in zip(contexts, tables, strict=True):
                counts = table.get(context(history), never)
                odds = (counts + _WEIGHT * odds) / (counts.sum() + _WEIGHT)
            return odds

        return lambda histories: np.array([after(history) for history in histories])

    return fit


def boosting(features: Callable[[History], list[float]]) -> Fit:
    """Gradient-boosted trees over `features`, whose first are the last actions; as many as help those chosen by.

    Raises:
        MissingDependency: scikit-learn is not installed.
        BadInput: there is nothing to tell apart, or nothing to choose by.
    """

    def fit(training: Training) -> Predictor:
        try:
            from sklearn.ensemble import HistGradientBoostingClassifier
        except ImportError as error:
            raise MissingDependency("Boosting needs scikit-learn: `pip install 'loopwright[train]'`.") from error
        trees = HistGradientBoostingClassifier(**_BOOSTING)
        known = {ACTIONS.index(sample.next) for sample in training.samples}
        choosing = [sample for sample in training.choosing if ACTIONS.index(sample.next) in known]
        if len(known) < 2 or not choosing:
            raise BadInput(f"{training.fold}: boosting needs two next actions to tell apart, and samples to choose by.")
        chosen_x, chosen_y = _table(choosing, features)
        trees.fit(*_table(training.samples, features), X_val=chosen_x, y_val=chosen_y)

        classes = np.asarray(trees.classes_, dtype=np.intp)

        def predict(histories: Sequence[History]) -> Array:
            odds = np.zeros((len(histories), len(ACTIONS)))
            odds[:, classes] = trees.predict_proba(np.array([features(history) for history in histories]))
            return odds

        return predict

    return fit


def _table(samples: Sequence[Sample], features: Callable[[History], list[float]]) -> tuple[Array, NDArray[np.int64]]:
    """Features (n, k) and the number of the next action (n,)."""
    x = np.array([features(history_of(sample)) for sample in samples])
    return x, np.array([ACTIONS.index(sample.next) for sample in samples])


def past(history: History) -> list[float]:
    """The last five actions, their durations, how often each action came so far, and how many clips there were."""
    near = history.near[-_NEAR:]
    missing = [float("nan")] * (_NEAR - len(near))
    actions = [float(ACTIONS.index(clip.action)) for clip in near]
    counts = [float(history.actions.count(action)) for action in ACTIONS]
    return missing + actions + missing + [float(clip.duration_s) for clip in near] + [*counts, float(history.index)]


def past_and_seen(history: History) -> list[float]:
    """`past`, and for how much of the last clip each instrument was in view and each target was worked on."""
    last = history.near[-1]
    seen = [last.instruments.get(name, 0) for name in INSTRUMENTS] + [last.targets.get(name, 0) for name in TARGETS]
    return past(history) + [seconds / last.labelled_s for seconds in seen]


def _last(history: History) -> Hashable:
    return history.actions[-1]


def _last_two(history: History) -> Hashable:
    return history.actions[-2:]


def _stage_and_last_two(history: History) -> Hashable:
    """The stage as a past can tell it: how many vessels were clipped."""
    return min(history.actions.count("Vessel Clipping"), _CLIPPINGS), history.actions[-2:]


def _phase_and_last(history: History) -> Hashable:
    return history.near[-1].phase, history.actions[-1]


def _overall(training: Training) -> Array:
    """(5,) P(next), one imagined clip of each."""
    numbers = [ACTIONS.index(sample.next) for sample in training.samples]
    counts = np.bincount(numbers, minlength=len(ACTIONS)) + 1.0
    overall: Array = counts / counts.sum()
    return overall


BASELINES: Mapping[str, Fit] = {
    "no-repeat": no_repeat,
    "bigram": frequencies(_last),
    "trigram": frequencies(_last, _last_two),
    "stage-trigram": frequencies(_last, _last_two, _stage_and_last_two),
    "phase-bigram": frequencies(_last, _phase_and_last),
    "boosting": boosting(past),
    "boosting+seen": boosting(past_and_seen),
}
OF_PHASES = frozenset({"phase-bigram"})
"""Those that are nothing new where no phase is labelled."""
