"""From line integrals to a grey picture. Knows no geometry."""

import numpy as np
from numpy.typing import NDArray

_AIR = 0.05
"""Line integrals below this (2.5 mm of water) are air and do not steer the window."""
_PERCENTILES = (1.0, 99.7)


def to_uint8(line_integrals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bone bright, the window set from the picture itself as a fluoroscope's automatic brightness does.

    The window spans robust percentiles of what is not air, so neither a strip of air nor a metal wire moves it much.
    The black point sinks to air's as the body leaves the picture: half a picture of body, and black is air. No step
    anywhere, so a small motion changes the greys a little. Deterministic. An all-air picture is all zeros.

    Args:
        line_integrals: (N, N) from a renderer.

    Returns:
        (N, N) uint8.
    """
    body = line_integrals[line_integrals > _AIR]
    if body.size == 0:
        return np.zeros(line_integrals.shape, dtype=np.uint8)
    low, high = np.percentile(body, _PERCENTILES)
    low *= max(0.0, 2 * body.size / line_integrals.size - 1)
    scaled = (line_integrals - low) * (255.0 / max(high - low, _AIR))
    return np.asarray(np.rint(np.clip(scaled, 0.0, 255.0)), dtype=np.uint8)
