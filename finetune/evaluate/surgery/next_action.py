"""How well the next action is predicted: on real patients, fold by fold, and on simulated ones beside Bayes'.

    SLAcc@k     the next action is among the first k; mean over samples
    VLAcc@k     mean over videos of the video's SLAcc@k
    Re-...@k    it, or the action after it, is among the first k; samples without one after it are left out

as Xu et al. 2025 (section 3) have them. Relaxed columns so have fewer samples: each has its N. Intervals resample
patients. Every sample of a real patient is predicted once, by what was fitted to its fold's training patients, and
`difference` rows pair a predictor with each of `REFERENCES`, sample by sample.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.surgery.baselines import (
    BASELINES,
    OF_PHASES,
    Array,
    Fit,
    History,
    Predictor,
    Training,
    history_of,
)
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.tools.surgery.bayes import KNOWN, Known, next_action
from loopwright.tools.surgery.dataset import read_samples
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import Moment, seeds_of, simulate
from loopwright.tools.surgery.splits import PARTS, SPLITS, patient_of, split_of
from loopwright.tools.surgery.vocabulary import ACTIONS

WHAT = "next action"
DIFFERENCE = "difference"
BEST = "bayes history+frame"
REFERENCES = ("stage-trigram", "boosting+seen", BEST)
TOP = (1, 2, 3)
_FOLDS = tuple(name for name in SPLITS if name.startswith("fold"))


class Fold(NamedTuple):
    """The samples of an official fold that is the test, and what may be fitted to."""

    training: Training
    test: Sequence[Sample]


def read_all_samples(folder: Path) -> list[Sample]:
    """Every sample of a folder that `loopwright data build surgery` built, whatever its split.

    Raises:
        BadInput: it was not built, or has no sample.
    """
    samples = [sample for part in PARTS for sample in read_samples(folder / f"{part}.jsonl")]
    if not samples:
        raise BadInput(f"`{folder}` has no sample; build it from videos with two clips or more.")
    return samples


def folds_of(samples: Sequence[Sample]) -> list[Fold]:
    """Each official fold in turn as the test, among the patients there are; a fold without any is left out.

    Raises:
        BadInput: a fold leaves nobody to train on or to choose by, or a patient is in no fold.
    """
    patients = {patient_of(sample.video) for sample in samples}
    folds = []
    for name in _FOLDS:
        split = split_of(name, patients)
        of = {part: [s for s in samples if split.part_of(patient_of(s.video)) == part] for part in PARTS}
        if of["test"] and not (of["train"] and of["validation"]):
            raise BadInput(f"{len(patients)} patients are too few: {name} as test leaves nobody to train on.")
        if of["test"]:
            folds.append(Fold(Training(name, of["train"], of["validation"]), of["test"]))
    if lost := patients - {patient_of(sample.video) for fold in folds for sample in fold.test}:
        raise BadInput(f"The patients {sorted(lost)} are in no official fold, so nobody can be tested on them.")
    return folds


def evaluate_recorded(
    samples: Sequence[Sample],
    fits: Mapping[str, Fit] = BASELINES,
    *,
    world: str = "recorded",
    only: Callable[[Sample], bool] | None = None,
    references: Sequence[str] = REFERENCES,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows of each predictor over all folds, and of their differences to the references.

    Args:
        samples: of real patients, whatever part they were built for.
        fits: predictors by their names.
        world: what the rows call it.
        only: which samples are tested on; None: all. Predictors are fitted to all of the training patients.
        references: predictors that the others are paired with.
        on_progress: called with a line for each fold and predictor.

    Raises:
        BadInput: see `folds_of`; or no sample is left to test on.
    """
    folds = folds_of(samples)
    if only is not None:
        folds = [fold._replace(test=list(filter(only, fold.test))) for fold in folds]
        folds = [fold for fold in folds if fold.test]
    if not folds:
        raise BadInput("No sample is left to test on: none of the clips has what is asked for.")
    return _rows(world, folds, _that_apply(fits, samples), {}, references, on_progress)


