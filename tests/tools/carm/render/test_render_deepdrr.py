"""The pipe to DeepDRR, with a real process at the other end, and our matrices against DeepDRR's own convention.

DeepDRR itself needs CUDA and is not run here.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loopwright.errors import MissingDependency, OperatorError
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Array, Optics, Pose, project_to_image
from loopwright.tools.carm.render import make_renderer
from loopwright.tools.carm.render.deepdrr import DeepDRRRenderer, set_up
from loopwright.tools.carm.render.deepdrr.renderer import camera_from_world
from loopwright.tools.carm.volume import Volume

OPTICS = Optics()
STAND_IN = Path(__file__).with_name("deepdrr_stand_in.py")
CENTRED = Pose(x_mm=0, y_mm=0, z_mm=0)


@pytest.fixture(scope="module")
def marker() -> Volume:
    """One dense voxel, 30 mm to the patient's left and 20 mm caudal of the origin."""
    hounsfield = np.full((5, 5, 5), -1000, dtype=np.int16)
    hounsfield[2, 2, 2] = 1000
    affine = np.eye(4)
    affine[:3, 3] = [-32, -2, -22]
    return Volume(hounsfield=hounsfield, affine_world=affine, name="marker")


@pytest.fixture
def renderer(marker: Volume) -> Iterator[DeepDRRRenderer]:
    worker = DeepDRRRenderer(marker, OPTICS, Path(sys.executable), STAND_IN)
    yield worker
    worker.close()


def test_a_picture_comes_through_the_pipe(renderer: DeepDRRRenderer) -> None:
    for pose in (CENTRED, CENTRED.moved(left_mm=20, alpha_deg=30, beta_deg=-20)):
        image = renderer.render(pose, 64)
        row, column = np.unravel_index(image.argmax(), image.shape)
        assert image.dtype == np.float32
        assert image.sum() == pytest.approx(2000)
        np.testing.assert_allclose(
            [column + 0.5, row + 0.5], project_to_image([-30, 0, -20], pose, OPTICS, 64), atol=0.5
        )


def test_an_error_in_the_worker_is_told_and_the_worker_lives_on(renderer: DeepDRRRenderer) -> None:
    with pytest.raises(OperatorError, match="RuntimeError: CUDA out of memory"):
        renderer.render(CENTRED, 13)
    assert renderer.render(CENTRED, 64).any()


def test_a_worker_that_dies_is_reported_with_its_last_words(renderer: DeepDRRRenderer) -> None:
    with pytest.raises(OperatorError, match="the driver is gone"):
        renderer.render(CENTRED, 14)
    with pytest.raises(OperatorError, match="ended"):
        renderer.render(CENTRED, 64)


def test_a_worker_that_hangs_is_killed(marker: Volume) -> None:
    renderer = DeepDRRRenderer(marker, OPTICS, Path(sys.executable), STAND_IN, timeout_s=20)
    renderer._timeout_s = 0.5
    began = time.monotonic()
    with pytest.raises(OperatorError, match=r"said nothing for 0\.5 s"):
        renderer.render(CENTRED, 15)
    renderer.close()
    assert time.monotonic() - began < 20


def test_closing_ends_the_worker(marker: Volume) -> None:
    renderer = DeepDRRRenderer(marker, OPTICS, Path(sys.executable), STAND_IN)
    renderer.close()
    renderer.close()
    assert renderer._process.returncode == 0


def test_an_environment_without_deepdrr_names_the_repair(marker: Volume) -> None:
    with pytest.raises(MissingDependency, match=r"(?s)does not work here: .*Error.*loopwright doctor --setup deepdrr"):
        DeepDRRRenderer(marker, OPTICS, Path(sys.executable))


def test_no_environment_names_the_repair(marker: Volume, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"`carm.deepdrr_python`.*loopwright doctor --setup deepdrr"):
        make_renderer("deepdrr", marker, OPTICS)
    monkeypatch.setenv("LOOPWRIGHT_CARM__DEEPDRR_PYTHON", str(tmp_path / "python"))
    settings.cache_clear()
    with pytest.raises(MissingDependency, match="which is not there"):
        make_renderer("deepdrr", marker, OPTICS)


def test_setting_up_without_a_gpu_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="`nvidia-smi` is not on the PATH"):
        set_up(tmp_path / "environment", print)
    assert not (tmp_path / "environment").exists()


