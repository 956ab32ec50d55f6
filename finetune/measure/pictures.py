"""How alike two pictures are: PSNR and SSIM. What they show is not their business."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

_WINDOW_PX = 7
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_GREY = np.array([0.299, 0.587, 0.114])


def psnr_db(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of (H, W, 3) pictures, dB; at most 100, which the same picture has."""
    error = float(((picture.astype(float) - truth) ** 2).mean())
    return min(100.0, 10 * float(np.log10(255**2 / max(error, 1e-12))))


def ssim(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Structural similarity of (H, W, 3) pictures in grey, -1 to 1: Wang et al. 2004, uniform windows of 7 px."""
    x, y = picture @ _GREY, truth @ _GREY
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        uniform_filter(values, _WINDOW_PX) for values in (x, y, x * x, y * y, x * y)
    )
    sample = _WINDOW_PX**2 / (_WINDOW_PX**2 - 1)
    var_x, var_y = sample * (mean_xx - mean_x**2), sample * (mean_yy - mean_y**2)
    cov = sample * (mean_xy - mean_x * mean_y)
    found = (2 * mean_x * mean_y + _C1) * (2 * cov + _C2) / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))
    edge = _WINDOW_PX // 2
    return float(found[edge:-edge, edge:-edge].mean())
