"""From rewards to advantages: what of an episode's luck is the merit of which reply. NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMALLEST_SD = 1e-4
"""Added to a group's standard deviation, as TRL does: where all candidates earn the same, there is nothing to learn."""


def episode_advantages(rewards: Sequence[Sequence[float]], *, scaled: bool) -> list[list[float]]:
    """Each turn of an episode gets the episode's whole reward against the group's mean.

    Args:
        rewards: of one group, a list a candidate, a number a turn.
        scaled: in standard deviations of the group, as in GRPO; False: as in Dr. GRPO (Liu et al. 2025).
    """
    totals = np.array([sum(turns) for turns in rewards], dtype=np.float64)
    advantages = totals - totals.mean()
    if scaled:
        advantages /= _sd(totals) + SMALLEST_SD
    return [[float(a)] * len(turns) for a, turns in zip(advantages, rewards, strict=True)]


def turn_advantages(rewards: Sequence[Sequence[float]], *, scaled: bool) -> list[list[float]]:
    """Each turn gets what its episode earned from it on, against the mean of the group at the same turn.

    An episode that has ended earns nothing any more and stays in that mean: else a late turn that nobody else came to
    would count for nothing. Scaled as `episode_advantages`.
    """
    longest = max((len(turns) for turns in rewards), default=0)
    padded = np.array([[*turns, *[0.0] * (longest - len(turns))] for turns in rewards], dtype=np.float64)
    to_go = padded[:, ::-1].cumsum(axis=1)[:, ::-1]
    advantages = to_go - to_go.mean(axis=0)
    if scaled:
        advantages /= _sd(padded.sum(axis=1)) + SMALLEST_SD
    return [a[: len(turns)].tolist() for a, turns in zip(advantages, rewards, strict=True)]


def _sd(totals: NDArray[np.float64]) -> float:
    return float(totals.std(ddof=1)) if len(totals) > 1 else 0.0
