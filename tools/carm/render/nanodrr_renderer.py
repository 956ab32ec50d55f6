"""The torch renderer, by nanodrr: `grid_sample` on a CPU, a fused Triton kernel on CUDA. Needs the extra `nanodrr`.

nanodrr's camera is ours under other names: x right, y down, z from source to detector, pixel centres at + 0.5, rays cut
at source and detector, and values fading to zero over one voxel beyond the outermost voxel centres.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from loopwright.errors import MissingDependency
from loopwright.tools.carm.geometry import Optics, Pose, source_world, view_axes
from loopwright.tools.carm.render.attenuation import attenuation_per_mm
from loopwright.tools.carm.volume import Volume

try:
    from nanodrr.camera import make_k_inv
    from nanodrr.data import Subject
    from nanodrr.drr import render
except ImportError as error:
    raise MissingDependency(
        f"The renderer `nanodrr` cannot be loaded ({error}). Add it: pip install 'loopwright[nanodrr]'."
    ) from error

_SAMPLES_AT_ONCE = 2**25
"""Points interpolated in one call on a CPU; 12 bytes of coordinates each, several times over."""


class NanodrrRenderer:
    """nanodrr over the attenuation that every renderer shares, sampled once a voxel along a ray or more often."""

    def __init__(self, volume: Volume, optics: Optics, device: str | None = None) -> None:
        """Put `volume` on `device`: any torch device, by default CUDA where there is any."""
        self.volume = volume
        self.optics = optics
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        attenuation = torch.from_numpy(attenuation_per_mm(volume.hounsfield.T)[None, None])
        world = torch.from_numpy(volume.affine_world)
        size = torch.tensor(volume.shape, dtype=torch.float64)
        grid = torch.diag(torch.cat([2 / size, torch.ones(1)]))
        grid[:3, 3] = 1 / size - 1
        self._subject = Subject(
            attenuation,
            torch.zeros(1, 1, 1, 1, 1),
            world.float(),
            world.inverse().float(),
            grid.float(),
            torch.zeros(3),
            max_label=0,
            convert_to_mu=False,
        ).to(self.device)
        diagonal_mm = float(np.linalg.norm(volume.voxel_mm * volume.shape))
        self._samples = math.ceil(diagonal_mm / float(volume.voxel_mm.min()))

    def render(self, pose: Pose, size_px: int) -> NDArray[np.float32]:
        """See `Renderer.render`."""
        axes = view_axes(pose)
        camera = np.eye(4)
        camera[:3] = np.stack([axes.u, axes.v, axes.forward, source_world(pose, self.optics)], axis=1)
        world_from_camera = torch.from_numpy(camera[None]).float().to(self.device)
        rows = size_px if self.device.type == "cuda" else max(1, _SAMPLES_AT_ONCE // (self._samples * size_px))
        strips = [
            self._strip(world_from_camera, size_px, top, min(rows, size_px - top)) for top in range(0, size_px, rows)
        ]
        return np.asarray(torch.cat(strips).cpu().numpy(), dtype=np.float32)

    def _strip(self, world_from_camera: torch.Tensor, size_px: int, top: int, rows: int) -> torch.Tensor:
        """(rows, size_px) of the picture from row `top` on: a detector of its own, off centre."""
        pixel_mm, detector_mm = self.optics.pixel_mm(size_px), self.optics.source_detector_mm
        offset_mm = (size_px / 2 - top - rows / 2) * pixel_mm
        pixel_from_image = make_k_inv(
            detector_mm, pixel_mm, pixel_mm, 0.0, offset_mm, rows, size_px, torch.float32, self.device
        )
        distance = torch.tensor([detector_mm], device=self.device)
        with torch.inference_mode():
            picture = render(
                self._subject, pixel_from_image, world_from_camera, distance, rows, size_px, n_samples=self._samples
            )
        return torch.as_tensor(picture)[0, 0]
