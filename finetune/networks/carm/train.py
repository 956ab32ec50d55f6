"""Train the localiser: render what is missing, then AdamW under one cycle, resumable to the bit after a kill.

The order of the data and every augmentation are functions of (seed, step), so a checkpoint holds no generator, and a
run that was killed and resumed ends with the weights of one that was not. The run folder holds `config.yaml`,
`metrics.jsonl`, `checkpoint.pt` (read with `weights_only`) and `best.safetensors`, usable at any time.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from loopwright.errors import BadInput
from loopwright.finetune.data.carm.rendered import Split, cache_folder, ensure_views, load_split, seeds_of
from loopwright.finetune.measure import metrics
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.finetune.networks.carm.deform import deform
from loopwright.finetune.networks.carm.loss import losses
from loopwright.finetune.runs.augmentation import augment
from loopwright.finetune.runs.schedule import one_cycle
from loopwright.models.networks.carm import (
    SCALE_MM,
    CArmNetwork,
    Prediction,
    load_carm_network,
    prepare,
    save_carm_network,
)
from loopwright.schema import Frozen
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS

Progress = Callable[[str], None]
CHECKPOINT, METRICS, BEST = "checkpoint.pt", "metrics.jsonl", "best.safetensors"


class TrainResult(Frozen):
    """What a finished run leaves. `validation` are the metrics of the best step, on unseen phantoms."""

    weights: Path
    steps: int
    best_step: int
    validation: dict[str, float]


def train(
    config: TrainConfig, out_dir: Path, on_progress: Progress = lambda _: None, *, cache_dir: Path | None = None
) -> TrainResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Args:
        config: everything that the run depends on.
        out_dir: the run folder, made if need be.
        on_progress: called with a line now and then.
        cache_dir: where rendered views are kept; by default the user's cache.

    Raises:
        BadInput: `out_dir` holds a run of another config.
    """
    config.claim(out_dir)
    folder = cache_folder(cache_dir or settings().cache_dir, config.data)
    train_seeds = seeds_of("train", config.data.train_phantoms)
    validation_seeds = seeds_of("validation", config.data.validation_phantoms)
    ensure_views(folder, [*validation_seeds, *train_seeds], config.data, on_progress)
    if config.threads:
        torch.set_num_threads(config.threads)
    run = _Run(config, out_dir, load_split(folder, train_seeds), load_split(folder, validation_seeds), on_progress)
    return run.to_end()


