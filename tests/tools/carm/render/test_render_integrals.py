"""What the pictures measure: line integrals as formulas, a fine-step reference and other renderers give them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Array, Optics, Pose, source_world, view_axes
from loopwright.tools.carm.render import attenuation_per_mm, make_renderer
from loopwright.tools.carm.volume import Volume

OPTICS = Optics()
CENTRED = Pose(x_mm=0, y_mm=0, z_mm=0)
WATER_PER_MM = float(attenuation_per_mm(0))

Make = Callable[..., Volume]
angles = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


def _rays(pose: Pose, size_px: int) -> Array:
    """(N, N, 3) mm from the source to each pixel's centre."""
    axes = view_axes(pose)
    across = (np.arange(size_px) + 0.5 - size_px / 2) * OPTICS.pixel_mm(size_px)
    return OPTICS.source_detector_mm * axes.forward + across[:, None] * axes.u + across[:, None, None] * axes.v


def test_a_ball_of_water_has_the_chords_of_a_ball(ball: Make) -> None:
    radius_mm, size_px = 40.0, 64
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -47
    image = make_renderer("numba", ball(affine, np.zeros(3), radius_mm, edge_mm=2), OPTICS).render(CENTRED, size_px)
    rays = _rays(CENTRED, size_px)
    directions = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    away_mm = np.linalg.norm(np.cross(directions, source_world(CENTRED, OPTICS)), axis=-1)
    chords_mm = 2 * np.sqrt(np.maximum(radius_mm**2 - away_mm**2, 0))
    clear_of_rim = np.abs(away_mm - radius_mm) > 3
    error = np.abs(image - WATER_PER_MM * chords_mm)[clear_of_rim]
    assert error.max() < 0.01 * image.max()


@settings(max_examples=20, deadline=None)
@given(angles_deg=angles)
@example(angles_deg=(3.0, 3.0))
@example(angles_deg=(5.0, 5.0))
def test_a_box_has_the_chords_of_a_box(box: Make, angles_deg: tuple[float, float]) -> None:
    """Fine enough that pixels on the blurred edge do not decide: at 96 px they are 0.5 % at (5, 5)."""
    pose, size_px = Pose(x_mm=0, y_mm=0, z_mm=0, alpha_deg=angles_deg[0], beta_deg=angles_deg[1]), 160
    image = make_renderer("numba", box((50, 50, 50), 2.0, 0), OPTICS).render(pose, size_px)
    source, rays, half_mm = source_world(pose, OPTICS), _rays(pose, size_px), 50.0
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (np.array([[-half_mm], [half_mm]]) - source)[:, None, None] / rays
    enter, leave = np.nanmax(crossings.min(axis=0), axis=-1), np.nanmin(crossings.max(axis=0), axis=-1)
    chords_mm = np.maximum(leave - enter, 0) * np.linalg.norm(rays, axis=-1)
    assert np.median(np.abs(image - WATER_PER_MM * chords_mm)) < 0.002 * image.max()
    assert np.abs(image.sum() / (WATER_PER_MM * chords_mm).sum() - 1) < 0.004


