"""Confidence intervals that respect clusters: views or runs of one patient are not independent of each other."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loopwright.errors import BadInput


class Interval(NamedTuple):
    """A mean with its percentile-bootstrap interval. `low` and `high` are NaN where there is but one cluster."""

    mean: float
    low: float
    high: float


def cluster_bootstrap(
    values: ArrayLike, clusters: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of `values` (n,) and its interval from resampling whole clusters (n,) with replacement.

    NaN values are left out. With a single cluster there is no between-patient spread to see: the bounds are NaN.
    """
    x, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if x.ndim != 1 or x.shape != labels.shape:
        raise BadInput(f"`values` {x.shape} and `clusters` {labels.shape} must be of one shape (n,).")
    kept = ~np.isnan(x)
    x, labels = x[kept], labels[kept]
    if x.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    _, member = np.unique(labels, return_inverse=True)
    sums, counts = np.bincount(member, weights=x), np.bincount(member)
    if len(counts) == 1:
        return Interval(float(x.mean()), float("nan"), float("nan"))
    draws = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high))
