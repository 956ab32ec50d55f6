"""Metrics of localisation, per view and as the seed paper defines them, so that intervals can be clustered later.

A ranking is (n, L) landmark indices, best first; distances are (n, L) mm from the isocentre with NaN for a landmark
that the case does not hold. The three nearest are the ground truth GT3.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ranking = NDArray[np.intp]


def rank(scores: Floats, candidates: NDArray[np.bool_] | None = None) -> Ranking:
    """(n, L) scores to rankings; what is no candidate comes last. Ties keep the landmarks' order."""
    masked = scores if candidates is None else np.where(candidates, scores, -np.inf)
    return np.argsort(-masked, axis=1, kind="stable")


def nearest(distance_mm: Floats) -> Ranking:
    """(n, L) true ranking by distance, absent landmarks last."""
    return np.argsort(np.where(np.isnan(distance_mm), np.inf, distance_mm), axis=1, kind="stable")


def overlap_at(ranking: Ranking, distance_mm: Floats, k: int) -> NDArray[np.float64]:
    """(n,) size of the intersection of the first `k` of the ranking with GT3."""
    truth = nearest(distance_mm)[:, :3]
    shared = ranking[:, :k, None] == truth[:, None, :]
    return np.asarray(shared.sum((1, 2)), dtype=np.float64)


def precision_at(ranking: Ranking, distance_mm: Floats, k: int) -> NDArray[np.float64]:
    """(n,) P@k = |top k and GT3| / k."""
    return overlap_at(ranking, distance_mm, k) / k


def recall_at(ranking: Ranking, distance_mm: Floats, k: int) -> NDArray[np.float64]:
    """(n,) R@k = |top k and GT3| / 3."""
    return overlap_at(ranking, distance_mm, k) / 3


def hit_at(ranking: Ranking, truth: NDArray[np.intp], k: int) -> NDArray[np.float64]:
    """(n,) 1 where the landmark `truth` (n,) is among the first `k`."""
    return np.asarray((ranking[:, :k] == truth[:, None]).any(axis=1), dtype=np.float64)


def exact_nearest(ranking: Ranking, distance_mm: Floats) -> NDArray[np.float64]:
    """(n,) 1 where the first of the ranking is the nearest landmark itself."""
    return hit_at(ranking, nearest(distance_mm)[:, 0], 1)


def ordered_triple(ranking: Ranking, distance_mm: Floats) -> NDArray[np.float64]:
    """(n,) 1 where the first three are the three nearest in their order."""
    return np.asarray((ranking[:, :3] == nearest(distance_mm)[:, :3]).all(axis=1), dtype=np.float64)


def offset_error_mm(predicted: Floats, true: Floats) -> NDArray[np.float64]:
    """(..., 2) and (..., 2) to (...) Euclidean error, NaN where there is no truth."""
    return np.asarray(np.linalg.norm(np.asarray(predicted, np.float64) - true, axis=-1))


def in_view(offsets_mm: Floats, half_field_mm: float) -> NDArray[np.bool_]:
    """(..., 2) to (...): both offsets within half the field of view in the plane of the isocentre. NaN is not."""
    return np.asarray((np.abs(offsets_mm) < half_field_mm).all(axis=-1))