def test_twice_the_density_is_twice_the_integral(ball: Make) -> None:
    dense_hu = int(np.interp(2 * WATER_PER_MM, attenuation_per_mm(np.arange(3000)), np.arange(3000)))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -47
    water = ball(affine, np.zeros(3), radius_mm=30, edge_mm=1e-6)
    denser = np.where(water.hounsfield > -1000, dense_hu, -1000).astype(np.int16)
    dense = Volume(hounsfield=denser, affine_world=affine, name="dense")
    pictures = [make_renderer("numba", volume, OPTICS).render(CENTRED, 64) for volume in (water, dense)]
    np.testing.assert_allclose(pictures[1], 2 * pictures[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "pose",
    [
        CENTRED.moved(left_mm=5000),
        CENTRED.moved(caudal_mm=-1000),
        CENTRED.moved(anterior_mm=-800),
        CENTRED.moved(anterior_mm=700),
    ],
    ids=["beside", "above", "behind the source", "beyond the detector"],
)
@pytest.mark.parametrize("name", ["numba", "nanodrr"])
def test_a_view_that_misses_the_volume_is_all_zeros(name: str, pose: Pose, box: Make) -> None:
    if name == "nanodrr":
        pytest.importorskip("nanodrr", reason="the extra `nanodrr` is not installed")
    image = make_renderer(name, box((20, 20, 20), 2.0, 500), OPTICS).render(pose, 48)
    assert image.dtype == np.float32
    assert not image.any()


@pytest.mark.parametrize("towards_mm", [0.0, 100.0, -100.0])
def test_a_source_inside_the_volume_sees_what_lies_ahead(towards_mm: float, box: Make) -> None:
    voxel_mm, half_mm = 10.0, 700.0
    volume = box((140, 140, 140), voxel_mm, 0)
    image = make_renderer("numba", volume, OPTICS).render(CENTRED.moved(anterior_mm=towards_mm), 33)
    ahead_mm = min(OPTICS.source_detector_mm, OPTICS.source_isocentre_mm + towards_mm + half_mm)
    assert image[16, 16] == pytest.approx(WATER_PER_MM * ahead_mm, abs=WATER_PER_MM * voxel_mm)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("size_px", [1, 2, 7, 33])
def test_any_size_can_be_drawn(size_px: int, box: Make) -> None:
    image = make_renderer("numba", box((20, 20, 20), 2.0, 0), OPTICS).render(CENTRED, size_px)
    assert image.shape == (size_px, size_px)
    assert np.isfinite(image).all()
    if size_px % 2:
        assert image[size_px // 2, size_px // 2] == pytest.approx(WATER_PER_MM * 40, rel=1e-3)


def test_only_what_is_empty_is_skipped() -> None:
    """Specks anywhere, some at the very border: nothing is lost by skipping the air between them."""
    specks = np.where(np.random.default_rng(1).random((60, 50, 40)) < 0.002, 1000, -1000).astype(np.int16)
    hazy = np.where(specks > 0, specks, -949).astype(np.int16)
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [-90, -75, -80]
    skipping, plodding = (
        make_renderer("numba", Volume(hounsfield=values, affine_world=affine, name="specks"), OPTICS)
        for values in (specks, hazy)
    )
    haze_at_most = float(attenuation_per_mm(-949)) * 300
    for alpha_deg in (0.0, 40.0, 75.0):
        pose = Pose(x_mm=0, y_mm=0, z_mm=0, alpha_deg=alpha_deg, beta_deg=20)
        np.testing.assert_allclose(skipping.render(pose, 64), plodding.render(pose, 64), atol=haze_at_most)
        assert skipping.render(pose, 64).max() > 3 * haze_at_most


@pytest.mark.parametrize(("alpha_deg", "beta_deg"), [(0, 0), (45, 20), (90, -10)])
def test_the_real_ct_agrees_with_a_fine_step(
    alpha_deg: float, beta_deg: float, chest: Case, fine_step: Callable[..., Array]
) -> None:
    volume = chest.volume
    x_mm, y_mm, z_mm = volume.bounds_world.mean(axis=0)
    pose = Pose(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm, alpha_deg=alpha_deg, beta_deg=beta_deg)
    image = make_renderer("numba", volume, OPTICS).render(pose, 256)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 2))
    error = np.abs(image[pixels[:, 0], pixels[:, 1]] - fine_step(volume, OPTICS, pose, 256, pixels))
    assert error.max() < 0.005 * image.max()


@pytest.mark.parametrize(("alpha_deg", "beta_deg"), [(0, 0), (30, 0), (-30, 25), (90, 40)])
def test_nanodrr_and_numba_draw_the_same_picture(alpha_deg: float, beta_deg: float, ball: Make) -> None:
    pytest.importorskip("nanodrr", reason="the extra `nanodrr` is not installed")
    rng = np.random.default_rng(0)
    affine = np.array([[2.1, 0.2, 0, -60], [-0.2, 1.9, 0.1, -50], [0, -0.1, 3.0, -70], [0, 0, 0, 1.0]])
    values = ball(affine, np.array([0.0, 0, 0]), radius_mm=45, edge_mm=4).hounsfield
    textured = np.where(values > -500, values + rng.integers(-300, 600, values.shape), values).astype(np.int16)
    volume = Volume(hounsfield=textured, affine_world=affine, name="textured")
    pose = Pose(x_mm=5, y_mm=-5, z_mm=3, alpha_deg=alpha_deg, beta_deg=beta_deg)
    ours, theirs = (make_renderer(name, volume, OPTICS).render(pose, 96) for name in ("numba", "nanodrr"))
    assert np.abs(ours - theirs).max() < 0.01 * theirs.max()


def test_nanodrr_and_numba_draw_the_same_chest(chest: Case) -> None:
    pytest.importorskip("nanodrr", reason="the extra `nanodrr` is not installed")
    x_mm, _, z_mm = chest.volume.bounds_world.mean(axis=0)
    pose = Pose(x_mm=x_mm, y_mm=chest.volume.mid_coronal_y_mm, z_mm=z_mm, alpha_deg=35, beta_deg=15)
    ours, theirs = (make_renderer(name, chest.volume, OPTICS).render(pose, 48) for name in ("numba", "nanodrr"))
    assert np.abs(ours - theirs).max() < 0.01 * theirs.max()
