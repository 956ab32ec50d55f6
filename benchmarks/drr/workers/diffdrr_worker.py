"""DiffDRR's trilinear renderer on the CPU, called below its `DRR` module with the same rays in voxel coordinates."""

import sys

import numpy as np
import torch
from diffdrr.renderers import Trilinear
from serving import serve

SAMPLES = int(sys.argv[1])


def prepare(volume):
    """Installed without its dependencies, of which the renderer needs only torch."""
    density = torch.from_numpy(volume["attenuation"])
    inverse = np.linalg.inv(volume["affine_world"])
    renderer = Trilinear()

    def voxels(points_world):
        return torch.from_numpy((points_world @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32))

    def draw(view):
        size_px, source = view["size_px"], np.array(view["source"])
        across = (np.arange(size_px) + 0.5 - size_px / 2)[:, None] * view["pixel_mm"]
        columns, rows = across * view["u"], across * view["v"]
        rays = view["source_detector_mm"] * np.array(view["forward"]) + columns[None] + rows[:, None]
        rays = rays.reshape(-1, 3)
        lengths = torch.from_numpy(np.linalg.norm(rays, axis=1).astype(np.float32))
        with torch.inference_mode():
            picture = renderer(
                density, voxels(source[None])[None], voxels(source + rays)[None], lengths[None, None], n_points=SAMPLES
            )
        return picture.reshape(size_px, size_px).numpy()

    return draw


serve(prepare)
