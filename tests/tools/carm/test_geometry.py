"""The geometry's laws, over all poses."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loopwright.tools.carm.geometry import (
    Optics,
    Pose,
    in_plane_offset_mm,
    project_to_image,
    source_world,
    view_axes,
)

OPTICS = Optics()
mm = st.floats(-300, 300)
poses = st.builds(Pose, x_mm=mm, y_mm=mm, z_mm=mm, alpha_deg=st.floats(-180, 180), beta_deg=st.floats(-90, 90))
points = st.tuples(mm, mm, mm).map(np.array)


@settings(deadline=None)
@given(pose=poses)
def test_axes_are_orthonormal_and_right_handed(pose: Pose) -> None:
    axes = np.stack(view_axes(pose))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_ap_view_is_seen_from_the_front() -> None:
    u, v, forward = view_axes(Pose(x_mm=0, y_mm=0, z_mm=0))
    np.testing.assert_allclose([u, v, forward], [[-1, 0, 0], [0, 0, -1], [0, -1, 0]], atol=1e-15)


@pytest.mark.parametrize(
    ("alpha_deg", "beta_deg", "towards"),
    [(90, 0, (-1, 0, 0)), (-90, 0, (1, 0, 0)), (180, 0, (0, 1, 0)), (0, 90, (0, 0, 1)), (0, -90, (0, 0, -1))],
)
def test_positive_angles_swing_the_detector_to_the_left_and_to_the_head(
    alpha_deg: float, beta_deg: float, towards: tuple[float, ...]
) -> None:
    forward = view_axes(Pose(x_mm=0, y_mm=0, z_mm=0, alpha_deg=alpha_deg, beta_deg=beta_deg)).forward
    np.testing.assert_allclose(forward, towards, atol=1e-15)


@settings(deadline=None)
@given(pose=poses)
def test_the_source_lies_behind_the_isocentre_on_the_central_ray(pose: Pose) -> None:
    central = pose.isocentre_world - source_world(pose, OPTICS)
    np.testing.assert_allclose(central, OPTICS.source_isocentre_mm * view_axes(pose).forward, atol=1e-9)


@settings(deadline=None)
@given(pose=poses, size_px=st.integers(1, 2048))
def test_the_isocentre_lands_in_the_middle(pose: Pose, size_px: int) -> None:
    np.testing.assert_allclose(project_to_image(pose.isocentre_world, pose, OPTICS, size_px), size_px / 2, atol=1e-6)


@settings(deadline=None)
@given(pose=poses, size_px=st.integers(1, 2048))
def test_the_field_of_view_spans_the_picture(pose: Pose, size_px: int) -> None:
    axes, half = view_axes(pose), OPTICS.field_of_view_mm / 2
    corner = pose.isocentre_world + half * (axes.u + axes.v)
    np.testing.assert_allclose(project_to_image(corner, pose, OPTICS, size_px), size_px, atol=1e-6)


@settings(deadline=None)
@given(pose=poses, depth_mm=st.floats(-400, 400), aside_mm=st.floats(-60, 60))
def test_magnification_grows_towards_the_source(pose: Pose, depth_mm: float, aside_mm: float) -> None:
    axes = view_axes(pose)
    point = pose.isocentre_world + depth_mm * axes.forward + aside_mm * axes.u
    u, v = project_to_image(point, pose, OPTICS, 256) - 128
    magnification = OPTICS.source_detector_mm / (OPTICS.source_isocentre_mm + depth_mm)
    assert u * OPTICS.pixel_mm(256) == pytest.approx(aside_mm * magnification, abs=1e-6)
    assert v == pytest.approx(0, abs=1e-6)


@settings(deadline=None)
@given(pose=poses, behind_mm=st.floats(0.001, 500))
def test_a_point_behind_the_source_has_no_image(pose: Pose, behind_mm: float) -> None:
    point = source_world(pose, OPTICS) - behind_mm * view_axes(pose).forward
    assert np.isnan(project_to_image(point, pose, OPTICS, 256)).all()


@pytest.mark.parametrize(
    ("motion", "moved_world"),
    [({"left_mm": 20}, (-20, 0, 0)), ({"caudal_mm": 20}, (0, 0, -20)), ({"anterior_mm": 20}, (0, 20, 0))],
)
def test_motions_are_the_patients_directions(motion: dict[str, float], moved_world: tuple[float, ...]) -> None:
    moved = Pose(x_mm=0, y_mm=0, z_mm=0).moved(**motion)
    np.testing.assert_allclose(moved.isocentre_world, moved_world)


def test_moving_the_view_left_moves_the_patient_right_in_the_picture() -> None:
    pose, marker = Pose(x_mm=0, y_mm=0, z_mm=0), np.zeros(3)
    before = project_to_image(marker, pose, OPTICS, 256)
    after = project_to_image(marker, pose.moved(left_mm=20, caudal_mm=10), OPTICS, 256)
    assert after[0] < before[0]
    assert after[1] < before[1]


@settings(deadline=None)
@given(pose=poses, motion=st.tuples(mm, mm, mm, st.floats(-45, 45), st.floats(-45, 45)))
def test_a_motion_and_its_opposite_cancel(pose: Pose, motion: tuple[float, ...]) -> None:
    names = ("left_mm", "caudal_mm", "anterior_mm", "alpha_deg", "beta_deg")
    forth: dict[str, Any] = dict(zip(names, motion, strict=True))
    back: dict[str, Any] = {name: -value for name, value in forth.items()}
    again = pose.moved(**forth).moved(**back)
    np.testing.assert_allclose(list(again.model_dump().values()), list(pose.model_dump().values()), atol=1e-9)


@settings(deadline=None)
@given(pose=poses, point=points)
def test_moving_the_isocentre_by_the_offset_centres_the_point(pose: Pose, point: np.ndarray) -> None:
    axes = view_axes(pose)
    right_mm, down_mm = in_plane_offset_mm(point, pose)
    x_mm, y_mm, z_mm = pose.isocentre_world + right_mm * axes.u + down_mm * axes.v
    centred = pose.model_copy(update={"x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm})
    np.testing.assert_allclose(in_plane_offset_mm(point, centred), 0, atol=1e-9)
    if (point - source_world(centred, OPTICS)) @ axes.forward > 1:
        np.testing.assert_allclose(project_to_image(point, centred, OPTICS, 256), 128, atol=1e-6)


@settings(deadline=None)
@given(x_mm=mm, y_mm=mm, z_mm=mm, point=points)
def test_in_the_ap_view_the_offset_is_left_and_caudal(x_mm: float, y_mm: float, z_mm: float, point: np.ndarray) -> None:
    pose = Pose(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm)
    left_mm, caudal_mm = in_plane_offset_mm(point, pose)
    moved = pose.moved(left_mm=left_mm, caudal_mm=caudal_mm)
    np.testing.assert_allclose([moved.x_mm, moved.z_mm], [point[0], point[2]], atol=1e-9)


@settings(deadline=None)
@given(pose=poses, point=points, along_mm=st.floats(-500, 500))
def test_depth_does_not_count_in_the_offset(pose: Pose, point: np.ndarray, along_mm: float) -> None:
    deeper = point + along_mm * view_axes(pose).forward
    np.testing.assert_allclose(in_plane_offset_mm(deeper, pose), in_plane_offset_mm(point, pose), atol=1e-9)


def test_the_default_optics_are_those_of_the_mobile_c_arm() -> None:
    assert OPTICS.field_of_view_mm == pytest.approx(154.8, abs=0.05)
    assert OPTICS.pixel_mm(1536) == pytest.approx(0.194)


def test_an_isocentre_beyond_the_detector_is_refused() -> None:
    with pytest.raises(ValidationError, match="source_isocentre_mm"):
        Optics(source_detector_mm=500, source_isocentre_mm=500)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_pose_is_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="x_mm"):
        Pose(x_mm=value, y_mm=0, z_mm=0)
