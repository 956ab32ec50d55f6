"""Temperature scaling: the one number that makes probabilities honest, and how honest they are.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (ICML 2017), sections 4.2 and 2. Knows
scores, no model.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from loopwright.errors import BadInput

RANGE = (0.05, 20.0)
"""Temperatures that are searched. The lower end is reached where every choice of the held-out data is right: nothing
there says how sure is too sure."""


def fit_temperature(log_probs: ArrayLike, truth: ArrayLike) -> float:
    """The temperature T at which softmax(log_probs / T) gives held-out answers their greatest likelihood.

    Args:
        log_probs: (N, C) scores of each question's choices, such as `ChoiceScores.log_probs`; they need not be
            normalised.
        truth: (N,) index of each right choice.

    Returns:
        T within `RANGE`. The likelihood has one maximum, being concave in 1 / T.

    Raises:
        BadInput: shapes, indices or scores are not as said.
    """
    scores, right = _checked(log_probs, truth, "log_probs")

    def nll(log_t: float) -> float:
        return -float(log_softmax(scores / np.exp(log_t), axis=1)[np.arange(len(right)), right].mean())

    best = minimize_scalar(nll, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(best.x))


def expected_calibration_error(probabilities: ArrayLike, truth: ArrayLike, n_bins: int = 15) -> float:
    """Mean gap between how sure the likeliest choice is and how often it is right, over bins of equal width.

    Args:
        probabilities: (N, C), each row sums to 1.
        truth: (N,) index of each right choice.
        n_bins: bins over (0, 1]; the paper takes 15.

    Returns:
        In [0, 1]; bins weigh by the questions in them (equation 3 of the paper).

    Raises:
        BadInput: shapes, indices, probabilities or `n_bins` are not as said.
    """
    chances, right = _checked(probabilities, truth, "probabilities")
    if not np.allclose(chances.sum(axis=1), 1, atol=1e-6) or chances.min() < 0:
        raise BadInput("`probabilities` are not: expected rows of numbers from 0 that sum to 1. Take a softmax first.")
    if n_bins < 1:
        raise BadInput(f"`n_bins` is {n_bins!r}; expected at least 1.")
    confidence, hit = chances.max(axis=1), chances.argmax(axis=1) == right
    member = np.ceil(confidence * n_bins).astype(int)
    gap = np.bincount(member, weights=hit - confidence)  # each bin's count times (accuracy - confidence)
    return float(np.abs(gap).sum() / len(right))


def _checked(scores: ArrayLike, truth: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if values.ndim != 2 or not values.size or right.shape != values.shape[:1]:
        raise BadInput(f"`{name}` {values.shape} and `truth` {right.shape} must be of shapes (N, C) and (N,), N >= 1.")
    if not np.isfinite(values).all():
        raise BadInput(f"`{name}` holds infinities or NaN. Leave out questions with choices that cannot be.")
    if not np.issubdtype(right.dtype, np.integer) or right.min() < 0 or right.max() >= values.shape[1]:
        raise BadInput(f"`truth` must hold indices from 0 to {values.shape[1] - 1}, not {right!r:.80}.")
    return values, right.astype(np.int64)
