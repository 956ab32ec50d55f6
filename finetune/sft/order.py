"""The order in which rows are trained on: rows of like length together, so that little of a batch is padding.

Knows lengths and nothing of what is in a row.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from torch.utils.data import Sampler

WINDOW_STEPS = 50
"""Rows are sorted among those of so many steps: enough for likeness, few enough for chance to choose the company."""

Length = tuple[int, ...]
"""What a row is sorted by; any key that grows with its tokens."""


class LikeLengths(Sampler[int]):
    """Every row once an epoch, in steps of like length, the steps in random order.

    A step of one length is mostly a step of one task, and a loss that is a mean over answer tokens then gives short
    answers a voice that they lack beside long ones.

    Args:
        lengths: one a row.
        step: rows of an optimiser step.
        seed: of the order; each epoch has its own.
    """

    def __init__(self, lengths: Sequence[Length], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed = lengths, step, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rows: list[int] = rng.permutation(len(self.lengths)).tolist()
        whole = len(rows) - len(rows) % self.step
        steps = [
            window[start : start + self.step]
            for window in (self._sorted(part) for part in _parts(rows[:whole], self.step * WINDOW_STEPS))
            for start in range(0, len(window), self.step)
        ]
        rng.shuffle(steps)
        return chain(*steps, self._sorted(rows[whole:]))

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order comes next; the trainer says."""
        self.epoch = epoch

    def _sorted(self, rows: Sequence[int]) -> list[int]:
        return sorted(rows, key=lambda row: self.lengths[row])


def _parts(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
