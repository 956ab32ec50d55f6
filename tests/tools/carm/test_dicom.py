import io
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from loopwright.errors import BadInput
from loopwright.tools.carm.volume import Volume, checked_volume
from loopwright.tools.carm.volume_files import load_volume

SECRET = "Tulpenfeld^Adelheid"
Edit = Callable[[Dataset], None]


def write_series(
    folder: Path, values: np.ndarray, affine_lps: np.ndarray, edit: dict[int, Edit] | None = None, number: int = 3
) -> Path:
    """Write (columns, rows, slices) Hounsfield units as a CT series; `edit` changes slices before they are written.

    Files are numbered against the order of the slices, so that a reader cannot rely on names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    along, down = (affine_lps[:3, i] / np.linalg.norm(affine_lps[:3, i]) for i in (0, 1))
    series_uid = generate_uid()
    for k in range(values.shape[2]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.Modality = series_uid, number, "CT"
        for name in ("PatientName", "PatientID", "InstitutionName", "StudyDescription", "SeriesDescription"):
            setattr(dataset, name, SECRET)
        dataset.PatientBirthDate = "19470311"
        dataset.Rows, dataset.Columns = values.shape[1], values.shape[0]
        dataset.ImagePositionPatient = (affine_lps[:3, 3] + k * affine_lps[:3, 2]).round(6).tolist()
        dataset.ImageOrientationPatient = [round(float(v), 8) for v in (*along, *down)]
        dataset.PixelSpacing = [float(np.linalg.norm(affine_lps[:3, i]).round(6)) for i in (1, 0)]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.PixelData = (values[:, :, k].T.astype(np.int32) + 1024).astype("<u2").tobytes()
        if edit and k in edit:
            edit[k](dataset)
        dataset.save_as(folder / f"IM{900 - k}", enforce_file_format=True)
    return folder


LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def values(block_volume: Volume) -> np.ndarray:
    """No two axes of one length, no symmetry, no value beneath -1024."""
    return block_volume.hounsfield


def lps_affine(block_volume: Volume) -> np.ndarray:
    """No two spacings alike."""
    return LPS @ block_volume.affine_world @ np.diag([0.9, 1.0, 1.25, 1.0])


def rotation(x_deg: float, z_deg: float) -> np.ndarray:
    a, b = np.deg2rad([x_deg, z_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.block([[about_x @ about_z, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])


AXIAL, CORONAL, SAGITTAL = (0, 1, 2), (0, 2, 1), (1, 2, 0)


@pytest.mark.parametrize("axes", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("flips", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("tilt", [(0.0, 0.0), (12.0, -7.0)])
def test_any_orientation_gives_the_same_voxels_at_the_same_places(
    tmp_path: Path, block_volume: Volume, axes: tuple[int, ...], flips: tuple[int, ...], tilt: tuple[float, float]
) -> None:
    affine = rotation(*tilt) @ lps_affine(block_volume)
    values = block_volume.hounsfield.transpose(axes)
    stored = affine[:, [*axes, 3]].copy()
    for axis in flips:
        values = np.flip(values, axis)
        stored[:, 3] += stored[:, axis] * (values.shape[axis] - 1)
        stored[:, axis] *= -1
    loaded = load_volume(write_series(tmp_path / "ct", values, stored))
    np.testing.assert_array_equal(loaded.hounsfield, block_volume.hounsfield)
    np.testing.assert_allclose(loaded.affine_world, LPS @ affine, atol=1e-4)


def test_gantry_tilt_stays_in_the_affine(tmp_path: Path, block_volume: Volume, values: np.ndarray) -> None:
    affine = lps_affine(block_volume)
    affine[1, 2] = 2.0
    loaded = load_volume(write_series(tmp_path, values, affine))
    np.testing.assert_allclose(loaded.affine_world, LPS @ affine, atol=1e-4)


def test_the_real_chest_survives_a_round_trip_through_dicom(tmp_path: Path, chest_cache: Path) -> None:
    from loopwright.tools.carm.chest import load_chest

    volume = load_chest(chest_cache).volume
    small = np.maximum(volume.hounsfield[::8, ::8, ::4], -1024)
    affine = volume.affine_world @ np.diag([8, 8, 4, 1])
    loaded = load_volume(write_series(tmp_path, small, LPS @ affine))
    np.testing.assert_array_equal(loaded.hounsfield, small)
    np.testing.assert_allclose(loaded.affine_world, affine, atol=1e-4)


def test_other_files_are_passed_over(tmp_path: Path, block_volume: Volume, values: np.ndarray) -> None:
    write_series(tmp_path / "deep" / "deeper", values, lps_affine(block_volume))
    (tmp_path / "readme.txt").write_text("exported by hand")
    (tmp_path / "DICOMDIR").write_bytes(b"index")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "deep" / "deeper" / "._IM900").write_bytes(b"resource fork")
    assert load_volume(tmp_path).shape == block_volume.shape


def shift_z(mm: float) -> Edit:
    def edit(dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, z + mm]

    return edit


def set_to(**elements: object) -> Edit:
    def edit(dataset: Dataset) -> None:
        for name, value in elements.items():
            setattr(dataset, name, value)

    return edit


def cut_pixels(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:100]


def claim_jpeg2000(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    dataset.PixelData = encapsulate([b"no picture"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({5: shift_z(-10.0)}, "1 duplicate slice.*`IM89[56]` and `IM89[56]`"),
        ({5: shift_z(3.0)}, "unevenly spaced"),
        ({24: shift_z(20.0)}, "2 missing slice.*`IM877` and `IM876`"),
        ({5: set_to(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])}, "mixes slices: `IM895`"),
        ({5: set_to(PixelSpacing=[4, 4])}, "mixes slices: `IM895`"),
        ({5: set_to(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])}, "`IM895`.*right angles"),
        ({5: set_to(Modality="MR")}, "`IM895`.*'MR'"),
        ({5: set_to(RescaleSlope=None)}, "`IM895`.*lacks `RescaleSlope`"),
        ({5: set_to(ImagePositionPatient=None)}, "`IM895`.*lacks `ImagePositionPatient`"),
        ({5: set_to(ImagePositionPatient=[1, 2])}, "`IM895`.*damaged geometry"),
        ({5: set_to(NumberOfFrames=2)}, "`IM895`.*many frames"),
        ({5: cut_pixels}, "`IM895`.*cannot be read"),
        ({5: claim_jpeg2000}, "(?s)`IM895`.*decompress"),
        ({k: set_to(RescaleIntercept=0) for k in range(25)}, "rescale intercept"),
    ],
)
def test_series_that_will_not_do_are_refused_without_a_word_about_the_patient(
    tmp_path: Path,
    block_volume: Volume,
    values: np.ndarray,
    edit: dict[int, Edit],
    message: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_series(tmp_path, values, lps_affine(block_volume), edit)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(BadInput, match=message) as refused:
            load_volume(tmp_path)
    chain = [refused.value, refused.value.__cause__, refused.value.__context__, *(w.message for w in warned)]
    said = " ".join([*map(repr, chain), caplog.text, *capfd.readouterr()])
    for secret in (SECRET, *SECRET.split("^"), "19470311"):
        assert secret not in said


def test_damaged_patient_data_cannot_leak_through_a_warning(
    tmp_path: Path, block_volume: Volume, values: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """pydicom quotes values that break their type's rules, so such elements must never be parsed."""

    def damage(dataset: Dataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.PatientBirthDate, dataset.StudyInstanceUID = SECRET, SECRET

    write_series(tmp_path, values, lps_affine(block_volume), dict.fromkeys(range(25), damage))
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        load_volume(tmp_path)
    assert SECRET not in caplog.text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        str(pydicom.dcmread(next(tmp_path.iterdir())))
    assert SECRET in caplog.text, "the control: reading everything does leak"


def test_several_series_are_listed_and_refused(tmp_path: Path, block_volume: Volume, values: np.ndarray) -> None:
    for number in (3, 4):
        write_series(tmp_path / f"s{number}", values, lps_affine(block_volume), number=number)
    with pytest.raises(BadInput, match=r"2 series: series number 3 \(CT, 25 files of 30 x 20.*series number 4") as no:
        load_volume(tmp_path)
    assert SECRET not in str(no.value)
    shutil.rmtree(tmp_path / "s4")
    assert load_volume(tmp_path).shape == block_volume.shape


@pytest.mark.parametrize("name", ["IM{}", "{}.dcm", "slice-{}.ima", "1.2.840.{}"])
@pytest.mark.parametrize("which", [0, 12, 24])
@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "is empty, beside 24 slices"), (60, "is no DICOM file .60 bytes., beside 24 slices"), (132, "is no DICOM")],
)
def test_an_empty_or_cut_slice_is_named_wherever_it_lies(
    tmp_path: Path, block_volume: Volume, values: np.ndarray, name: str, which: int, n_bytes: int, said: str
) -> None:
    """At an end of the stack nothing else shows that a slice is gone."""
    write_series(tmp_path, values, lps_affine(block_volume))
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / name.format(path.name[2:]))
    damaged = tmp_path / name.format(900 - which)
    damaged.write_bytes(damaged.read_bytes()[:n_bytes])
    with pytest.raises(BadInput, match=rf"`{damaged.name}` in `.*` {said}.*Export it again"):
        load_volume(tmp_path)


