import numpy as np
import pytest

from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.phantom.anatomy import Anatomy, Arms, sample_anatomy

COARSE_MM = 4.0
POSTURES: tuple[Arms, ...] = ("crossed", "side", "raised")


@pytest.fixture(scope="module")
def whole() -> Case:
    return make_phantom(3, arms="crossed", truncated=False, voxel_mm=3.0)


@pytest.fixture(scope="module")
def people() -> list[Anatomy]:
    return [sample_anatomy(np.random.default_rng(seed), "crossed") for seed in range(400)]


def around(case: Case, name: str, radius_mm: float) -> np.ndarray:
    """Hounsfield units of the voxels within a radius of a landmark."""
    volume = case.volume
    low, high = (volume.to_voxel(case.landmarks[name] + sign * radius_mm) for sign in (-1, 1))
    box = tuple(slice(max(0, int(a)), int(b) + 2) for a, b in zip(low, high, strict=True))
    index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1)
    near = np.linalg.norm(volume.to_world(index) - case.landmarks[name], axis=-1) <= radius_mm
    return np.asarray(volume.hounsfield[box][near[tuple(slice(n) for n in volume.hounsfield[box].shape)]])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_person() -> None:
    first, again, other = (make_phantom(seed, voxel_mm=COARSE_MM) for seed in (11, 11, 12))
    assert first.volume.hounsfield.tobytes() == again.volume.hounsfield.tobytes()
    assert np.array_equal(first.volume.affine_world, again.volume.affine_world)
    assert all(np.array_equal(first.landmarks[name], again.landmarks[name]) for name in first.landmarks)
    assert first.volume.shape != other.volume.shape or (first.volume.hounsfield != other.volume.hounsfield).any()


def test_a_whole_phantom_has_all_landmarks_inside_and_hounsfield_units(whole: Case) -> None:
    assert set(whole.landmarks) == set(LANDMARKS)
    low, high = whole.volume.bounds_world
    assert all(((low < point) & (point < high)).all() for point in whole.landmarks.values())
    hounsfield = whole.volume.hounsfield
    assert hounsfield.dtype == np.int16
    assert -1024 <= hounsfield.min() <= -990
    assert 700 < hounsfield.max() <= 3071
    assert np.allclose(whole.volume.voxel_mm, 3.0)
    extent = high - low
    assert 560 < extent[0] < 720
    assert 200 < extent[1] < 420
    assert 480 < extent[2] < 760


@pytest.mark.parametrize("name", [n for n in LANDMARKS if "hemidiaphragm" not in n and n not in ("Skull", "Carina")])
def test_bony_landmarks_lie_in_or_at_bone(whole: Case, name: str) -> None:
    reach_mm = 27.0 if "humeral head" in name else 9.0  # its middle is spongy; compact bone begins at its surface
    assert (around(whole, name, reach_mm) > 200).mean() > 0.04


def test_soft_landmarks_lie_where_their_names_say(whole: Case) -> None:
    assert (around(whole, "Carina", 8.0) < -700).mean() > 0.1
    assert (around(whole, "Carina", 12.0) > -100).any()
    assert abs(np.median(around(whole, "Skull", 20.0)) - 38) < 40


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_a_hemidiaphragm_is_the_top_of_what_lies_under_the_lung(seed: int) -> None:
    """Going up from the landmark there is lung, going down there is none."""
    case = make_phantom(seed, arms="raised", truncated=True, voxel_mm=COARSE_MM)
    point = case.landmarks["Right hemidiaphragm"]
    above, below = (
        around(
            Case(name="probe", volume=case.volume, landmarks={"dome": point + np.array([0.0, 0.0, dz])}), "dome", 10.0
        )
        for dz in (16.0, -16.0)
    )
    assert np.percentile(above, 30) < -600
    assert np.median(below) > -150


def test_the_population_is_that_of_the_table(people: list[Anatomy]) -> None:
    for name, entry in ATLAS_OFFSETS_MM.items():
        if name == "T1":
            continue
        plane = np.array([[-p.landmarks[name][2], -p.landmarks[name][0]] for p in people])
        mean, sd = np.array([entry.caudal_mm, entry.left_mm]), np.array([entry.caudal_sd_mm, entry.left_sd_mm])
        error = np.abs(plane.mean(axis=0) - mean) / (sd / np.sqrt(len(people)))
        assert (error < 4).all(), (name, plane.mean(axis=0), mean)
        assert (np.abs(plane.std(axis=0) / sd - 1) < 0.25).all(), (name, plane.std(axis=0), sd)


@pytest.mark.parametrize("arms", POSTURES)
def test_skull_is_above_t1_above_the_carina_above_the_domes_above_t12(arms: Arms) -> None:
    for seed in range(200):
        z = {k: p[2] for k, p in sample_anatomy(np.random.default_rng(seed), arms).landmarks.items()}
        assert z["Skull"] > z["T1"] > z["Carina"]
        assert z["Carina"] > max(z["Right hemidiaphragm"], z["Left hemidiaphragm"])
        assert min(z["Right hemidiaphragm"], z["Left hemidiaphragm"]) > z["T12"]


def test_larger_people_are_larger_all_over(people: list[Anatomy]) -> None:
    t12 = [p.landmarks["T12"][2] for p in people]
    skull = [p.landmarks["Skull"][2] for p in people]
    domes = [[p.landmarks[f"{side} hemidiaphragm"][2] for p in people] for side in ("Right", "Left")]
    correlation = np.corrcoef(np.array([t12, skull, *domes]))
    assert correlation[0, 1] < -0.25
    assert correlation[2, 3] > 0.5


def test_postures_put_the_arms_where_their_names_say() -> None:
    crossed, side, raised = (sample_anatomy(np.random.default_rng(5), arms).landmarks for arms in POSTURES)
    for hand in ("Right", "Left"):
        assert raised[f"{hand} elbow"][2] > raised["T1"][2] > crossed[f"{hand} elbow"][2]
        assert side[f"{hand} wrist"][2] < crossed[f"{hand} wrist"][2]
        assert crossed[f"{hand} wrist"][1] > crossed["T1"][1] + 30


def test_truncation_drops_exactly_the_landmarks_outside() -> None:
    cut = make_phantom(8, arms="raised", truncated=True, voxel_mm=COARSE_MM)
    whole = make_phantom(8, arms="raised", truncated=False, voxel_mm=COARSE_MM)
    assert set(whole.landmarks) == set(LANDMARKS)
    assert {"T1", "Carina"} <= set(cut.landmarks) < set(LANDMARKS)
    assert "Skull" not in cut.landmarks
    low, high = cut.volume.bounds_world
    assert all(((low <= point) & (point <= high)).all() for point in cut.landmarks.values())
    assert cut.volume.shape[2] < whole.volume.shape[2]


def test_one_real_patient_with_raised_arms_is_a_plausible_member() -> None:
    """Offsets from T1 (left, caudal) mm of LIDC-IDRI-0001; checked, never fitted."""
    real = {
        "Right humeral head": (-126, 0),
        "Left humeral head": (129, -11),
        "Right scapular inferior angle": (-106, 148),
        "Left scapular inferior angle": (117, 125),
        "Carina": (2, 89),
        "Right hemidiaphragm": (-44, 150),
        "Left hemidiaphragm": (94, 180),
        "T12": (21, 229),
    }
    people = [sample_anatomy(np.random.default_rng(seed), "raised").landmarks for seed in range(300)]
    for name, offset in real.items():
        plane = np.array([[-p[name][0], -p[name][2]] for p in people])
        assert (np.abs(plane.mean(axis=0) - offset) < 2 * plane.std(axis=0) + 1).all(), name
