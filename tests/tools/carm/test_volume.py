import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.loadsave import save as save_image
from nibabel.nifti1 import Nifti1Header, Nifti1Image, Nifti1Pair
from nibabel.spm2analyze import Spm2AnalyzeImage

from loopwright.errors import BadInput
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.volume import Volume, checked_volume
from loopwright.tools.carm.volume_files import load_volume


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    save_image(Nifti1Image(values, affine), path)
    return path


def test_a_nifti_file_comes_back_as_it_was_written(tmp_path: Path, block_volume: Volume) -> None:
    loaded = load_volume(save(tmp_path / "ct.nii.gz", block_volume.hounsfield, block_volume.affine_world))
    np.testing.assert_array_equal(loaded.hounsfield, block_volume.hounsfield)
    np.testing.assert_allclose(loaded.affine_world, block_volume.affine_world)
    assert loaded.hounsfield.dtype == np.int16
    assert loaded.name.endswith("ct.nii.gz")


def test_scaled_values_are_rounded_to_hounsfield_units(tmp_path: Path, block_volume: Volume) -> None:
    shifted = block_volume.hounsfield.astype(np.float32) + 0.3
    loaded = load_volume(save(tmp_path / "ct.nii", shifted, block_volume.affine_world))
    np.testing.assert_array_equal(loaded.hounsfield, block_volume.hounsfield)


@settings(deadline=None)
@given(order=st.permutations([0, 1, 2]), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3), tilt_deg=st.floats(-15, 15))
def test_any_orientation_puts_every_voxel_at_its_place(
    block_volume: Volume, order: list[int], signs: tuple[int, ...], tilt_deg: float
) -> None:
    """Stored in any axis order and direction, and oblique, a voxel keeps its value and its place in the patient."""
    a = np.deg2rad(tilt_deg)
    oblique = np.eye(4)
    oblique[1:3, 1:3] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    affine = oblique @ block_volume.affine_world
    to_stored = np.stack([*order, *signs]).reshape(2, 3).T[np.argsort(order)].astype(float)
    stored = nib.orientations.apply_orientation(block_volume.hounsfield, to_stored)
    stored_affine = affine @ nib.orientations.inv_ornt_aff(to_stored, block_volume.shape)
    volume = checked_volume(stored, stored_affine, "ct")
    np.testing.assert_array_equal(volume.hounsfield, block_volume.hounsfield)
    np.testing.assert_allclose(volume.affine_world, affine, atol=1e-9)


@settings(deadline=None)
@given(point=st.tuples(*[st.floats(-500, 500)] * 3))
def test_voxel_and_world_are_inverse(block_volume: Volume, point: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(block_volume.to_world(block_volume.to_voxel(point)), point, atol=1e-9)


def test_bounds_are_the_outer_faces(block_volume: Volume) -> None:
    np.testing.assert_allclose(block_volume.bounds_world, [[-124, -74, -204], [116, 86, -4]])
    np.testing.assert_allclose(block_volume.voxel_mm, [8, 8, 8])


def test_the_mid_coronal_plane_halves_the_body_and_a_table_hardly_moves_it(block_volume: Volume) -> None:
    middle_mm = -70 + 8 * (5 + 15) / 2
    assert block_volume.mid_coronal_y_mm == pytest.approx(middle_mm, abs=5)
    with_table = block_volume.hounsfield.copy()
    with_table[2:28, 1, :] = -400
    tabled = Volume(hounsfield=with_table, affine_world=block_volume.affine_world, name="tabled")
    assert tabled.mid_coronal_y_mm == pytest.approx(middle_mm, abs=8)


def test_the_chest_lies_on_a_table_and_its_middle_is_that_of_the_trunk(chest: Case) -> None:
    spine_y_mm = chest.landmarks["T12"][1]
    assert spine_y_mm + 20 < chest.volume.mid_coronal_y_mm < spine_y_mm + 90


BLOCK = np.full((12, 12, 12), -1000, dtype=np.float32)
BLOCK[3:9, 3:9, 3:9] = 600
AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])


