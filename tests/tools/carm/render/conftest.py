"""Objects whose pictures are known: balls, boxes, and any volume by a reference that is slow and simple."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.tools.carm.geometry import Array, Optics, Pose, source_world, view_axes
from loopwright.tools.carm.render import attenuation_per_mm
from loopwright.tools.carm.volume import Volume

Reference = Callable[[Volume, Optics, Pose, int, NDArray[np.intp]], Array]


@pytest.fixture(scope="session")
def fine_step() -> Reference:
    """(volume, optics, pose, size_px, pixels (n, 2) row and column) to (n,) line integrals at a step of 0.1 mm."""
    return _fine_step


def _fine_step(volume: Volume, optics: Optics, pose: Pose, size_px: int, pixels: NDArray[np.intp]) -> Array:
    axes, source = view_axes(pose), source_world(pose, optics)
    across_mm = (pixels + 0.5 - size_px / 2) * optics.pixel_mm(size_px)
    rays = optics.source_detector_mm * axes.forward + across_mm[:, 1:] * axes.u + across_mm[:, :1] * axes.v
    hounsfield = np.pad(volume.hounsfield, 1, constant_values=-1000)
    return np.array([_integral(hounsfield, volume, source, ray) for ray in rays])


def _integral(hounsfield: NDArray[np.int16], volume: Volume, source: Array, ray: Array) -> float:
    """Trilinear in the attenuation, which is zero outside."""
    length_mm, step_mm = float(np.linalg.norm(ray)), 0.1
    distance_mm = np.arange(step_mm / 2, length_mm, step_mm)
    voxels = volume.to_voxel(source + distance_mm[:, None] * ray / length_mm) + 1
    voxels = voxels[((voxels >= 0) & (voxels < np.array(hounsfield.shape) - 1)).all(axis=1)]
    low = np.floor(voxels).astype(int)
    weight = voxels - low
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        share = np.where(corner, weight, 1 - weight).prod(axis=1)
        total += float(share @ attenuation_per_mm(hounsfield[tuple((low + corner).T)]))
    return total * step_mm


@pytest.fixture(scope="session")
def ball() -> Callable[..., Volume]:
    """(affine_world, centre_world, radius_mm, edge_mm, hounsfield=0, edge=48): a ball in air, its edge soft."""

    def make(
        affine_world: Array, centre_world: Array, radius_mm: float, edge_mm: float, hounsfield: int = 0, edge: int = 48
    ) -> Volume:
        index = np.moveaxis(np.indices((edge, edge, edge)), 0, -1)
        centres = index @ affine_world[:3, :3].T + affine_world[:3, 3]
        distance_mm = np.linalg.norm(centres - centre_world, axis=-1)
        share = np.clip(0.5 + (radius_mm - distance_mm) / edge_mm, 0, 1)
        values = np.rint(-1000 + share * (hounsfield + 1000)).astype(np.int16)
        return Volume(hounsfield=values, affine_world=affine_world, name="ball")

    return make


@pytest.fixture(scope="session")
def box() -> Callable[..., Volume]:
    """(size_voxels, voxel_mm, hounsfield): a homogeneous box centred on the origin of `_world`, air around it."""

    def make(size_voxels: tuple[int, int, int], voxel_mm: float, hounsfield: int) -> Volume:
        values = np.full(np.array(size_voxels) + 8, -1000, dtype=np.int16)
        values[4:-4, 4:-4, 4:-4] = hounsfield
        affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
        affine[:3, 3] = -voxel_mm * (np.array(values.shape) - 1) / 2
        return Volume(hounsfield=values, affine_world=affine, name="box")

    return make
