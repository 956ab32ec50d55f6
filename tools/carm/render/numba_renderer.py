"""The CPU renderer: perspective ray casting on all cores, empty space skipped.

Geometry and memory layout live here, the loops in `joseph`.
"""

import threading
import time

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from loopwright.log import get_logger
from loopwright.tools.carm.geometry import Optics, Pose, source_world, view_axes
from loopwright.tools.carm.parallel import start_threads
from loopwright.tools.carm.render import joseph
from loopwright.tools.carm.render.attenuation import attenuation_per_mm, attenuation_table
from loopwright.tools.carm.volume import Volume

_LEVELS = 65535
_log = get_logger(__name__)
_turn = threading.Lock()
"""One kernel at a time: each uses all cores, and numba's `workqueue` threads may not be entered twice."""


class NumbaRenderer:
    """Joseph's method over a 16-bit copy of the attenuation, y fastest in memory.

    Takes twice the bytes of `volume.hounsfield`. `render` may be called from several threads.
    """

    def __init__(self, volume: Volume, optics: Optics) -> None:
        """Pack `volume`. The first ever call on a machine compiles for some seconds; later ones read numba's cache."""
        start_threads()
        self.volume = volume
        self.optics = optics
        began = time.perf_counter()
        if not joseph.pack.signatures:
            _log.info("loading the renderer's kernels; the first time on a machine, compiling takes about 10 s")
        hounsfield = volume.hounsfield
        self._unit_per_mm = float(attenuation_per_mm(hounsfield.max())) / _LEVELS or 1.0
        levels = np.minimum(np.rint(attenuation_table() / self._unit_per_mm), _LEVELS).astype(np.uint16)
        nx, ny, nz = hounsfield.shape
        self._packed = np.zeros((nx + 3, nz + 3, ny + 3), dtype=np.uint16)
        with _turn:
            joseph.pack(hounsfield.view(np.uint16), levels, self._packed)
            self._occupied = joseph.occupancy(self._packed)
        x_mm, y_mm, z_mm = volume.voxel_mm.tolist()
        self._voxel_mm = (x_mm, y_mm, z_mm)
        self._voxel_from_world = np.linalg.inv(volume.affine_world)
        _log.debug("packed a volume", volume=volume.name, seconds=round(time.perf_counter() - began, 3))

    def render(self, pose: Pose, size_px: int) -> NDArray[np.float32]:
        """See `Renderer.render`."""
        axes, pixel_mm = view_axes(pose), self.optics.pixel_mm(size_px)
        source = source_world(pose, self.optics)
        across = (np.arange(size_px) + 0.5 - size_px / 2) * pixel_mm
        to_first = self.optics.source_detector_mm * axes.forward + across[0] * (axes.u + axes.v)
        length_mm = np.sqrt(self.optics.source_detector_mm**2 + across[:, None] ** 2 + across**2)
        rotation = self._voxel_from_world[:3, :3]
        source_padded = rotation @ source + self._voxel_from_world[:3, 3] + 1.0
        image = np.empty((size_px, size_px), dtype=np.float32)
        with _turn:
            joseph.cast(
                self._packed,
                self._occupied,
                source_padded,
                source_padded + rotation @ to_first,
                rotation @ axes.u * pixel_mm,
                rotation @ axes.v * pixel_mm,
                length_mm,
                self._voxel_mm,
                image,
                get_num_threads(),
            )
        return image * np.float32(self._unit_per_mm)
