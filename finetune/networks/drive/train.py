"""Train the image tokenizer on views of simulated drives: its codebook by k-means on patches that differ, its decoder
by AdamW under one cycle on the colours. Resumable.

The order of the data is a function of (seed, step). The run folder holds `config.yaml`, `pictures.npy` and
`validation.npy` (drawn once), `metrics.jsonl`, `checkpoint.pt` (read with `weights_only`) and, at the end,
`tokenizer.safetensors`.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Literal, TypedDict, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from loopwright.finetune.data.drive.moments import HORIZONS_S, drives, futures, tracks
from loopwright.finetune.networks.drive.fidelity import Fidelity, fidelity, total
from loopwright.finetune.runs.schedule import OptimiserConfig, one_cycle
from loopwright.finetune.runs.settings import RunSettings
from loopwright.models.networks.drive import (
    SIZE_PX,
    DriveTokenizer,
    TokenizerConfig,
    TokenNetwork,
    nearest,
    prepare,
    save_network,
)
from loopwright.schema import Frozen
from loopwright.tools.drive.scenarios import FIRST_SEED
from loopwright.tools.drive.scene import Camera, Scene
from loopwright.tools.drive.views import Picture, camera_view, occupancy_seen, top_view

Progress = Callable[[str], None]
CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "tokenizer.safetensors"
TELL_EVERY = 100
CAMERAS: tuple[Camera, ...] = get_args(Camera)
_LLOYD, _STEPS = 25, 32
"""Rounds of k-means; and steps of a colour within which patches count as the same."""
_AT_ONCE = 64
"""Pictures that go through the network together when it is judged."""


class DriveTokensConfig(RunSettings):
    """All that a run depends on, beside the code."""

    seed: int = Field(default=0, ge=0)
    network: TokenizerConfig = TokenizerConfig()
    pictures: int = Field(default=16_000, ge=2, description="to train on")
    validation: int = Field(default=400, ge=1, description="views from above to judge by")
    cameras: float = Field(default=0.0, ge=0, lt=1, description="share of pictures through a camera; else from above")
    patches: int = Field(default=30_000, ge=2, description="different ones, among which k-means finds the codes")
    agent_weight: float = Field(default=5.0, gt=0, description="of a road user's pixel in the loss; another's is 1")
    optimiser: OptimiserConfig
    checkpoint_every: int = Field(default=200, ge=1, description="steps")
    threads: int = Field(default=0, ge=0, description="torch threads; 0: torch's own choice")
    precision: Literal["fp32", "bf16"] = "fp32"


class TokenizerResult(Frozen):
    """What a finished run leaves, by reconstructions of validation pictures."""

    weights: Path
    steps: int
    error: float = Field(description="mean absolute, of colours from 0 to 255")
    car_iou: float = Field(description="of cells of 1 m with a road user")
    found: float = Field(description="share of road users that are drawn within 2 m")
    right: float = Field(description="share of drawn road users that are within 2 m of one")
    codes_used: int
    perplexity: float = Field(description="two to the entropy of how often each code is used")


class Judged(TypedDict):
    """The figures of `TokenizerResult`."""

    error: float
    car_iou: float
    found: float
    right: float
    codes_used: int
    perplexity: float


def train(config: DriveTokensConfig, out_dir: Path, on_progress: Progress = lambda _: None) -> TokenizerResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Raises:
        BadInput: `out_dir` holds a run of another config.
        MissingDependency: highway-env is not installed.
    """
    config.claim(out_dir)
    if config.threads:
        torch.set_num_threads(config.threads)
    pictures = _drawn(out_dir / "pictures.npy", config, on_progress)
    torch.manual_seed(config.seed)
    network = TokenNetwork(config.network)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=config.optimiser.weight_decay)
    step = _restored(out_dir / CHECKPOINT, network, optimiser)
    if step == 0:
        network.get_buffer("codebook").copy_(codebook_of(network, pictures, config, on_progress))
    losses: list[float] = []
    while step < config.optimiser.steps:
        losses.append(_step(network, optimiser, pictures, config, step))
        step += 1
        if step % TELL_EVERY == 0:
            loss, losses = float(np.mean(losses)), []
            with (out_dir / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "loss": loss}) + "\n")
            on_progress(f"step {step} of {config.optimiser.steps}: loss {loss:.4f}")
        if step % config.checkpoint_every == 0 or step == config.optimiser.steps:
            _keep(out_dir / CHECKPOINT, network, optimiser, step)
    notes = {"steps": str(step), "pictures": str(config.pictures), "seed": str(config.seed)}
    save_network(out_dir / WEIGHTS, network, notes)
    judged = judge(DriveTokenizer(network, notes), list(islice(_scenes("validation", 0, 1), config.validation)))
    return TokenizerResult(weights=out_dir / WEIGHTS, steps=step, **judged)


