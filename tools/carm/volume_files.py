"""Reads CT volumes: a NIfTI file, or a folder that holds one DICOM series."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.carm.dicom import load_dicom
from loopwright.tools.carm.volume import Array, Volume, checked_volume


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
        BadInput: not a volume, corrupt, cut short, or without an affine.
    """
    try:
        image = nib.load(path)
        if not isinstance(image, SpatialImage):
            raise BadInput(f"`{path}` is a {type(image).__name__}, not a volume. Give a NIfTI file of a CT.")
        values = np.asarray(image.dataobj, dtype=dtype)
    except ImageFileError as error:
        raise BadInput(
            f"`{path}` is not a NIfTI file ({error}). Give a .nii or .nii.gz file, or a folder with a DICOM series."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error, HeaderDataError) as error:
        raise BadInput(f"`{path}` is corrupt or cut short ({error}). Copy or convert it again.") from error
    if image.affine is None:
        raise BadInput(f"`{path}` carries no affine. Convert it with a tool that writes qform or sform.")
    return values, np.asarray(image.affine, dtype=np.float64)
