"""Which patient is for what: the Rendezvous split and the official folds of CholecT45 and CholecT50.

A video is a patient, and a patient has one part: a split that would put one on two sides cannot be made. Sources:
Nwoye et al. 2022 (Rendezvous) and Nwoye and Padoy 2022, "Data splits and metrics for benchmarking methods on surgical
action triplet datasets".
"""

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Literal, Self, get_args

from pydantic import model_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Frozen

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)

_RENDEZVOUS: Mapping[Part, tuple[int, ...]] = {
    "train": (
        *(1, 15, 26, 40, 52, 65, 79, 2, 18, 27, 43, 56, 66, 92, 4, 22, 31, 47),
        *(57, 68, 96, 5, 23, 35, 48, 60, 70, 103, 13, 25, 36, 49, 62, 75, 110),
    ),
    "validation": (8, 12, 29, 50, 78),
    "test": (6, 51, 10, 73, 14, 74, 32, 80, 42, 111),
}
_FOLDS = (
    (79, 2, 51, 6, 25, 14, 66, 23, 50, 111),
    (80, 32, 5, 15, 40, 47, 26, 48, 70, 96),
    (31, 57, 36, 18, 52, 68, 10, 8, 73, 103),
    (42, 29, 60, 27, 65, 75, 22, 49, 12, 110),
    (78, 43, 62, 35, 74, 1, 56, 4, 13, 92),
)
"""Of CholecT50; those of CholecT45 are the same without their last one."""
_CHOLECT45 = frozenset(patient for fold in _FOLDS for patient in fold[:-1])
_FOLD_VALIDATION = 5
SPLITS = ("rendezvous", *(f"fold{k}" for k in range(1, len(_FOLDS) + 1)), "all")


class Split(Frozen):
    """Patients by their part."""

    name: str
    train: frozenset[int]
    validation: frozenset[int] = frozenset()
    test: frozenset[int] = frozenset()

    @model_validator(mode="after")
    def _nobody_is_on_two_sides(self) -> Self:
        sides = (self.train, self.validation, self.test)
        twice = {patient for side in sides for patient in side if sum(patient in other for other in sides) > 1}
        if twice:
            raise ValueError(f"the patients {sorted(twice)} are in more than one part of the split {self.name!r}")
        return self

    def part_of(self, patient: int) -> Part | None:
        """The patient's part; None where the split does not know the patient."""
        return next((part for part in PARTS if patient in getattr(self, part)), None)


def split_of(name: str, patients: Collection[int] | None = None) -> Split:
    """A split by its name: `rendezvous`, `fold1` to `fold5` (that fold is the test), or `all` (everybody to train on).

    A fold chooses by the last five of its training patients, as the data set's loader does, taken among `patients`.

    Args:
        name: one of `SPLITS`.
        patients: those whose videos there are; None is everybody in CholecT50.

    Raises:
        UnknownName: there is no such split.
    """
    if name not in SPLITS:
        raise UnknownName("split", name, SPLITS)
    given = frozenset(itertools.chain(*_FOLDS) if patients is None else patients)
    if name == "all":
        return Split(name=name, train=given)
    if name == "rendezvous":
        return Split(name=name, **{part: given.intersection(who) for part, who in _RENDEZVOUS.items()})
    k = int(name.removeprefix("fold")) - 1
    others = [patient for i, fold in enumerate(_FOLDS) if i != k for patient in fold if patient in given]
    # the patients that only CholecT50 has never choose, so that both data sets choose by the same five
    choosing = [patient for patient in others if patient in _CHOLECT45][-_FOLD_VALIDATION:]
    return Split(
        name=name,
        train=frozenset(others).difference(choosing),
        validation=frozenset(choosing),
        test=given.intersection(_FOLDS[k]),
    )


def patient_of(video: str) -> int:
    """The patient's number in a video's name: 7 for `VID07`, `VID7` and `video07`.

    Raises:
        BadInput: there is no number in it.
    """
    found = re.fullmatch(r"(?:vid|video)?[_-]?0*(\d+)", video.strip(), flags=re.IGNORECASE)
    if not found:
        raise BadInput(f"{video!r} names no patient; expected a name as `VID07`.")
    return int(found[1])


def video_of(patient: int) -> str:
    """The data sets' name of a patient's video: `VID07`."""
    return f"VID{patient:02d}"
