"""Views and their cache: true labels, disjoint parts, nothing rendered twice, damage named."""

import dataclasses
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.data.carm.rendered import (
    FIRST_SEED,
    cache_folder,
    ensure_views,
    load_split,
    read_views,
    seeds_of,
    write_views,
)
from loopwright.finetune.data.carm.views import (
    ViewSampling,
    centred_poses,
    render_views,
    sample_body_poses,
    sample_training_poses,
)
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose, project_to_image
from loopwright.tools.carm.landmarks import LANDMARKS

CONFIG = Path(__file__).parents[4] / "finetune" / "configs" / "carm" / "network.yaml"


def test_the_committed_yaml_says_every_field_and_nothing_else(tmp_path: Path) -> None:
    import yaml

    config = TrainConfig.load(CONFIG)
    assert yaml.safe_load(CONFIG.read_text()) == config.model_dump(mode="json")
    config.save(tmp_path / "c.yaml")
    assert TrainConfig.load(tmp_path / "c.yaml") == config


def test_a_wrong_key_or_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.read_text().replace("batch: 64", "batch: 1\n  bacth: 64"))
    with pytest.raises(UnknownName, match=r"'optimiser\.bacth'. Did you mean `optimiser\.batch`"):
        TrainConfig.load(path)
    path.write_text(CONFIG.read_text().replace("batch: 64", "batch: 1"))
    with pytest.raises(BadInput, match=r"`optimiser\.batch` = 1"):
        TrainConfig.load(path)
    with pytest.raises(BadInput, match="is not there"):
        TrainConfig.load(tmp_path / "none.yaml")


def test_no_phantom_can_be_in_two_parts() -> None:
    parts = [set(seeds_of(part, 10_000)) for part in FIRST_SEED]
    assert all(not a & b for a, b in combinations(parts, 2))


def test_labels_say_where_the_landmarks_are(phantom: Case) -> None:
    poses = [Pose(x_mm=p.x_mm - 20, y_mm=p.y_mm, z_mm=p.z_mm - 10) for p in centred_poses(phantom).values()]
    views = render_views(phantom, poses, Optics(), 64)
    for i, name in enumerate(phantom.landmarks):
        right, down = views.offsets_mm[i, LANDMARKS.index(name)]
        assert (right, down) == pytest.approx((-20, -10), abs=1e-3)  # the view went left and caudal past it
        u, v = project_to_image(phantom.landmarks[name], poses[i], Optics(), 64)
        assert u < 32 and v < 32
        assert views.distance_mm[i, LANDMARKS.index(name)] >= np.hypot(20, 10) - 1e-3


def test_absent_landmarks_have_no_labels(phantom: Case) -> None:
    without = dataclasses.replace(phantom, landmarks={k: v for k, v in phantom.landmarks.items() if k != "Skull"})
    views = render_views(without, list(centred_poses(without).values())[:2], Optics(), 32)
    absent = np.isnan(views.distance_mm).all(0)
    assert [LANDMARKS[i] for i in np.flatnonzero(absent)] == ["Skull"]
    assert np.isnan(views.offsets_mm[:, absent]).all()


def test_sampled_poses_show_body_and_are_drawn_from_the_seed(phantom: Case) -> None:
    one, two = (sample_training_poses(phantom, 20, ViewSampling(), np.random.default_rng(s)) for s in (1, 1))
    assert one == two
    assert sample_training_poses(phantom, 20, ViewSampling(), np.random.default_rng(2)) != one
    body = sample_body_poses(phantom, 10, Optics(), np.random.default_rng(0))
    assert all(p.y_mm == phantom.volume.mid_coronal_y_mm and p.alpha_deg == 0 == p.beta_deg for p in body)
    images = render_views(phantom, body, Optics(), 32).images
    assert ((images > 0).mean((1, 2)) >= 0.2).all()


def test_a_landmark_that_weighs_more_is_drawn_more_often(phantom: Case) -> None:
    """Around one landmark only: with a thousand times the weight of another, all but 1.3 % of the views are its."""
    sampling = ViewSampling(near_fraction=0, centred_fraction=1, landmark_weights={"the carina": 1000})
    poses = sample_training_poses(phantom, 30, sampling, np.random.default_rng(0))
    carina = phantom.landmarks["Carina"]
    off_mm = np.array([np.hypot(p.x_mm - carina[0], p.z_mm - carina[2]) for p in poses])
    assert (off_mm < 40).sum() >= 27  # five standard deviations of where a centred view lies
    with pytest.raises(UnknownName, match="Carina"):
        ViewSampling(landmark_weights={"Carena": 2})


def test_the_cache_is_filled_once_and_mends_itself(tiny_config: TrainConfig, views_cache: Path, tmp_path: Path) -> None:
    folder = cache_folder(views_cache, tiny_config.data)
    said: list[str] = []
    ensure_views(folder, seeds_of("train", 2), tiny_config.data, said.append)
    assert said == []
    views = read_views(folder / "phantom_00001.npz")
    again = tmp_path / "again"
    ensure_views(again, [1], tiny_config.data, said.append)
    np.testing.assert_array_equal(read_views(again / "phantom_00001.npz").images, views.images)
    assert said == ["rendered 1 of 1 phantoms"]


def test_a_split_keeps_views_and_phantoms_together(tiny_config: TrainConfig, views_cache: Path) -> None:
    split = load_split(cache_folder(views_cache, tiny_config.data), seeds_of("train", 2))
    assert split.images.shape == (24, 128, 128) and split.offsets_mm.shape == (24, 14, 2)
    assert split.groups.tolist() == [0] * 12 + [1] * 12


def test_a_file_cut_short_is_named(phantom: Case, tmp_path: Path) -> None:
    path = tmp_path / "phantom_00000.npz"
    write_views(path, render_views(phantom, list(centred_poses(phantom).values())[:2], Optics(), 32))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OSError, match=r"phantom_00000\.npz` is damaged"):
        load_split(tmp_path, [0])


def test_another_sampling_gets_another_folder(tiny_config: TrainConfig, tmp_path: Path) -> None:
    other = tiny_config.data.model_copy(update={"views": ViewSampling(near_sd_mm=41)})
    assert cache_folder(tmp_path, other) != cache_folder(tmp_path, tiny_config.data)
    more = tiny_config.data.model_copy(update={"train_phantoms": 9})
    assert cache_folder(tmp_path, more) == cache_folder(tmp_path, tiny_config.data)