def evaluate_simulated(
    procedure: Procedure,
    patients: int,
    fits: Mapping[str, Fit] = BASELINES,
    *,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows on simulated test patients: predictors fitted to as many training patients, and the best possible.

    `of_bayes1` is the share of the top-1 hits that `BEST` has on the same samples. `bayes ...` rows are those of
    `loopwright.tools.surgery.bayes`; their `expected1` to `expected3` are over what may
    come next at these moments, with less noise than the hits.
    """
    fold, tested = simulated_fold(procedure, patients)
    best = {f"bayes {known}": best_predictor(procedure, known, tested) for known in KNOWN}
    rows = _rows("simulated", [fold], _that_apply(fits, fold.test), best, REFERENCES, on_progress)
    most = next(row.figures["slacc1"] for row in rows if row.model == BEST)
    return [row.model_copy(update={"figures": row.figures | _of_best(row, most)}) for row in rows]


def simulated_fold(procedure: Procedure, patients: int) -> tuple[Fold, list[list[Moment]]]:
    """Simulated patients, so many of each part, and the tested ones' moments."""
    of = {part: [list(simulate(procedure, seed)) for seed in seeds_of(part, patients)] for part in PARTS}
    samples = {part: [sample for moments in runs for sample in _samples(moments)] for part, runs in of.items()}
    return Fold(Training("simulated", samples["train"], samples["validation"]), samples["test"]), of["test"]


def scored(world: str, model: str, samples: Sequence[Sample], odds: Array) -> Row:
    """The row of predictions `odds` (n, 5), the larger the likelier; `n_relaxed` samples have an action after next."""
    videos = [sample.video for sample in samples]
    hits = _hits(samples, odds)
    row = averaged(WHAT, world, model, "", dict(hits), videos)
    names, member = np.unique(videos, return_inverse=True)
    by_video = {name.replace("slacc", "vlacc"): _means(values, member) for name, values in hits.items()}
    of_videos = averaged(WHAT, world, model, "", dict(by_video), list(names))
    counted = {
        "n_relaxed": float(np.isfinite(hits["re_slacc1"]).sum()),
        "n_cases_relaxed": float(np.isfinite(by_video["re_vlacc1"]).sum()),
    }
    figures = row.figures | of_videos.figures | counted
    return row.model_copy(update={"figures": figures, "intervals": row.intervals | of_videos.intervals})


def headline(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For the summary: each world's predictors with their top-1 accuracy and N, the best first."""
    ranked = sorted((row for row in rows if row.what == WHAT), key=lambda row: (row.world, -row.figures["slacc1"]))
    return [{"world": r.world, "model": r.model, "slacc1": round(r.figures["slacc1"], 4), "n": r.n} for r in ranked]


def _rows(
    world: str,
    folds: Sequence[Fold],
    fits: Mapping[str, Fit],
    fitted: Mapping[str, Predictor],
    references: Sequence[str],
    on_progress: Callable[[str], object],
) -> list[Row]:
    """Rows of what is fitted to each fold, of what is `fitted` already, and of the differences."""
    samples = [sample for fold in folds for sample in fold.test]
    # All folds are fitted before the first is predicted: an adapter that is missing is found in time.
    of_folds = {name: [fit(fold.training) for fold in folds] for name, fit in fits.items()}
    odds = {}
    for name, predictors in of_folds.items():
        on_progress(f"{world}: {name}")
        predicted = (p(list(map(history_of, fold.test))) for p, fold in zip(predictors, folds, strict=True))
        odds[name] = np.concatenate(list(predicted))
    rows = [scored(world, name, samples, of_model) for name, of_model in odds.items()]
    for name, predict in fitted.items():
        on_progress(f"{world}: {name}")
        odds[name] = predict(list(map(history_of, samples)))
        row = scored(world, name, samples, odds[name])
        rows.append(row.model_copy(update={"figures": row.figures | _expected(odds[name])}))
    return rows + [
        difference_of(DIFFERENCE, world, name, f"minus {reference}", samples, (odds[name], odds[reference]))
        for reference in references
        for name in odds
        if reference in odds and name != reference
    ]


def difference_of(
    what: str, world: str, model: str, variant: str, samples: Sequence[Sample], odds: tuple[Array, Array]
) -> Row:
    """How much more often the first of two predictions is right than the second, on the same samples."""
    ours, theirs = (_hits(samples, of_model) for of_model in odds)
    values: dict[str, ArrayLike] = {f"slacc{k}": ours[f"slacc{k}"] - theirs[f"slacc{k}"] for k in TOP}
    return averaged(what, world, model, variant, values, [sample.video for sample in samples])


def _that_apply(fits: Mapping[str, Fit], samples: Sequence[Sample]) -> dict[str, Fit]:
    has_phases = any(sample.near[-1].phase for sample in samples)
    return {name: fit for name, fit in fits.items() if has_phases or name not in OF_PHASES}


def _hits(samples: Sequence[Sample], odds: Array) -> dict[str, Array]:
    """(n,) 1 or 0 by figure; NaN in the relaxed ones of a sample that has no action after the next."""
    ranked = np.argsort(-odds, axis=1, kind="stable")
    following = np.array([ACTIONS.index(sample.next) for sample in samples])
    later = np.array([-1 if s.after_next is None else ACTIONS.index(s.after_next) for s in samples])
    hits: dict[str, Array] = {}
    for k in TOP:
        exact = (ranked[:, :k] == following[:, None]).any(axis=1)
        either = exact | (ranked[:, :k] == later[:, None]).any(axis=1)
        hits[f"slacc{k}"] = exact.astype(np.float64)
        hits[f"re_slacc{k}"] = np.where(later < 0, np.nan, either)
    return hits


def _means(values: Array, member: NDArray[np.intp]) -> Array:
    """Each group's mean of its values (n,) that are no NaN; NaN where it has none."""
    there = np.isfinite(values)
    counts = np.bincount(member, weights=there)
    sums = np.bincount(member, weights=np.where(there, values, 0.0))
    means: Array = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def _of_best(row: Row, most: float) -> dict[str, float]:
    """The share of what the best predictor gets right."""
    return {"of_bayes1": row.figures["slacc1"] / most} if row.what == WHAT else {}


def _expected(odds: Array) -> dict[str, float]:
    """Of exact odds: how often the first k will be right."""
    top = (-np.sort(-odds, axis=1)).cumsum(axis=1).mean(axis=0)
    return {f"expected{k}": float(top[k - 1]) for k in TOP}


def _samples(moments: Sequence[Moment]) -> Iterator[Sample]:
    return samples_of([moment.clip for moment in moments], HistoryRules())


def best_predictor(procedure: Procedure, known: Known, patients: Sequence[Sequence[Moment]]) -> Predictor:
    """The best predictor, which knows the procedure, and of these patients what `known` says."""
    moments = {moment.clip.video: list(run) for run in patients for moment in run[:1]}

    def predict(histories: Sequence[History]) -> Array:
        odds = [next_action(procedure, known, h.actions, moments[h.video][h.index]) for h in histories]
        return np.array([[of_moment[action] for action in ACTIONS] for of_moment in odds])

    return predict