def _about(axis: int, angle_rad: float) -> Array:
    """(3, 3) rotation about x, y or z."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[[i, j], [i, j]] = np.cos(angle_rad)
    rotation[j, i], rotation[i, j] = np.sin(angle_rad), -np.sin(angle_rad)
    return rotation


def _mobile_c_arm(alpha_rad: float, beta_rad: float, gamma_rad: float, isocentre_device: Array) -> Array:
    """(4, 4) `camera3d_from_device` of deepdrr 1.2.2, device/mobile_carm.py, from its formulas.

    `device_from_arm` turns about x by alpha, then about the fixed y by beta (SciPy's `from_euler("xy")`), then moves to
    the isocentre; `camera3d_from_arm` moves by the source's 530 mm along z and turns by 90 degrees about z
    (`rotate_camera_left`); gamma turns about the central ray.
    """
    arm = np.eye(4)
    arm[:3, :3] = _about(1, beta_rad) @ _about(0, alpha_rad)
    arm[:3, 3] = isocentre_device
    away = np.eye(4)
    away[2, 3] = OPTICS.source_isocentre_mm
    turn = np.eye(4)
    turn[:3, :3] = _about(2, gamma_rad) @ _about(2, np.pi / 2)
    return np.asarray(turn @ away @ np.linalg.inv(arm))


DEVICE_FROM_WORLD = np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
"""The device stands so that its x is caudal, its y the patient's right and its z posterior: AP at alpha = beta = 0."""


def _matching_angles_rad(pose: Pose) -> tuple[float, float, float]:
    """MobileCArm's alpha, beta and gamma for our pose."""
    alpha, beta = np.deg2rad(pose.alpha_deg), np.deg2rad(pose.beta_deg)
    arm_alpha = np.arcsin(np.cos(beta) * np.sin(alpha))
    arm_beta = np.arctan2(-np.sin(beta), np.cos(beta) * np.cos(alpha))
    unturned = _mobile_c_arm(arm_alpha, arm_beta, 0.0, np.zeros(3))[:3, :3] @ DEVICE_FROM_WORLD[:3, :3]
    turn = camera_from_world(pose, OPTICS)[:3, :3] @ unturned.T
    return float(arm_alpha), float(arm_beta), float(np.arctan2(turn[1, 0], turn[0, 0]))


mm = st.floats(-300, 300)


@hypothesis_settings(deadline=None)
@given(x_mm=mm, y_mm=mm, z_mm=mm, alpha_deg=st.floats(-40, 110), beta_deg=st.floats(-45, 45))
def test_every_pose_is_one_of_the_mobile_c_arm(
    x_mm: float, y_mm: float, z_mm: float, alpha_deg: float, beta_deg: float
) -> None:
    pose = Pose(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm, alpha_deg=alpha_deg, beta_deg=beta_deg)
    isocentre_device = DEVICE_FROM_WORLD[:3, :3] @ pose.isocentre_world
    theirs = _mobile_c_arm(*_matching_angles_rad(pose), isocentre_device) @ DEVICE_FROM_WORLD
    np.testing.assert_allclose(camera_from_world(pose, OPTICS), theirs, atol=1e-6)


@pytest.mark.parametrize(("alpha_deg", "beta_deg"), [(0, 0), (-40, 0), (110, 0), (0, 45), (0, -45)])
def test_about_one_axis_the_angles_are_the_mobile_c_arms_own(alpha_deg: float, beta_deg: float) -> None:
    """Alpha is theirs; beta has the other sign; nothing turns about the central ray."""
    pose = CENTRED.moved(alpha_deg=alpha_deg, beta_deg=beta_deg)
    theirs = _mobile_c_arm(np.deg2rad(alpha_deg), np.deg2rad(-beta_deg), 0.0, np.zeros(3)) @ DEVICE_FROM_WORLD
    np.testing.assert_allclose(camera_from_world(pose, OPTICS), theirs, atol=1e-9)


@hypothesis_settings(deadline=None)
@given(alpha_deg=st.floats(-40, 110), beta_deg=st.floats(-45, 45), point=st.tuples(mm, mm, mm))
def test_markers_land_where_deepdrrs_projection_matrix_puts_them(
    alpha_deg: float, beta_deg: float, point: tuple[float, ...]
) -> None:
    """`index_from_world` = intrinsics (focal length in px, centre N / 2) times the camera's transform."""
    pose, size_px = CENTRED.moved(alpha_deg=alpha_deg, beta_deg=beta_deg), 1536
    focal_px = 1020 / 0.194
    intrinsic: NDArray[np.float64] = np.array([[focal_px, 0, 768], [0, focal_px, 768], [0, 0, 1]])
    index = intrinsic @ (camera_from_world(pose, OPTICS) @ [*point, 1.0])[:3]
    np.testing.assert_allclose(index[:2] / index[2], project_to_image(point, pose, OPTICS, size_px), atol=1e-6)


def test_the_worker_knows_nothing_of_us() -> None:
    text = Path(sys.modules["loopwright.tools.carm.render.deepdrr.worker"].__file__ or "").read_text()
    imported = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imported if "loopwright" in line]
