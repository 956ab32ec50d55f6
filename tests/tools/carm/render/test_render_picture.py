"""Attenuation, the automatic window, and what asking for a renderer that is not here gets."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.errors import MissingDependency, UnknownName
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.render import attenuation_per_mm, make_renderer, to_uint8
from loopwright.tools.carm.volume import Volume


def test_attenuation_knows_air_water_and_bone() -> None:
    np.testing.assert_allclose(attenuation_per_mm([-1024, -1000, 0, 1600]), [0, 0, 0.02059, 0.06044], rtol=1e-6)


@settings(deadline=None)
@given(low=st.integers(-32768, 32767), high=st.integers(-32768, 32767))
def test_attenuation_never_falls_with_density(low: int, high: int) -> None:
    low, high = sorted((low, high))
    assert 0 <= attenuation_per_mm(low) <= attenuation_per_mm(high)


def test_bone_rises_faster_than_soft_tissue() -> None:
    soft, bone = np.diff(attenuation_per_mm([-50, 50])), np.diff(attenuation_per_mm([500, 600]))
    assert bone > soft


def test_a_picture_of_air_is_all_zeros() -> None:
    assert not to_uint8(np.zeros((8, 8), dtype=np.float32)).any()


def test_a_uniform_body_is_no_division_by_zero() -> None:
    picture = to_uint8(np.full((8, 8), 2.0, dtype=np.float32))
    assert picture.dtype == np.uint8


@settings(deadline=None)
@given(gain=st.floats(0.5, 3))
def test_the_window_follows_the_dose_and_thickness(gain: float) -> None:
    body = np.random.default_rng(0).uniform(1, 6, (64, 64)).astype(np.float32)
    difference = to_uint8(body).astype(int) - to_uint8((gain * body).astype(np.float32))
    assert np.abs(difference).max() <= 1


def test_a_metal_wire_does_not_darken_the_bones() -> None:
    body = np.tile(np.linspace(1, 6, 64, dtype=np.float32), (64, 1))
    wired = body.copy()
    wired[30:32, 20:24] = 40
    assert np.abs(to_uint8(body).astype(int) - to_uint8(wired))[:30].max() <= 4


def test_bones_are_bright_and_lungs_dark_in_the_real_ct(chest: Case) -> None:
    x_mm, _, z_mm = chest.landmarks["Carina"]
    pose = Pose(x_mm=x_mm, y_mm=chest.volume.mid_coronal_y_mm, z_mm=z_mm)
    picture = to_uint8(make_renderer("numba", chest.volume, Optics()).render(pose, 128))
    spine, lungs = picture[50:80, 60:68], np.hstack([picture[50:80, 8:28], picture[50:80, 100:120]])
    assert np.median(spine) > 180
    assert np.median(lungs) < 90


def test_an_unknown_renderer_is_refused_with_the_known_ones(block_volume: Volume) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean `numba`.*Known: numba, nanodrr, deepdrr"):
        make_renderer("nubma", block_volume, Optics())


def test_nanodrr_not_installed_names_the_command(block_volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "loopwright.tools.carm.render.nanodrr_renderer", raising=False)
    monkeypatch.setitem(sys.modules, "nanodrr.camera", None)
    with pytest.raises(MissingDependency, match=r"pip install 'loopwright\[nanodrr\]'"):
        make_renderer("nanodrr", block_volume, Optics())


def test_the_compiled_kernels_are_kept_for_the_next_process() -> None:
    from loopwright.tools.carm.render import joseph

    for kernel in (joseph.pack, joseph.occupancy, joseph.cast):
        assert kernel.stats.cache_path