def test_an_empty_file_of_any_name_is_named(tmp_path: Path, block_volume: Volume, values: np.ndarray) -> None:
    write_series(tmp_path, values, lps_affine(block_volume))
    (tmp_path / "last").touch()
    with pytest.raises(BadInput, match=r"`last` in .* is empty"):
        load_volume(tmp_path)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_series_without_file_meta_is_read(
    tmp_path: Path, block_volume: Volume, values: np.ndarray, implicit: bool
) -> None:
    write_series(tmp_path, values, lps_affine(block_volume))
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        body = io.BytesIO()
        del dataset.file_meta
        dataset.save_as(body, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        path.write_bytes(bytes(128) + b"DICM" + body.getvalue().removeprefix(bytes(128) + b"DICM"))
    np.testing.assert_array_equal(load_volume(tmp_path).hounsfield, block_volume.hounsfield)


def test_an_empty_folder_and_a_single_slice_are_refused(
    tmp_path: Path, block_volume: Volume, values: np.ndarray
) -> None:
    with pytest.raises(BadInput, match="no DICOM file"):
        load_volume(tmp_path)
    write_series(tmp_path, values[:, :, :1], lps_affine(block_volume))
    with pytest.raises(BadInput, match="single slice"):
        load_volume(tmp_path)


def test_the_reference_itself_is_a_legal_volume(block_volume: Volume) -> None:
    checked = checked_volume(block_volume.hounsfield, block_volume.affine_world, "block")
    np.testing.assert_array_equal(checked.hounsfield, block_volume.hounsfield)