def with_nan() -> np.ndarray:
    values = BLOCK.copy()
    values[0, 0, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("values", "affine", "message"),
    [
        (BLOCK[0], AFFINE, "three axes"),
        (np.stack([BLOCK, BLOCK], axis=3), AFFINE, "three axes"),
        (np.clip(BLOCK, 0, 255), AFFINE, "8-bit export, an MRI"),
        (BLOCK + 1024, AFFINE, "rescale intercept"),
        (BLOCK * 100, AFFINE, "Hounsfield"),
        (with_nan(), AFFINE, "NaN"),
        (np.minimum(BLOCK, 150), AFFINE, "without bone"),
        (BLOCK, np.diag([0.01, 10, 10, 1]), "metres or micrometres"),
        (BLOCK, np.diag([10, 10, 10_000, 1]), "metres or micrometres"),
        (BLOCK, np.array([[10, 10, 0, 0], [0, 0, 0, 0], [0, 0, 10, 0], [0, 0, 0, 1.0]]), "singular"),
        (BLOCK, np.diag([np.inf, 10, 10, 1]), "finite"),
    ],
)
def test_what_is_no_ct_of_bones_is_refused(values: np.ndarray, affine: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        checked_volume(values, affine, "ct.nii.gz")
    assert "`ct.nii.gz`" in str(refused.value)


def test_the_control_of_the_refusals_is_accepted() -> None:
    assert checked_volume(BLOCK, AFFINE, "ct").hounsfield.max() == 600


def test_a_single_volume_with_a_time_axis_is_accepted(tmp_path: Path) -> None:
    assert load_volume(save(tmp_path / "ct.nii", BLOCK[..., None], AFFINE)).shape == (12, 12, 12)


def test_missing_corrupt_and_truncated_files_are_named(tmp_path: Path, block_volume: Volume) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.nii"):
        load_volume(tmp_path / "nowhere.nii")
    (tmp_path / "text.nii").write_text("not an image")
    with pytest.raises(BadInput, match=r"text\.nii. is not a NIfTI"):
        load_volume(tmp_path / "text.nii")
    whole = save(tmp_path / "ct.nii.gz", block_volume.hounsfield, block_volume.affine_world).read_bytes()
    for name, content in (
        ("cut.nii.gz", whole[: len(whole) // 2]),
        ("unpacked-cut.nii", gzip.decompress(whole)[:4000]),
        ("scrambled.nii.gz", whole[:600] + bytes(50) + whole[650:]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=f"{name}. is corrupt or cut short"):
            load_volume(tmp_path / name)


def coded(volume: Volume, sform: tuple[np.ndarray, int], qform: tuple[np.ndarray, int]) -> Nifti1Image:
    header = Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_sform(sform[0], sform[1])
    header.set_qform(qform[0], qform[1])
    return Nifti1Image(volume.hounsfield, None, header)


def moved(affine: np.ndarray, x_mm: float) -> np.ndarray:
    there = affine.copy()
    there[0, 3] += x_mm
    return there


MIRROR = np.diag([-1.0, 1, 1, 1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (0, 9), (-1, 0)])
def test_an_orientation_that_is_not_stated_is_refused(
    tmp_path: Path, block_volume: Volume, sform: int, qform: int, suffix: str
) -> None:
    path = write_header(tmp_path / f"ct{suffix}", block_volume, sform_code=sform, qform_code=qform)
    said = rf"ct{suffix}` states no orientation \(`sform_code` = {sform}, `qform_code` = {qform}; .*dcm2niix.*set_sform"
    with pytest.raises(BadInput, match=said):
        load_volume(path)


def write_header(path: Path, volume: Volume, **fields: object) -> Path:
    """A file whose header says what no writer of nibabel's would."""
    save(path, volume.hounsfield, volume.affine_world)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        data = file.read()
    header = Nifti1Image.header_class(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    with opened(path, "wb") as file:
        file.write(header.binaryblock + data[348:])
    return path


def test_analyze_states_no_side_and_is_refused(tmp_path: Path, block_volume: Volume) -> None:
    save_image(Spm2AnalyzeImage(block_volume.hounsfield, block_volume.affine_world), tmp_path / "ct.img")
    for name in ("ct.img", "ct.hdr"):
        with pytest.raises(BadInput, match=rf"{name}` is a Spm2AnalyzeImage; expected NIfTI, which states .*left"):
            load_volume(tmp_path / name)


@pytest.mark.parametrize("change", [MIRROR, np.diag([1.0, -1, -1, 1]), np.eye(4)[[1, 0, 2, 3]]])
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 1)])
def test_an_orientation_that_contradicts_itself_is_refused(
    tmp_path: Path, block_volume: Volume, change: np.ndarray, codes: tuple[int, int]
) -> None:
    affine = block_volume.affine_world
    save_image(coded(block_volume, (affine, codes[0]), (change @ affine, codes[1])), tmp_path / "ct.nii")
    with pytest.raises(BadInput, match=r"ct\.nii` contradicts itself: sform \(axes RAS\) and qform .* mm apart"):
        load_volume(tmp_path / "ct.nii")


@pytest.mark.parametrize(
    ("x_mm", "refused"),
    [(0.0, False), (1.5, False), (2.5, True), (-40.0, True)],
)
def test_sform_and_qform_may_differ_by_rounding_alone(
    tmp_path: Path, block_volume: Volume, x_mm: float, refused: bool
) -> None:
    affine = block_volume.affine_world
    save_image(coded(block_volume, (affine, 1), (moved(affine, x_mm), 1)), tmp_path / "ct.nii")
    if refused:
        with pytest.raises(BadInput, match="contradicts itself"):
            load_volume(tmp_path / "ct.nii")
    else:
        np.testing.assert_allclose(load_volume(tmp_path / "ct.nii").affine_world, affine)


def test_a_tilted_gantry_is_no_contradiction(tmp_path: Path, block_volume: Volume) -> None:
    """A qform holds no shear, so writers store the nearest affine without one beside the sform."""
    tilted = block_volume.affine_world.copy()
    tilted[1, 2] = 2.0
    save_image(coded(block_volume, (tilted, 1), (tilted, 1)), tmp_path / "ct.nii")
    np.testing.assert_allclose(load_volume(tmp_path / "ct.nii").affine_world, tilted)


def test_either_form_alone_states_the_orientation(tmp_path: Path, block_volume: Volume) -> None:
    affine = block_volume.affine_world
    for name, sform, qform in (("s", 1, 0), ("q", 0, 1)):
        image = coded(block_volume, (affine if sform else np.eye(4), sform), (affine if qform else np.eye(4), qform))
        save_image(image, tmp_path / f"{name}.nii")
        loaded = load_volume(tmp_path / f"{name}.nii")
        np.testing.assert_allclose(loaded.affine_world, affine, atol=1e-4)
        np.testing.assert_array_equal(loaded.hounsfield, block_volume.hounsfield)


def test_voxels_without_a_size_are_refused_where_the_qform_needs_it(tmp_path: Path, block_volume: Volume) -> None:
    zero = {"pixdim": [1, 8, 8, 0, 1, 1, 1, 1]}
    path = write_header(tmp_path / "q.nii", block_volume, sform_code=0, qform_code=1, **zero)
    with pytest.raises(BadInput, match=r"q\.nii` has voxels of \[8.0, 8.0, 0.0\] mm \(`pixdim`\)"):
        load_volume(path)
    loaded = load_volume(write_header(tmp_path / "s.nii", block_volume, **zero))
    np.testing.assert_allclose(loaded.affine_world, block_volume.affine_world)


@pytest.mark.parametrize("pair", [False, True], ids=["one file", "header and voxels"])
def test_gzip_whose_checksum_or_length_is_wrong_is_refused(tmp_path: Path, block_volume: Volume, pair: bool) -> None:
    """Stored deflate blocks decode whatever was damaged in them: only the trailer shows it."""
    path = tmp_path / ("ct.img.gz" if pair else "ct.nii.gz")
    values, affine = block_volume.hounsfield, block_volume.affine_world
    save_image(Nifti1Pair(values, affine) if pair else Nifti1Image(values, affine), path)
    content = gzip.decompress(path.read_bytes())
    whole = gzip.compress(content, compresslevel=0)
    path.write_bytes(whole)
    np.testing.assert_array_equal(load_volume(path).hounsfield, block_volume.hounsfield)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:-8] + bytes(4) + whole[-4:], whole[:-1] + b"\1", whole[:-8]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=rf"{path.name}` is corrupt or cut short"):
            load_volume(path)


