"""A coarse phantom, a tiny config and rendered views that the training tests share."""

from pathlib import Path

import pytest

from loopwright.finetune.data.carm.rendered import DataConfig, cache_folder, ensure_views, seeds_of
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.finetune.runs.schedule import OptimiserConfig
from loopwright.models.networks.carm import NetworkConfig
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.phantom import make_phantom


@pytest.fixture(scope="session")
def phantom() -> Case:
    """A whole-body phantom of coarse voxels."""
    return make_phantom(30_000, arms="crossed", truncated=False, voxel_mm=6.0)


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """Two training phantoms, a network of some thousand parameters, twelve steps."""
    return TrainConfig(
        seed=5,
        network=NetworkConfig(widths=(8, 8, 16), blocks=(1, 1, 1), neck=8),
        data=DataConfig(train_phantoms=2, validation_phantoms=1, calibration_phantoms=1, views_per_phantom=12),
        optimiser=OptimiserConfig(steps=12, batch=8),
        validate_every=4,
        checkpoint_every=3,
        threads=1,
    )


@pytest.fixture(scope="session")
def views_cache(tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder that holds the views of `tiny_config`, all parts."""
    cache = tmp_path_factory.mktemp("cache")
    seeds = [s for part in ("train", "validation", "calibration") for s in seeds_of(part, 1)] + [1]
    ensure_views(cache_folder(cache, tiny_config.data), seeds, tiny_config.data)
    return cache
