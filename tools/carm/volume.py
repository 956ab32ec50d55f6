"""CT volumes: Hounsfield units on a grid with a 4x4 affine to `_world` (RAS+ mm), and how they are checked.

Knows nothing of C-arms, landmarks or files.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from loopwright.errors import BadInput

Array = NDArray[np.float64]

BONE_HU = 200
_AIR_HU = -500
_MIN_BONE_MM3 = 20_000.0
"""Half of a single thoracic vertebra (about 30-40 ml); any CT that shows a landmark of ours holds far more."""
_COARSE_MM = 4.0
_VOXEL_RANGE_MM = (0.05, 20.0)
_HU_RANGE = (-32768, 32767)


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """A CT.

    Attributes:
        hounsfield: int16 (nx, ny, nz), axes closest to right, anterior, superior.
        affine_world: (4, 4), continuous voxel index to `_world` mm, RAS+; may be oblique.
        name: what messages call it.
    """

    hounsfield: NDArray[np.int16] = field(repr=False)
    affine_world: Array
    name: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        nx, ny, nz = self.hounsfield.shape
        return nx, ny, nz

    @cached_property
    def sha256(self) -> str:
        """What identifies it, wherever it was read from: of its voxels and where they lie."""
        digest = hashlib.sha256(np.ascontiguousarray(self.affine_world).data)
        digest.update(np.ascontiguousarray(self.hounsfield).data)
        return digest.hexdigest()

    @cached_property
    def voxel_mm(self) -> Array:
        """(3,) edge lengths of a voxel."""
        return np.asarray(np.linalg.norm(self.affine_world[:3, :3], axis=0), dtype=np.float64)

    @cached_property
    def bounds_world(self) -> Array:
        """(2, 3) mm: the least and greatest corner of the box around the volume's outer voxel faces."""
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in self.shape], indexing="ij")).reshape(3, 8).T
        world = self.to_world(corners)
        return np.stack([world.min(axis=0), world.max(axis=0)])

    @cached_property
    def mid_coronal_y_mm(self) -> float:
        """y in `_world` of the body's mid-coronal plane: halfway between its front and its back.

        The body is the largest connected piece of tissue that is thicker than about 16 mm, so the table and blankets
        do not count; front and back are its 2nd and 98th percentile along y.
        """
        return _mid_coronal_y_mm(self)

    def to_world(self, points_voxel: ArrayLike) -> Array:
        """(..., 3) continuous voxel indices to (..., 3) mm in `_world`."""
        points = np.asarray(points_voxel, dtype=np.float64)
        return np.asarray(points @ self.affine_world[:3, :3].T + self.affine_world[:3, 3], dtype=np.float64)

    def to_voxel(self, points_world: ArrayLike) -> Array:
        """(..., 3) mm in `_world` to (..., 3) continuous voxel indices."""
        shifted = np.asarray(points_world, dtype=np.float64) - self.affine_world[:3, 3]
        return np.asarray(shifted @ np.linalg.inv(self.affine_world[:3, :3]).T, dtype=np.float64)


def checked_volume(values: NDArray[np.generic], affine_world: ArrayLike, name: str) -> Volume:
    """A `Volume` from raw arrays, reoriented to closest-canonical RAS+, after all checks.

    Args:
        values: (nx, ny, nz) Hounsfield units, any real type; rounded to int16.
        affine_world: (4, 4) voxel to RAS+ mm.
        name: what messages call it: the file's path.

    Raises:
        BadInput: not three-dimensional, affine unusable, voxels of absurd size, not Hounsfield units, or no bone.
    """
    if values.ndim != 3 or min(values.shape) < 2:
        raise BadInput(
            f"`{name}` has the shape {tuple(values.shape)!r}; expected three axes of 2 or more voxels. "
            "Extract a single CT volume from a series over time or a multi-channel image."
        )
    affine = np.asarray(affine_world, dtype=np.float64)
    _check_affine(affine, name)
    canonical, affine = to_canonical(values, affine)
    volume = Volume(hounsfield=_to_hounsfield(canonical, name), affine_world=affine, name=name)
    _check_bone(volume)
    return volume


def to_canonical(values: NDArray[Any], affine_world: Array) -> tuple[NDArray[Any], Array]:
    """Flip and swap axes (no resampling) so that they run closest to right, anterior, superior; with the new affine."""
    orientation = nib.orientations.io_orientation(affine_world)
    canonical = nib.orientations.apply_orientation(values, orientation)
    return canonical, affine_world @ nib.orientations.inv_ornt_aff(orientation, values.shape)


def _check_affine(affine: Array, name: str) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise BadInput(f"`{name}` has the affine {affine.tolist()!r}; expected 4x4 finite numbers. Convert it again.")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = _VOXEL_RANGE_MM
    if ((edges < low) | (edges > high)).any():
        raise BadInput(
            f"`{name}` has voxels of {edges.round(4).tolist()} mm; expected {low} to {high} mm along each axis. "
            "The file may be in metres or micrometres, or its header damaged."
        )
    if abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-3:
        raise BadInput(
            f"`{name}` has the singular affine {affine.tolist()!r}. Its header is damaged; convert it again."
        )


def _to_hounsfield(values: NDArray[np.generic], name: str) -> NDArray[np.int16]:
    if np.iscomplexobj(values) or values.dtype.fields is not None:
        raise BadInput(f"`{name}` holds {values.dtype}, not Hounsfield units. Give a CT with one real value a voxel.")
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise BadInput(f"`{name}` holds NaN or infinite voxels; expected Hounsfield units. Convert it again.")
    if least < _HU_RANGE[0] or most > _HU_RANGE[1] or least > _AIR_HU:
        raise BadInput(
            f"`{name}` holds values from {least:g} to {most:g}; expected Hounsfield units (air near -1000, bone above "
            f"{BONE_HU}). It may be an 8-bit export, an MRI or a CT without its rescale intercept."
        )
    if np.issubdtype(values.dtype, np.floating):
        values = np.rint(values)
    return np.ascontiguousarray(values, dtype=np.int16)


def _check_bone(volume: Volume) -> None:
    bone_mm3 = np.count_nonzero(volume.hounsfield > BONE_HU) * abs(float(np.linalg.det(volume.affine_world[:3, :3])))
    if bone_mm3 < _MIN_BONE_MM3:
        raise BadInput(
            f"`{volume.name}` is a CT without bone: {bone_mm3 / 1000:.1f} ml above {BONE_HU} HU, expected at least "
            f"{_MIN_BONE_MM3 / 1000:.0f} ml. Give a CT of the upper body in Hounsfield units."
        )


def _mid_coronal_y_mm(volume: Volume) -> float:
    stride = np.maximum(1, np.round(_COARSE_MM / volume.voxel_mm)).astype(int)
    tissue = volume.hounsfield[:: stride[0], :: stride[1], :: stride[2]] > _AIR_HU
    thick = ndimage.binary_opening(tissue, iterations=max(1, round(8.0 / float((volume.voxel_mm * stride).max()))))
    parts = np.empty(thick.shape, dtype=np.int32)
    ndimage.label(thick, output=parts)
    if not parts.any():
        return float(volume.bounds_world[:, 1].mean())
    body = np.argwhere(parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1)
    y_mm = volume.to_world(body * stride)[:, 1]
    return float(np.percentile(y_mm, [2, 98]).mean())