def _stated(shape: tuple[int, ...]) -> bytes:
    """A whole small file whose header states another shape."""
    content = bytearray(Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    content[40 : 42 + 2 * len(shape)] = np.array([len(shape), *shape], "<i2").tobytes()
    return bytes(content)


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (4, -4, 4), (0, 4, 4), (1250, 1250, 1250)])
def test_a_header_that_states_absurd_voxels_is_refused_unread(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "lies.nii"
    path.write_bytes(_stated(shape))
    with pytest.raises(BadInput, match=r"lies\.nii` states .* voxels; expected 1 or more along each axis"):
        load_volume(path)


def test_a_file_that_unpacks_to_more_than_it_states_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(_stated((4, 4, 4)))
        for _ in range(65):
            file.write(bytes(1 << 20))
    with pytest.raises(BadInput, match=r"bomb\.nii\.gz` holds more than 67,\d+,\d+ bytes once unpacked"):
        load_volume(path)


@pytest.mark.parametrize("offset", [1e30, float("nan")])
def test_voxels_at_an_absurd_offset_are_refused(tmp_path: Path, offset: float) -> None:
    path = tmp_path / "far.nii"
    content = bytearray(_stated((4, 4, 4)))
    content[108:112] = np.array([offset], "<f4").tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"far\.nii` is corrupt or cut short"):
        load_volume(path)
