"""Every renderer draws a marker where the projection equations say, through any pose and any affine."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loopwright.tools.carm.geometry import Array, Optics, Pose, project_to_image, view_axes
from loopwright.tools.carm.render import Renderer, make_renderer
from loopwright.tools.carm.volume import Volume

OPTICS = Optics()
SIZE_PX = 160

Ball = Callable[..., Volume]


class Scene(NamedTuple):
    """A marker somewhere in a volume that lies anyhow, and where the C-arm stands to it."""

    angles_rad: tuple[float, float, float]
    voxel_mm: tuple[float, float, float]
    marker_voxel: tuple[float, float, float]
    alpha_deg: float
    beta_deg: float
    right_mm: float
    down_mm: float
    deep_mm: float


def _three(low: float, high: float) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(st.floats(low, high), st.floats(low, high), st.floats(low, high))


scenes = st.builds(
    Scene,
    angles_rad=_three(-np.pi, np.pi),
    voxel_mm=_three(0.8, 2.5),
    marker_voxel=_three(12, 19),
    alpha_deg=st.floats(-180, 180),
    beta_deg=st.floats(-90, 90),
    right_mm=st.floats(-55, 55),
    down_mm=st.floats(-55, 55),
    deep_mm=st.floats(-100, 100),
)


def _oblique_affine(scene: Scene) -> Array:
    a, b, c = scene.angles_rad
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_y @ about_x * scene.voxel_mm
    affine[:3, 3] = [30, -20, 10]
    return affine


def _pose_towards(marker_world: Array, scene: Scene) -> Pose:
    """The marker appears `right_mm` and `down_mm` aside of the central ray, `deep_mm` behind the isocentre."""
    axes = view_axes(Pose(x_mm=0, y_mm=0, z_mm=0, alpha_deg=scene.alpha_deg, beta_deg=scene.beta_deg))
    x, y, z = marker_world - scene.right_mm * axes.u - scene.down_mm * axes.v - scene.deep_mm * axes.forward
    return Pose(x_mm=x, y_mm=y, z_mm=z, alpha_deg=scene.alpha_deg, beta_deg=scene.beta_deg)


def _centroid(image: NDArray[np.float32]) -> Array:
    """(u, v) px of the mass in the picture."""
    centres = np.arange(len(image)) + 0.5
    return np.asarray([image.sum(axis=0) @ centres, image.sum(axis=1) @ centres] / image.sum())


def _check(renderer_name: str, scene: Scene, ball: Ball) -> None:
    affine = _oblique_affine(scene)
    marker_world = affine[:3, :3] @ scene.marker_voxel + affine[:3, 3]
    volume = ball(affine, marker_world, radius_mm=4, edge_mm=6, hounsfield=2000, edge=32)
    pose = _pose_towards(marker_world, scene)
    image = make_renderer(renderer_name, volume, OPTICS).render(pose, SIZE_PX)
    expected = project_to_image(marker_world, pose, OPTICS, SIZE_PX)
    np.testing.assert_allclose(_centroid(image), expected, atol=0.5)


@settings(max_examples=40, deadline=None)
@given(scene=scenes)
def test_numba_draws_a_marker_where_the_equations_say(ball: Ball, scene: Scene) -> None:
    _check("numba", scene, ball)


@settings(max_examples=15, deadline=None)
@given(scene=scenes)
def test_nanodrr_draws_a_marker_where_the_equations_say(ball: Ball, scene: Scene) -> None:
    pytest.importorskip("nanodrr", reason="the extra `nanodrr` is not installed")
    _check("nanodrr", scene, ball)


@pytest.mark.parametrize("name", ["numba", "nanodrr"])
@pytest.mark.parametrize(
    ("offset_world", "where"),
    [
        ((-40, 0, 0), "right"),
        ((40, 0, 0), "left"),
        ((0, 0, 40), "top"),
        ((0, 0, -40), "bottom"),
    ],
    ids=["patient-left", "patient-right", "cranial", "caudal"],
)
def test_the_ap_view_is_seen_as_a_radiologist_expects(
    name: str, offset_world: tuple[float, ...], where: str, ball: Ball
) -> None:
    if name == "nanodrr":
        pytest.importorskip("nanodrr", reason="the extra `nanodrr` is not installed")
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -72
    image = _draw(name, ball(affine, np.array(offset_world), radius_mm=6, edge_mm=3))
    half = SIZE_PX // 2
    part = {"left": image[:, :half], "right": image[:, half:], "top": image[:half], "bottom": image[half:]}[where]
    assert part.sum() == pytest.approx(image.sum())
    assert image.sum() > 0


@pytest.mark.parametrize("deep_mm", [-60.0, 60.0])
def test_what_is_nearer_to_the_source_is_drawn_larger(deep_mm: float, ball: Ball) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-24, -24 - deep_mm, -24]
    image = _draw("numba", ball(affine, np.array([0.0, -deep_mm, 0.0]), radius_mm=15, edge_mm=1))
    width_mm = np.count_nonzero(image[SIZE_PX // 2] > 0.02) * OPTICS.pixel_mm(SIZE_PX)
    magnification = OPTICS.source_detector_mm / (OPTICS.source_isocentre_mm + deep_mm)
    assert width_mm == pytest.approx(30 * magnification, abs=2 * OPTICS.pixel_mm(SIZE_PX))


def _draw(name: str, volume: Volume) -> NDArray[np.float32]:
    renderer: Renderer = make_renderer(name, volume, OPTICS)
    return renderer.render(Pose(x_mm=0, y_mm=0, z_mm=0), SIZE_PX)
