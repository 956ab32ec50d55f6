"""What a renderer is. Knows no implementation."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.volume import Volume


class Renderer(Protocol):
    """Draws digitally reconstructed radiographs (DRRs) of one volume through one set of optics."""

    @property
    def volume(self) -> Volume:
        """What is drawn."""
        ...

    @property
    def optics(self) -> Optics:
        """What it is drawn through."""
        ...

    def render(self, pose: Pose, size_px: int) -> NDArray[np.float32]:
        """The picture at `pose`.

        Args:
            pose: where the C-arm looks; a view that misses the volume is all zeros.
            size_px: edge of the square picture.

        Returns:
            (size_px, size_px) line integrals of attenuation from source to detector pixel centre, dimensionless
            (-log of transmission), row = v, column = u.
        """
        ...
