"""Train the dish network on simulated dishes: AdamW under one cycle on the labels' cross-entropy, resumable.

The order of the data and every augmentation are functions of (seed, step). The run folder holds `config.yaml`,
`pictures.npy` and `validation.npy` (drawn once), `metrics.jsonl`, `checkpoint.pt` (read with `weights_only`) and, at
the end, `network.safetensors`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from loopwright.finetune.runs.schedule import OptimiserConfig, one_cycle
from loopwright.finetune.runs.settings import RunSettings
from loopwright.models.networks.recipe import INPUT_PX, DishNetwork, Familiar, NetworkConfig, prepare, save_network
from loopwright.schema import Frozen
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import kitchen_vocabularies
from loopwright.tools.recipe.kitchen.plan import Part, seeds_of

Progress = Callable[[str], None]
CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "network.safetensors"
TELL_EVERY = 100
FAMILIAR_DISHES = 3000
"""Training dishes from which it is known what a picture is like."""


class DishNetworkConfig(RunSettings):
    """All that a run depends on, beside the code."""

    seed: int = Field(default=0, ge=0)
    width: int = Field(default=32, ge=4)
    dishes: int = Field(default=10_000, ge=2, description="to train on")
    validation: int = Field(default=500, ge=1, description="that thresholds are chosen on")
    optimiser: OptimiserConfig
    checkpoint_every: int = Field(default=200, ge=1, description="steps")
    threads: int = Field(default=0, ge=0, description="torch threads; 0: torch's own choice")
    precision: Literal["fp32", "bf16"] = "fp32"


class NetworkResult(Frozen):
    """What a finished run leaves; F1 is micro, at the thresholds, on validation dishes."""

    weights: Path
    steps: int
    thresholds: dict[str, float]
    f1: dict[str, float]


class Dishes(NamedTuple):
    """Pictures (N, 128, 128, 3) uint8, and which labels each has (N, L)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]


def train(config: DishNetworkConfig, out_dir: Path, on_progress: Progress = lambda _: None) -> NetworkResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Raises:
        BadInput: `out_dir` holds a run of another config.
    """
    config.claim(out_dir)
    if config.threads:
        torch.set_num_threads(config.threads)
    sets = _label_sets()
    data = _dishes(out_dir / "pictures.npy", "train", config.dishes, sets, on_progress)
    validation = _dishes(out_dir / "validation.npy", "validation", config.validation, sets, on_progress)
    torch.manual_seed(config.seed)
    network = DishNetwork(NetworkConfig(width=config.width, labels=sets)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=config.optimiser.weight_decay)
    step = _restored(out_dir / CHECKPOINT, network, optimiser)
    losses: list[float] = []
    while step < config.optimiser.steps:
        losses.append(_step(network, optimiser, data, config, step))
        step += 1
        if step % TELL_EVERY == 0:
            loss, losses = float(np.mean(losses)), []
            with (out_dir / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "loss": loss}) + "\n")
            on_progress(f"step {step} of {config.optimiser.steps}: loss {loss:.2f}")
        if step % config.checkpoint_every == 0 or step == config.optimiser.steps:
            _keep(out_dir / CHECKPOINT, network, optimiser, step)
    return _finished(network, data, validation, config, out_dir)


def _finished(
    network: DishNetwork, data: Dishes, validation: Dishes, config: DishNetworkConfig, out_dir: Path
) -> NetworkResult:
    seen, features = features_of(network, data.images[:FAMILIAR_DISHES]), features_of(network, validation.images)
    with torch.inference_mode():
        odds = network.head(features).sigmoid().double().numpy()
    thresholds, scores, first = {}, {}, 0
    for what, names in network.config.labels.items():
        part = slice(first, first + len(names))
        thresholds[what], scores[what] = best_threshold(odds[:, part], validation.labels[:, part])
        first += len(names)
    notes = {"steps": str(config.optimiser.steps), "dishes": str(config.dishes), "seed": str(config.seed)}
    save_network(out_dir / WEIGHTS, network, thresholds, Familiar.of(seen, features), notes)
    return NetworkResult(weights=out_dir / WEIGHTS, steps=config.optimiser.steps, thresholds=thresholds, f1=scores)


@torch.inference_mode()
def features_of(network: DishNetwork, images: NDArray[np.uint8], batch: int = 100) -> Tensor:
    """(N, F) of many pictures, in evaluation mode."""
    network.eval()
    return torch.cat([network.features(prepare(images[i : i + batch])) for i in range(0, len(images), batch)])


def best_threshold(odds: NDArray[np.float64], labels: NDArray[np.float32]) -> tuple[float, float]:
    """The threshold of the highest micro F1, and that F1."""
    true = labels > 0

    def score(threshold: float) -> float:
        said = odds >= threshold
        return float(2 * (said & true).sum() / max(1, said.sum() + true.sum()))

    found = max((round(float(t), 2) for t in np.arange(0.1, 0.7, 0.02)), key=score)
    return found, score(found)


def _step(
    network: DishNetwork, optimiser: torch.optim.Optimizer, data: Dishes, config: DishNetworkConfig, step: int
) -> float:
    rng = np.random.default_rng([config.seed, step])
    chosen = np.sort(rng.choice(len(data.images), config.optimiser.batch, replace=False))
    images = data.images[chosen]
    for is_flipped, axis in zip(rng.random(2) < 0.5, (1, 2), strict=True):
        images = np.flip(images, axis) if is_flipped else images
    images = images.transpose(0, 2, 1, 3) if rng.random() < 0.5 else images
    for group in optimiser.param_groups:
        group["lr"] = one_cycle(step, config.optimiser)
    network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        logits = network(prepare(images).contiguous(memory_format=torch.channels_last))
    loss = binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(data.labels[chosen]), reduction="sum")
    loss = loss / config.optimiser.batch
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.clip_norm)
    optimiser.step()
    return loss.item()


def _dishes(path: Path, part: Part, count: int, sets: dict[str, tuple[str, ...]], on_progress: Progress) -> Dishes:
    """Dishes of a part; their pictures are drawn where they are not there yet."""
    dishes = [SimulatedDish(seed) for seed in seeds_of(part, count)]
    if not path.is_file():
        on_progress(f"drawing {count} dishes")
        np.save(path, np.stack([dish.image(INPUT_PX) for dish in dishes]))
    place = {name: n for n, name in enumerate((what, name) for what, names in sets.items() for name in names)}
    labels = np.zeros((count, len(place)), np.float32)
    for row, dish in zip(labels, dishes, strict=True):
        row[[place[what, name] for what, names in dish.labels._asdict().items() for name in names]] = 1
    return Dishes(np.load(path), labels)


def _label_sets() -> dict[str, tuple[str, ...]]:
    known = kitchen_vocabularies()
    return {"actions": known.actions.classes, "ingredients": known.ingredients.classes}


def _keep(path: Path, network: DishNetwork, optimiser: torch.optim.Optimizer, step: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial)
    partial.replace(path)


def _restored(path: Path, network: DishNetwork, optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