@torch.inference_mode()
def codebook_of(
    network: TokenNetwork, pictures: NDArray[np.uint8], config: DriveTokensConfig, on_progress: Progress
) -> Tensor:
    """(N, F) the means of N groups of patches that look alike: Lloyd's k-means, begun with patches far from each other.

    Patches that look the same count once: most of the pictures is ground.
    """
    rng = np.random.default_rng([config.seed, 3])
    kept: list[Tensor] = []
    for k in rng.permutation(range(0, len(pictures), _AT_ONCE)).tolist():
        looks = network.looks(prepare(pictures[k : k + _AT_ONCE])).flatten(0, 1)
        kept.append(torch.unique((looks * _STEPS).round(), dim=0) / _STEPS)
        if sum(map(len, kept)) >= config.patches:
            break
    looks = torch.unique(torch.cat(kept), dim=0)
    on_progress(f"k-means of {len(looks)} patches")
    codebook = _spread(looks, network.config.codes, rng)
    for _ in range(_LLOYD):
        group = nearest(looks, codebook)
        sizes = torch.bincount(group, minlength=len(codebook))
        sums = torch.zeros_like(codebook).index_add_(0, group, looks)
        codebook = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], codebook)
    return codebook


def _spread(looks: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """`count` of `looks`, each drawn by its squared distance from those before (k-means++)."""
    chosen = [int(rng.integers(len(looks)))]
    distance = ((looks - looks[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        odds = distance.double().clamp(min=0).numpy()
        chosen.append(int(rng.choice(len(looks), p=odds / odds.sum())))
        distance = torch.minimum(distance, ((looks - looks[chosen[-1]]) ** 2).sum(1))
    return looks[chosen].clone()


def judge(tokenizer: DriveTokenizer, scenes: list[Scene]) -> Judged:
    """The figures of `TokenizerResult` for views of `scenes` from above."""
    codes, errors = [], []
    found: list[Fidelity] = []
    for k in range(0, len(scenes), _AT_ONCE):
        part = scenes[k : k + _AT_ONCE]
        truth = np.stack([top_view(scene) for scene in part])
        codes.append(tokenizer.encode(truth))
        again = tokenizer.decode(codes[-1])
        errors.append(np.abs(again.astype(float) - truth).mean(axis=(1, 2, 3)))
        found += [fidelity(*three) for three in zip(again, truth, part, strict=True)]
    sums, used = total(found), np.bincount(np.concatenate(codes).ravel(), minlength=tokenizer.n_codes)
    shares = used[used > 0] / used.sum()
    return {
        "error": float(np.concatenate(errors).mean()),
        "car_iou": sums.both / max(1, sums.either),
        "found": sums.found / max(1, sums.there),
        "right": sums.right / max(1, sums.drawn),
        "codes_used": int((used > 0).sum()),
        "perplexity": float(2 ** -(shares * np.log2(shares)).sum()),
    }


def _scenes(part: Literal["train", "validation"], seed: int, every: int) -> Iterator[Scene]:
    """Moments as they are, as they would be at constant velocity and as they came, a third each; no end of them."""
    rng = np.random.default_rng([seed, FIRST_SEED[part]])
    for scenario, drive in drives(count(FIRST_SEED[part])):
        for track in tracks(scenario, drive, cameras=4):
            for k, future in enumerate(futures(track, HORIZONS_S, rng)):
                if k % every == 0:
                    yield (future.now, future.moved, future.then)[rng.integers(3)]


def _drawn(path: Path, config: DriveTokensConfig, on_progress: Progress) -> NDArray[np.uint8]:
    """(N, 128, 128, 3) pictures to train on, drawn where they are not there yet."""
    if not path.is_file():
        on_progress(f"drawing {config.pictures} pictures")
        rng = np.random.default_rng([config.seed, 1])
        partial = path.with_suffix(".partial.npy")
        shape = (config.pictures, SIZE_PX, SIZE_PX, 3)
        room = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for k, scene in enumerate(islice(_scenes("train", config.seed, 1), config.pictures)):
            room[k] = _view(scene, config.cameras, rng)
        room.flush()
        partial.replace(path)
    found: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return found


def _view(scene: Scene, cameras: float, rng: np.random.Generator) -> Picture:
    if rng.random() >= cameras:
        return top_view(scene)
    return camera_view(scene, CAMERAS[rng.integers(len(CAMERAS))], SIZE_PX, SIZE_PX)


def _step(
    network: TokenNetwork,
    optimiser: torch.optim.Optimizer,
    pictures: NDArray[np.uint8],
    config: DriveTokensConfig,
    step: int,
) -> float:
    rng = np.random.default_rng([config.seed, 2, step])
    chosen = pictures[np.sort(rng.choice(len(pictures), config.optimiser.batch, replace=False))]
    for group in optimiser.param_groups:
        group["lr"] = one_cycle(step, config.optimiser)
    network.train()
    wanted = prepare(chosen)
    codes = network.codes(wanted)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        made = network(codes)
    loss = _loss(made.float(), wanted, chosen, config.agent_weight)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.clip_norm)
    optimiser.step()
    return loss.item()


def _loss(made: Tensor, wanted: Tensor, pictures: NDArray[np.uint8], agent_weight: float) -> Tensor:
    """Mean absolute error, road users' pixels weighted: they are few, and what a plan depends on."""
    agents = torch.from_numpy(np.stack([occupancy_seen(picture, SIZE_PX) for picture in pictures]))
    weights = torch.where(agents, agent_weight, 1.0)[:, None]
    return ((made - wanted).abs() * weights).mean()


def _keep(path: Path, network: TokenNetwork, optimiser: torch.optim.Optimizer, step: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial)
    partial.replace(path)


def _restored(path: Path, network: TokenNetwork, optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