class _Run:
    """The state of one training run: network, optimiser, step, and the best step so far."""

    def __init__(
        self, config: TrainConfig, out_dir: Path, data: Split, validation: Split, on_progress: Progress
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out_dir, self.on_progress = config, out_dir, on_progress
        self.data, self.validation = data, validation
        network = _initial_network(config)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(_groups(self.network, config.optimiser.weight_decay))
        self.step, self.best_step, self.best_loss = 0, 0, math.inf
        if len(data.images) < config.optimiser.batch:
            raise BadInput(f"`batch` is {config.optimiser.batch!r}, but there are only {len(data.images)} views.")
        if (out_dir / CHECKPOINT).is_file():
            self._restore()

    def to_end(self) -> TrainResult:
        total = self.config.optimiser.steps
        for batch in self._batches():
            self._train_on(batch)
            self.step += 1
            if self.step % self.config.validate_every == 0 or self.step == total:
                self._validate()
            if self.step % self.config.checkpoint_every == 0 or self.step == total:
                self._checkpoint()
        last = [r for r in _records(self.out_dir / METRICS) if r["step"] == self.best_step and "val_loss" in r][-1]
        validation = {k: float(v) for k, v in last.items() if k != "step"}
        return TrainResult(
            weights=self.out_dir / BEST, steps=self.step, best_step=self.best_step, validation=validation
        )

    def _batches(self) -> Iterator[Tensor]:
        """Indices of the batches from the current step on; each epoch shuffled by (seed, epoch)."""
        size = self.config.optimiser.batch
        per_epoch = len(self.data.images) // size
        while self.step < self.config.optimiser.steps:
            epoch, first = divmod(self.step, per_epoch)
            order = torch.randperm(len(self.data.images), generator=_generator(self.config.seed, 1, epoch))
            last = min(per_epoch, first + self.config.optimiser.steps - self.step)
            for k in range(first, last):
                yield order[k * size : (k + 1) * size]

    def _train_on(self, batch: Tensor) -> None:
        self.network.train()
        rate = one_cycle(self.step, self.config.optimiser)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seed = self.config.seed
        images, offsets_mm, distance_mm = deform(
            prepare(self.data.images[batch]),
            self.data.offsets_mm[batch],
            self.data.distance_mm[batch],
            self.config.deform,
            _generator(seed, 3, self.step),
        )
        images = augment(images, self.config.augment, _generator(seed, 2, self.step))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bf16"):
            prediction = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = losses(prediction, offsets_mm, distance_mm, self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip_norm)
        self.optimiser.step()
        if (self.step + 1) % 50 == 0:
            parts = {"loss": loss.total.item(), "nearest": loss.nearest.item(), "offset": loss.offset.item()}
            self._record({"step": self.step + 1, "lr": rate, **parts})

    def _validate(self) -> None:
        found = validate(self.network, self.validation, self.config)
        self._record({"step": self.step, **found})
        if found["val_loss"] < self.best_loss:
            self.best_loss, self.best_step = found["val_loss"], self.step
            notes = {"steps": str(self.step), "seed": str(self.config.seed), "prior": json.dumps(prior(self.data))}
            save_carm_network(self.out_dir / BEST, self.network, LANDMARKS, notes)
        self.on_progress(f"step {self.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()))

    def _record(self, record: dict[str, float]) -> None:
        with (self.out_dir / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _checkpoint(self) -> None:
        partial = self.out_dir / (CHECKPOINT + ".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "progress": {"step": self.step, "best_step": self.best_step, "best_loss": self.best_loss},
            },
            partial,
        )
        partial.replace(self.out_dir / CHECKPOINT)

    def _restore(self) -> None:
        state = torch.load(self.out_dir / CHECKPOINT, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best_step, self.best_loss = (state["progress"][k] for k in ("step", "best_step", "best_loss"))
        kept = [r for r in _records(self.out_dir / METRICS) if r["step"] <= self.step]
        (self.out_dir / METRICS).write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        self.on_progress(f"resumed at step {self.step} of {self.config.optimiser.steps}")


@torch.inference_mode()
def predict_split(network: CArmNetwork, images: Tensor, batch: int = 256) -> Prediction:
    """Raw predictions for many clean pictures, in evaluation mode."""
    network.eval()
    parts = [
        network(prepare(images[i : i + batch]).contiguous(memory_format=torch.channels_last))
        for i in range(0, len(images), batch)
    ]
    return Prediction(*(torch.cat(column) for column in zip(*parts, strict=True)))


def validate(network: CArmNetwork, split: Split, config: TrainConfig) -> dict[str, float]:
    """Loss and the metrics that matter, on clean views of unseen phantoms."""
    prediction = predict_split(network, split.images)
    loss = losses(prediction, split.offsets_mm, split.distance_mm, config.loss)
    distance, true = split.distance_mm.numpy(), split.offsets_mm.numpy()
    ranking = metrics.rank(prediction.logits.numpy(), ~np.isnan(distance))
    error = metrics.offset_error_mm(prediction.offsets.numpy() * SCALE_MM, true)
    near = error[metrics.in_view(true, Optics().field_of_view_mm / 2)]
    return {
        "val_loss": loss.total.item(),
        "val_nearest": loss.nearest.item(),
        "val_offset": loss.offset.item(),
        "val_heat": loss.heat.item(),
        "val_centring": loss.centring.item(),
        "p1": float(metrics.precision_at(ranking, distance, 1).mean()),
        "p3": float(metrics.precision_at(ranking, distance, 3).mean()),
        "exact_nearest": float(metrics.exact_nearest(ranking, distance).mean()),
        "in_view_median_mm": float(np.median(near)),
        "in_view_p95_mm": float(np.quantile(near, 0.95)),
        "all_median_mm": float(np.nanmedian(error)),
    }


def prior(split: Split) -> dict[str, float]:
    """How often each landmark is the nearest one: the trivial baseline's posterior."""
    first = metrics.nearest(split.distance_mm.numpy())[:, 0]
    return dict(zip(LANDMARKS, (np.bincount(first, minlength=len(LANDMARKS)) / len(first)).tolist(), strict=True))


def _initial_network(config: TrainConfig) -> CArmNetwork:
    """Fresh, or the network of `initial_weights`, which must have the config's size."""
    if config.initial_weights is None:
        return CArmNetwork(config.network)
    network = load_carm_network(config.initial_weights).network
    if network.config != config.network:
        raise BadInput(f"`{config.initial_weights}` has size {network.config!r}; expected {config.network!r}.")
    return network


def _groups(network: CArmNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay, biases and norms do not."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _generator(seed: int, purpose: int, index: int) -> Generator:
    """A generator of its own for each (seed, purpose, index)."""
    state = int(np.random.SeedSequence([seed, purpose, index]).generate_state(1, np.uint64)[0])
    return Generator().manual_seed(state >> 1)


def _records(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
