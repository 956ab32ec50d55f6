"""From a run folder to released weights: calibrate on held-out phantoms, measure on others, lay all of it together.

Calibration and test phantoms have seeds of their own, disjoint from training and validation.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from loopwright.finetune.data.carm.rendered import cache_folder, ensure_views, load_split, seeds_of
from loopwright.finetune.evaluate.carm.gate import PHANTOMS, calibrate_gate
from loopwright.finetune.evaluate.carm.localisation import evaluate_localisation
from loopwright.finetune.measure import metrics
from loopwright.finetune.measure.rows import Row
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.finetune.networks.carm.train import BEST
from loopwright.finetune.runs.settings import CONFIG
from loopwright.models.conformal import Calibration, calibrate
from loopwright.models.networks.carm import calibration_path, load_carm_network, weights_sha256
from loopwright.settings import settings
from loopwright.tools.carm.phantom import make_phantom

Progress = Callable[[str], None]


def calibrate_weights(
    weights: Path, config: TrainConfig, on_progress: Progress = lambda _: None, *, cache_dir: Path | None = None
) -> Calibration:
    """Write the conformal calibration of `weights` beside them, from the config's calibration phantoms."""
    folder = cache_folder(cache_dir or settings().cache_dir, config.data)
    seeds = seeds_of("calibration", config.data.calibration_phantoms)
    ensure_views(folder, seeds, config.data, on_progress)
    split = load_split(folder, seeds)
    calibration_path(weights).unlink(missing_ok=True)
    localiser = load_carm_network(weights)
    parts = [localiser.estimate(split.images[i : i + 256].numpy()) for i in range(0, len(split.images), 256)]
    posterior, offsets, sigma = (np.concatenate(column) for column in zip(*parts, strict=True))
    truth = metrics.nearest(split.distance_mm.numpy())[:, 0]
    error = metrics.offset_error_mm(offsets, split.offsets_mm.numpy())
    found = calibrate(
        weights_sha256(weights),
        localiser.names,
        posterior[np.arange(len(truth)), truth].astype(np.float64),
        error / sigma,
        split.groups.numpy(),
    )
    found.save(calibration_path(weights))
    return found


def bundle(
    run_dir: Path,
    weights: Path,
    on_progress: Progress = lambda _: None,
    *,
    gate_phantoms: int = PHANTOMS,
    cache_dir: Path | None = None,
) -> Path:
    """Copy the best weights of `run_dir` to `weights` and calibrate them and their gate there; returns `weights`."""
    config = TrainConfig.load(run_dir / CONFIG)
    weights.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run_dir / BEST, weights)
    calibrate_weights(weights, config, on_progress, cache_dir=cache_dir)
    calibrate_gate(weights, phantoms=gate_phantoms, on_progress=on_progress)
    return weights


def release(
    run_dir: Path,
    weights: Path,
    command: str,
    on_progress: Progress = lambda _: None,
    *,
    test_phantoms: int = 20,
    views_per_phantom: int = 50,
    gate_phantoms: int = PHANTOMS,
    cache_dir: Path | None = None,
) -> Path:
    """Bundle the best weights of `run_dir` as `weights`, measure them on test phantoms, and write the model card.

    Args:
        run_dir: of a training run, finished or not.
        weights: the .safetensors file to write; calibration and card go beside it.
        command: what made the run, for the card.
        on_progress: called with a line now and then.
        test_phantoms, views_per_phantom: how much to measure on.
        gate_phantoms: how many to calibrate the gate on.
        cache_dir: of rendered views; by default the user's cache.

    Returns:
        The card.
    """
    bundle(run_dir, weights, on_progress, gate_phantoms=gate_phantoms, cache_dir=cache_dir)
    on_progress(f"calibrated `{weights}`; measuring on {test_phantoms} test phantoms")
    cases = (make_phantom(seed) for seed in seeds_of("test", test_phantoms))
    rows, _ = evaluate_localisation(load_carm_network(weights), cases, views_per_phantom, world="phantom")
    return write_card(weights, TrainConfig.load(run_dir / CONFIG), command, rows)


def write_card(
    weights: Path, config: TrainConfig, command: str, rows: list[Row], history: tuple[str, ...] = ()
) -> Path:
    """The model card beside `weights`: what they are, from which data and command, and the measured rows.

    `history` tells what came before the run of `config`, where the weights did not start from noise.
    """
    localiser = load_carm_network(weights)
    parts = {
        "train": seeds_of("train", config.data.train_phantoms),
        "validation": seeds_of("validation", config.data.validation_phantoms),
        "calibration": seeds_of("calibration", config.data.calibration_phantoms),
    }
    card = {
        "name": weights.stem,
        "task": "nearest landmark and in-plane displacements from one C-arm radiograph",
        "use": "research software, not a medical device",
        "weights_sha256": weights_sha256(weights),
        "bytes": weights.stat().st_size,
        "parameters": sum(p.numel() for p in localiser.network.parameters()),
        "landmarks": list(localiser.names),
        "steps": int(localiser.metadata["steps"]),
        "command": command,
        "history": list(history),
        "data": "procedural phantoms only (loopwright.tools.carm.phantom); no patient's data was used for training, "
        "model selection or calibration",
        "seeds": {part: [seeds.start, seeds.stop - 1] for part, seeds in parts.items()},
        "config": config.model_dump(mode="json"),
        "metrics": [row.as_json() for row in rows],
    }
    path = weights.with_suffix(".card.yaml")
    path.write_text(yaml.safe_dump(card, sort_keys=False, width=120), encoding="utf-8")
    return path
