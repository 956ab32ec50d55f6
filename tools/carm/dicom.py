"""One CT series from a folder of DICOM files.

Only the elements that geometry and pixels need are ever parsed, so nothing that identifies a patient can reach a log,
an error or a session. DICOM's patient frame (LPS) becomes `_world` (RAS+); gantry tilt and oblique slices are kept in
the affine, and nothing is resampled.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from loopwright.errors import BadInput
from loopwright.tools.carm.volume import Array, Volume, checked_volume

_GEOMETRY = (
    *("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept"),
)
_HEADER = ("SeriesInstanceUID", "SeriesNumber", "Modality", "NumberOfFrames", *_GEOMETRY)
_PIXELS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
_GRID_TOLERANCE = 0.2
"""How far, in slice spacings, a slice may lie from where an even stack would have it (positions come rounded)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """One file's geometry, in DICOM's LPS mm. `orientation` is (2, 3): the directions of a row and of a column."""

    path: Path
    rows: int
    columns: int
    position: Array
    orientation: Array
    spacing_mm: Array
    slope: float
    intercept: float


def load_dicom(folder: Path) -> Volume:
    """The one CT series in `folder` and the folders beneath it; files of other kinds are passed over.

    Raises:
        BadInput: no DICOM, a damaged or empty file among the slices, several series, not a CT, slices missing, doubled,
            uneven or of different kinds, compressed in a way that cannot be read here, or what `checked_volume`
            refuses.
    """
    slices = [_slice(folder, path, header) for path, header in _one_series(folder)]
    _check_same_grid(folder, slices)
    ordered = _ordered(folder, slices)
    first, last = ordered[0], ordered[-1]
    values = np.empty((first.columns, first.rows, len(ordered)), dtype=np.float32)
    for k, each in enumerate(ordered):
        values[:, :, k] = _hounsfield(folder, each).T
    along, down = first.orientation
    step = (last.position - first.position) / (len(ordered) - 1)
    columns_lps = [along * first.spacing_mm[1], down * first.spacing_mm[0], step, first.position]
    affine_world = np.eye(4)
    affine_world[:3] = _RAS_FROM_LPS @ np.stack(columns_lps, axis=1)
    return checked_volume(values, affine_world, str(folder))


def _one_series(folder: Path) -> list[tuple[Path, pydicom.Dataset]]:
    series: dict[str, list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
    others = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR"):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER))
        except (InvalidDicomError, EOFError):
            header = None
        if header:
            series[str(header.get("SeriesInstanceUID", ""))].append((path, header))
        elif not path.name.startswith("."):  # hidden ones are the operating system's
            others.append(path)
    if not series:
        raise BadInput(f"`{folder}` holds no DICOM file. Give the folder of one CT series, or a NIfTI file.")
    if len(series) > 1:
        listed = "; ".join(_described(folder, files) for files in series.values())
        raise BadInput(
            f"`{folder}` holds {len(series)} series: {listed}. Give a folder that holds one; move the others elsewhere."
        )
    (files,) = series.values()
    _check_no_slice_among(folder, others, [path for path, _ in files])
    return files


def _check_no_slice_among(folder: Path, others: Sequence[Path], slices: Sequence[Path]) -> None:
    """Refuse an empty file, or one that is no DICOM and is named like the slices: at an end it would not be missed."""

    def pattern(path: Path) -> tuple[Path, str]:
        return path.parent, re.sub(r"\d+", "0", path.name)

    names = {pattern(path) for path in slices}
    suffixes = {path.suffix for path in slices if path.suffix}
    for path in others:
        n_bytes = path.stat().st_size
        if n_bytes == 0 or path.suffix in suffixes or pattern(path) in names:
            found = f"no DICOM file ({n_bytes} bytes)" if n_bytes else "empty"
            raise BadInput(
                f"`{path.relative_to(folder)}` in `{folder}` is {found}, beside {len(slices)} slices such as "
                f"`{slices[0].name}`. Export it again if it is a slice, else move it elsewhere."
            )


def _described(folder: Path, files: Sequence[tuple[Path, pydicom.Dataset]]) -> str:
    """What tells a series from others without a word about the patient."""
    path, header = files[0]
    number, modality, rows, columns = (
        header.get(name, "?") for name in ("SeriesNumber", "Modality", "Rows", "Columns")
    )
    return (
        f"series number {number} ({modality}, {len(files)} files of {columns} x {rows}, first "
        f"`{path.relative_to(folder)}`)"
    )


def _slice(folder: Path, path: Path, header: pydicom.Dataset) -> _Slice:
    where = f"`{path.relative_to(folder)}` in `{folder}`"
    if header.get("Modality") != "CT":
        raise BadInput(f"{where} has the modality {header.get('Modality')!r}; expected 'CT'.")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise BadInput(f"{where} holds many frames (enhanced CT). Convert the series to NIfTI, say by dcm2niix.")
    lacking = [name for name in _GEOMETRY if header.get(name) is None]
    if lacking:
        raise BadInput(f"{where} lacks {', '.join(f'`{n}`' for n in lacking)}. Export the original CT slices again.")
    try:
        read = _Slice(
            path=path,
            rows=int(header.Rows),
            columns=int(header.Columns),
            position=np.array(header.ImagePositionPatient, dtype=np.float64).reshape(3),
            orientation=np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3),
            spacing_mm=np.array(header.PixelSpacing, dtype=np.float64).reshape(2),
            slope=float(header.RescaleSlope),
            intercept=float(header.RescaleIntercept),
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where} has a damaged geometry or rescale element ({error}). Export it again.") from error
    if not np.allclose(read.orientation @ read.orientation.T, np.eye(2), atol=1e-3):
        raise BadInput(
            f"{where} has the orientation {read.orientation.ravel().tolist()!r}; expected two unit vectors at right "
            "angles. Export it again."
        )
    return read


