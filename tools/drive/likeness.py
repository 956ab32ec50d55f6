"""How like two pictures are, pixel by pixel: what an imagined frame is held against that which then came."""

from math import inf, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_WINDOW_PX = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Likeness(NamedTuple):
    """Of two pictures, and of the road users on them."""

    psnr_db: float
    ssim: float
    iou: float
    """Of the occupied cells; 1 where both have none."""


def psnr_db(one: Picture, other: Picture) -> float:
    """Peak signal-to-noise ratio of (H, W, 3) uint8 pictures, dB; inf where they are the same."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return inf if error == 0 else 10 * log10(255**2 / error)


def ssim(one: Picture, other: Picture) -> float:
    """Structural similarity (Wang et al. 2004) in [-1, 1]: mean over all windows of 8 x 8 px, uniform, and colours."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a, var_b = _windowed(a * a) - mean_a**2, _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    like = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    return float(np.mean(like / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Cells that both have, of those that either has; 1 where neither has any."""
    either = int((one | other).sum())
    return 1.0 if either == 0 else float((one & other).sum()) / either


def _windowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of every window that lies within the picture."""
    sums = np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(axis=0).cumsum(axis=1)
    n = _WINDOW_PX
    means: NDArray[np.float64] = (sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]) / n**2
    return means
