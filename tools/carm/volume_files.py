"""Reads CT volumes: a NIfTI file, or a folder that holds one DICOM series."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, from_matvec
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.nifti1 import Nifti1Pair
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.carm.dicom import load_dicom
from loopwright.tools.carm.volume import Array, Volume, checked_volume

_CHUNK = 1 << 20
_MOST_VOXELS = 1_000_000_000
"""Twice a CT from head to foot at 512 x 512 x 2,000. What states more is a header that lies, or a bomb."""
_SPARE_BYTES = 64 << 20
"""Extensions and what programs append, beyond the voxels that a header states."""
_SPACES = range(1, 6)
"""The codes of a space that NIfTI knows; 0 is none."""
_AGREEMENT_MM = 2.0
"""Between sform and qform at a corner: more than rounding makes, and far less than moves a landmark."""


def load_volume(path: Path) -> Volume:
    """Read a CT from a NIfTI file (`.nii`, `.nii.gz`) or a folder that holds one DICOM series.

    Raises:
        BadInput: naming the file, the value, what was expected and how to repair it.
    """
    if path.is_dir():
        return load_dicom(path)
    if not path.is_file():
        raise BadInput(f"`{path}` is not there. Give a NIfTI file (.nii, .nii.gz) or a folder with a DICOM series.")
    values, affine = read_nifti(path)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    return checked_volume(values, affine, str(path))


def read_nifti(path: Path, dtype: type[np.floating[Any] | np.integer[Any]] = np.float32) -> tuple[NDArray[Any], Array]:
    """Scaled voxels of a NIfTI file and its affine (4, 4) to RAS+ mm, unchecked, in the file's own orientation.

    Raises:
        BadInput: not NIfTI, corrupt, cut short, or with an orientation that is not stated or contradicts itself.
    """
    try:
        image = nib.load(path)
        if not isinstance(image, Nifti1Pair):
            raise BadInput(
                f"`{path}` is a {type(image).__name__}; expected NIfTI, which states where left and right are. Convert "
                "the original DICOM series, say by dcm2niix."
            )
        _check_shape(path, image.shape)
        affine = _stated_affine(path, image)
        stated = int(np.prod(image.shape, dtype=np.int64)) * image.header.get_data_dtype().itemsize
        for part in image.file_map.values():
            _check_whole(path, part, stated + _SPARE_BYTES)
        values = np.asarray(image.dataobj, dtype=dtype)
    except ImageFileError as error:
        raise BadInput(
            f"`{path}` is not a NIfTI file ({error}). Give a .nii or .nii.gz file, or a folder with a DICOM series."
        ) from error
    except (OSError, EOFError, ValueError, OverflowError, TypeError, zlib.error, HeaderDataError) as error:
        raise BadInput(f"`{path}` is corrupt or cut short ({error}). Copy or convert it again.") from error
    return values, affine


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse what a header states before anything is read or reserved for it."""
    if min(shape, default=0) < 1 or int(np.prod(shape, dtype=object)) > _MOST_VOXELS:
        raise BadInput(
            f"`{path}` states {' x '.join(map(str, shape))} voxels; expected 1 or more along each axis and at most "
            f"{_MOST_VOXELS:,} in all. Its header is damaged, or the volume has to be cropped or resampled."
        )


def _check_whole(path: Path, part: FileHolder, most_bytes: int) -> None:
    """Read a file to its end, where gzip keeps the checksum; nibabel stops at the last voxel, short of it."""
    n_bytes = 0
    with part.get_prepare_fileobj("rb") as file:
        while chunk := file.read(_CHUNK):
            n_bytes += len(chunk)
            if n_bytes > most_bytes:
                raise BadInput(
                    f"`{path}` holds more than {most_bytes:,} bytes once unpacked, which is more than its header "
                    "states. It is damaged or made to fill the memory: convert the original again."
                )


def _stated_affine(path: Path, image: Nifti1Pair) -> Array:
    """The affine of the sform, else of the qform, after it was found stated, and the same by both where both are."""
    with (image.file_map.get("header") or image.file_map["image"]).get_prepare_fileobj("rb") as file:
        header = type(image.header).from_fileobj(file, check=False)  # as it is written: a check repairs in silence
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    by_sform, by_qform = sform_code in _SPACES, qform_code in _SPACES
    if not by_sform and not by_qform:
        raise BadInput(
            f"`{path}` states no orientation (`sform_code` = {sform_code}, `qform_code` = {qform_code}; expected 1 "
            "to 5 in one), so left and right are unknown. Convert the original DICOM series again, say by dcm2niix; "
            "or write what you know it to be (nibabel: `image.set_sform(AFFINE, 1)`)."
        )
    if not by_qform:
        return np.asarray(header.get_sform(), dtype=np.float64)
    edges_mm = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not by_sform and not (edges_mm > 0).all():
        raise BadInput(
            f"`{path}` has voxels of {edges_mm.tolist()} mm (`pixdim`); expected more than 0 along each axis. Convert "
            "the original DICOM series again."
        )
    qform = np.asarray(header.get_qform(), dtype=np.float64)
    if not by_sform:
        return qform
    sform = np.asarray(header.get_sform(), dtype=np.float64)
    _check_agreement(path, image.shape, sform, qform)
    return sform


def _check_agreement(path: Path, shape: tuple[int, ...], sform: Array, qform: Array) -> None:
    """Refuse two affines that put a corner of the volume at two places. A qform cannot hold a gantry's tilt."""
    upright = from_matvec(_without_shear(sform[:3, :3]), sform[:3, 3])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]], indexing="ij")).reshape(3, -1).T
    apart_mm = np.linalg.norm(apply_affine(upright - qform, corners), axis=1).max()
    if not apart_mm <= _AGREEMENT_MM:
        raise BadInput(
            f"`{path}` contradicts itself: sform (axes {''.join(nib.aff2axcodes(sform))}) and qform (axes "
            f"{''.join(nib.aff2axcodes(qform))}) lie up to {apart_mm:.3g} mm apart; expected at most "
            f"{_AGREEMENT_MM:g} mm. Find out which is right, then set the other's code to 0 (nibabel: "
            "`image.set_qform(None)` or `image.set_sform(None)`) or convert the original DICOM series again."
        )


def _without_shear(axes: Array) -> Array:
    """The nearest axes at right angles, of the same lengths."""
    lengths = np.linalg.norm(axes, axis=0)
    u, _, vt = np.linalg.svd(axes / lengths)
    return np.asarray(u @ vt * lengths, dtype=np.float64)
