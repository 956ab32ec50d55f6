"""How well the next action is predicted: on real patients, fold by fold, and on simulated ones beside the best possible.

    SLAcc@k     the next action is among the first k; mean over samples
    VLAcc@k     mean over videos of the video's SLAcc@k
    Re-...@k    it, or the action after it, is among the first k; samples without one after it are left out

as Xu et al. 2025 (section 4.1) have them. Relaxed columns so have fewer samples: each has its N. Intervals resample
patients. Every sample of a real patient is predicted once, by what was fitted to its fold's training patients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.rows import Row, averaged
from loopwright.finetune.evaluate.surgery_baselines import (
    BASELINES,
    OF_PHASES,
    Array,
    Fit,
    History,
    Predictor,
    Training,
    history_of,
)
from loopwright.tools.surgery.bayes import KNOWN, Known, next_action
from loopwright.tools.surgery.dataset import read_samples
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import Moment, seeds_of, simulate
from loopwright.tools.surgery.splits import PARTS, SPLITS, patient_of, split_of
from loopwright.tools.surgery.vocabulary import ACTIONS

WHAT = "next action"
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

    The five patients by whom a fold chooses are neither trained nor tested on in it.

    Raises:
        BadInput: a fold's test leaves nobody to train on, or a patient is in no fold.
    """
    patients = {patient_of(sample.video) for sample in samples}
    folds = []
    for name in _FOLDS:
        split = split_of(name, patients)
        test = [sample for sample in samples if patient_of(sample.video) in split.test]
        training = [sample for sample in samples if patient_of(sample.video) in split.train]
        if test and not training:
            raise BadInput(f"{len(patients)} patients are too few: {name} as test leaves nobody to train on.")
        if test:
            folds.append(Fold(Training(name, training), test))
    if lost := patients - {patient_of(sample.video) for fold in folds for sample in fold.test}:
        raise BadInput(f"The patients {sorted(lost)} are in no official fold, so nobody can be tested on them.")
    return folds
