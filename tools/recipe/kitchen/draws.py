"""Random numbers that are the same on every machine and in every version of numpy.

Only a bit generator's raw stream is used, which numpy promises to keep (NEP 19), and integer arithmetic after it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Draws:
    """A stream of numbers that `words` (whole numbers, 0 or more) decide."""

    def __init__(self, *words: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def unit(self) -> float:
        """In [0, 1)."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return ((int(self._bits.random_raw()) >> 32) * n) >> 32

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def many(self, n: int, count: int) -> Ints:
        """(count,) whole numbers from 0 to n - 1."""
        raw = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (((raw >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)).astype(np.int64)

    def weighted(self, weights: Sequence[float]) -> int:
        """An index, drawn with `weights`, which need not sum to 1."""
        left = self.unit() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return max(index for index, weight in enumerate(weights) if weight > 0)

    def shuffled(self, count: int) -> list[int]:
        """0 to count - 1 in a drawn order."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order
