"""Splits: nobody is on two sides, and the official ones are the official ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.surgery.splits import PARTS, SPLITS, Split, patient_of, split_of, video_of

EVERYBODY = split_of("all").train
CHOLECT45 = EVERYBODY - {92, 96, 103, 110, 111}


@given(st.sampled_from(SPLITS), st.sets(st.sampled_from(sorted(EVERYBODY))))
def test_every_patient_has_one_part(name: str, given_patients: set[int]) -> None:
    split = split_of(name, given_patients)
    sides = [set(getattr(split, part)) for part in PARTS]
    assert sum(map(len, sides)) == len(set.union(*sides)), "nobody is on two sides"
    assert set.union(*sides) == given_patients, "nobody is left out or made up"
    for patient in given_patients:
        part = split.part_of(patient)
        assert part is not None and patient in getattr(split, part)


def test_a_split_with_somebody_on_two_sides_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match=r"\[7\] are in more than one part"):
        Split(name="leaky", train=frozenset({1, 7}), test=frozenset({7}))
    with pytest.raises(ValidationError, match=r"\[1\] are in more than one part"):
        Split(name="leaky", train=frozenset({1}), validation=frozenset({1}))


def test_rendezvous_has_35_5_and_10_patients() -> None:
    split = split_of("rendezvous")
    assert (len(split.train), len(split.validation), len(split.test)) == (35, 5, 10)
    assert split.validation == {8, 12, 29, 50, 78}
    assert {6, 51, 111} <= split.test


def test_folds_test_everybody_once() -> None:
    tests = [split_of(f"fold{k}").test for k in range(1, 6)]
    assert sum(map(len, tests)) == 50 and frozenset.union(*tests) == EVERYBODY
    assert tests[2] == {31, 57, 36, 18, 52, 68, 10, 8, 73, 103}
    assert all(len(test & CHOLECT45) == 9 for test in tests)


def test_folds_choose_by_the_last_five_of_the_training_patients_given() -> None:
    """As the data set's own loader does."""
    assert split_of("fold1", CHOLECT45).validation == {74, 1, 56, 4, 13}
    assert split_of("fold5", CHOLECT45).validation == {65, 75, 22, 49, 12}
    assert split_of("fold1").validation == {74, 1, 56, 4, 13}, "in CholecT50 the same"
    without_fold_5 = CHOLECT45 - split_of("fold5").test
    assert split_of("fold1", without_fold_5).validation == {65, 75, 22, 49, 12}


def test_there_are_no_others() -> None:
    with pytest.raises(UnknownName, match="Did you mean `fold5`"):
        split_of("fold6")


@pytest.mark.parametrize(("name", "patient"), [("VID07", 7), ("VID7", 7), ("video111", 111), ("07", 7), ("vid_07", 7)])
def test_a_patient_is_known_however_the_video_is_called(name: str, patient: int) -> None:
    assert patient_of(name) == patient
    assert patient_of(video_of(patient)) == patient


@pytest.mark.parametrize("name", ["", "VID", "VID07b", "patient"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="names no patient"):
        patient_of(name)
