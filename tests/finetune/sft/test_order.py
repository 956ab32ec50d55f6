"""The order of training: every row once an epoch, like lengths together, steps in random order, told by the seed."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from loopwright.finetune.sft.order import LikeLengths

MANY = [(1, length) for length in random.Random(0).choices((20, 60, 300), k=1000)]


def steps_of(order: LikeLengths) -> list[list[int]]:
    rows = list(order)
    return [rows[start : start + order.step] for start in range(0, len(rows), order.step)]


@given(lengths=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 500))), step=st.integers(1, 9), seed=st.integers(0))
def test_every_row_comes_once_and_the_seed_tells_when(lengths: list[tuple[int, int]], step: int, seed: int) -> None:
    order = LikeLengths(lengths, step, seed)
    assert sorted(order) == list(range(len(order))) == list(range(len(lengths)))
    assert list(order) == list(LikeLengths(lengths, step, seed))


def test_a_step_is_of_one_length_but_where_lengths_meet() -> None:
    mixed = [rows for rows in steps_of(LikeLengths(MANY, 10, 0)) if len({MANY[row] for row in rows}) > 1]
    assert len(mixed) <= 2 * 2  # two borders in each of two windows


def test_pictures_count_before_text() -> None:
    lengths = [(pictures, 100 - pictures) for pictures in (0, 1) * 20]
    assert all(len({lengths[row] for row in rows}) == 1 for rows in steps_of(LikeLengths(lengths, 10, 0)))


def test_steps_do_not_come_by_length() -> None:
    means = [sum(MANY[row][1] for row in rows) / 10 for rows in steps_of(LikeLengths(MANY, 10, 0))]
    rises = sum(after > before for before, after in itertools.pairwise(means))
    falls = sum(after < before for before, after in itertools.pairwise(means))
    assert min(rises, falls) >= 15


def test_each_epoch_has_its_own_order() -> None:
    order = LikeLengths(MANY, 10, 0)
    first = list(order)
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first


def test_the_step_that_is_not_whole_comes_last() -> None:
    lengths = [(0, 7)] * 12
    assert [len(rows) for rows in steps_of(LikeLengths(lengths, 5, 3))] == [5, 5, 2]
