import json
from pathlib import Path

import numpy as np
import pytest
from nibabel.loadsave import save
from nibabel.nifti1 import Nifti1Image

from loopwright.errors import BadInput
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.sources import open_case
from loopwright.tools.carm.volume import Volume


@pytest.fixture
def file(tmp_path: Path, block_volume: Volume) -> Path:
    path = tmp_path / "patient one.nii.gz"
    save(Nifti1Image(block_volume.hounsfield, block_volume.affine_world), path)
    return path


def test_a_file_is_named_by_its_stem_and_brings_no_landmarks(file: Path) -> None:
    case = open_case(str(file))
    assert case.name == "patient one"
    assert dict(case.landmarks) == {}


def test_a_landmarks_file_gives_them(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"T1": [0, -30, -30]}))
    assert {n: p.tolist() for n, p in open_case(str(file), path).landmarks.items()} == {"T1": [0, -30, -30]}


def test_a_landmark_outside_the_volume_is_refused(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"T12": [0, 0, -900]}))
    with pytest.raises(BadInput, match=r"`T12` at .* outside the volume"):
        open_case(str(file), path)


def test_a_phantom_is_made_from_its_seed() -> None:
    case = open_case("phantom:3")
    assert case.name == "phantom-3"
    assert set(case.landmarks) <= set(LANDMARKS)
    low, high = case.volume.bounds_world
    assert all(((low <= p) & (p <= high)).all() for p in case.landmarks.values())


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", "²"])
def test_a_seed_that_is_no_whole_number_is_refused(seed: str) -> None:
    with pytest.raises(BadInput, match="whole number"):
        open_case(f"phantom:{seed}")


def test_what_names_nothing_is_answered_with_what_may_be_named() -> None:
    with pytest.raises(BadInput, match=r"`no-such\.nii`.*phantom:SEED.*chest"):
        open_case("no-such.nii")
    with pytest.raises(BadInput, match=r"`phantom`.*phantom:SEED"):
        open_case("phantom")


def test_a_chest_that_was_not_fetched_names_the_command() -> None:
    with pytest.raises(BadInput, match="loopwright data fetch chest"):
        open_case("chest")


def test_the_chest_opens_where_it_was_fetched(chest_cache: Path) -> None:
    assert np.isfinite(open_case("chest").landmarks["Carina"]).all()