def _check_same_grid(folder: Path, slices: Sequence[_Slice]) -> None:
    first = slices[0]
    if len(slices) < 2:
        raise BadInput(f"`{folder}` holds a single slice, `{first.path.name}`. Give the folder of a whole series.")
    for other in slices[1:]:
        same_size = (first.rows, first.columns) == (other.rows, other.columns)
        same_spacing = np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3)
        if not (same_size and same_spacing and np.allclose(first.orientation, other.orientation, atol=1e-3)):
            raise BadInput(
                f"`{folder}` mixes slices: `{other.path.name}` differs from `{first.path.name}` in size, pixel spacing "
                "or orientation (a scout view?). Give a folder with the slices of one stack only."
            )


def _ordered(folder: Path, slices: Sequence[_Slice]) -> list[_Slice]:
    """From the first along the normal to the last, after the stack was found whole and even.

    A stack is even where each slice lies on a line of equal steps. The line may lean: that is gantry tilt.
    """
    normal = np.cross(*slices[0].orientation)
    ordered = sorted(slices, key=lambda s: float(s.position @ normal))
    gaps = np.diff([s.position @ normal for s in ordered])
    usual_mm = float(np.median(gaps))
    _check_gaps(folder, ordered, gaps, usual_mm)
    positions = np.array([s.position for s in ordered])
    off_mm = np.linalg.norm(positions - np.linspace(positions[0], positions[-1], len(ordered)), axis=1)
    if off_mm.max() > _GRID_TOLERANCE * usual_mm:
        raise BadInput(
            f"`{folder}` has unevenly spaced slices: `{ordered[int(off_mm.argmax())].path.name}` lies "
            f"{off_mm.max():.3g} mm from where an even stack of {usual_mm:.3g} mm would have it. Resample it to even "
            "spacing and give it as NIfTI."
        )
    return ordered


def _check_gaps(folder: Path, ordered: Sequence[_Slice], gaps: Array, usual_mm: float) -> None:
    """Refuse duplicate and missing slices, given the gaps between neighbours and the usual gap, mm."""
    doubled = np.flatnonzero(gaps <= 0.01 * usual_mm)
    if doubled.size:
        one, two = ordered[doubled[0]].path.name, ordered[doubled[0] + 1].path.name
        raise BadInput(
            f"`{folder}` has {doubled.size} duplicate slice(s): `{one}` and `{two}` lie in one place. Keep one; "
            "several phases or reconstructions must go to folders of their own."
        )
    wide = np.flatnonzero(gaps > 1.75 * usual_mm)
    if wide.size:
        missing = int(np.rint(gaps[wide] / usual_mm - 1).sum())
        one, two = ordered[wide[0]].path.name, ordered[wide[0] + 1].path.name
        raise BadInput(
            f"`{folder}` has {missing} missing slice(s): {gaps[wide[0]]:.3g} mm lie between `{one}` and `{two}`, "
            f"elsewhere {usual_mm:.3g} mm. Export the series again."
        )


def _hounsfield(folder: Path, source: _Slice) -> NDArray[np.float32]:
    """(rows, columns)."""
    try:
        dataset = pydicom.dcmread(source.path, specific_tags=list(_PIXELS))
        if "TransferSyntaxUID" not in dataset.file_meta:  # then it is as the data set reads
            is_implicit, _ = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
        pixels = dataset.pixel_array
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        cause = " ".join(str(error).split())
        raise BadInput(
            f"`{source.path.relative_to(folder)}` in `{folder}` has pixels that cannot be read ({cause}). It may be "
            "cut short, or compressed: decompress the series (gdcmconv --raw, or export it uncompressed)."
        ) from error
    return np.asarray(pixels * np.float32(source.slope) + np.float32(source.intercept), dtype=np.float32)
