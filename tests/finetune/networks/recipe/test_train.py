"""Training the dish network: it learns, resumes to the same weights, and says what it does not know."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loopwright.errors import BadInput
from loopwright.finetune.networks.recipe import train as training
from loopwright.finetune.networks.recipe.train import DishNetworkConfig, best_threshold, train
from loopwright.finetune.runs.schedule import OptimiserConfig
from loopwright.models.networks.recipe import load_network

TINY = DishNetworkConfig(
    width=4,
    dishes=24,
    validation=8,
    optimiser=OptimiserConfig(steps=8, batch=8, max_lr=0.01),
    checkpoint_every=4,
    threads=1,
)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TINY, tmp_path / "whole")
    steps = 0

    def dies(*args: object) -> float:
        nonlocal steps
        steps += 1
        if steps == 7:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    real = training._step
    monkeypatch.setattr(training, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "killed")
    monkeypatch.setattr(training, "_step", real)
    resumed = train(TINY, tmp_path / "killed")
    assert resumed.f1 == whole.f1
    one, other = (load_network(run.weights) for run in (whole, resumed))
    assert one.metadata == other.metadata
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name]), name

    with pytest.raises(BadInput, match="another config"):
        train(TINY.model_copy(update={"seed": 1}), tmp_path / "whole")


def test_the_threshold_is_the_one_of_the_best_f1() -> None:
    odds = np.array([[0.9, 0.2], [0.3, 0.8]])
    assert best_threshold(odds, np.array([[1, 0], [0, 1]], np.float32)) == (0.32, 1.0)


def test_the_bundled_one_sees_and_knows_what_it_never_saw() -> None:
    from loopwright.tools.recipe.dish import SimulatedDish

    network = load_network()
    dishes = [SimulatedDish(seed) for seed in range(2_000_000, 2_000_020)]
    found = [network.recognise(dish.image(128)) for dish in dishes]
    hits = sum(
        len(set(one[what].labels) & getattr(d.labels, what))
        for one, d in zip(found, dishes, strict=True)
        for what in one
    )
    said = sum(len(one[what].labels) for one in found for what in one)
    true = sum(len(getattr(d.labels, what)) for d in dishes for what in ("actions", "ingredients"))
    assert 2 * hits / (said + true) > 0.5, "naming the same labels for every dish reaches .33"
    assert all(one["actions"].is_familiar for one in found)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert not network.recognise(noise)["actions"].is_familiar


@pytest.mark.parametrize(
    ("shape", "dtype"), [((128, 128), np.uint8), ((128, 64, 3), np.uint8), ((64, 64, 3), np.float32)]
)
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(BadInput, match=r"expected \(B, N, N, 3\) uint8"):
        load_network().recognise(np.zeros(shape, dtype))


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(BadInput, match="recipe-network"):
        load_network(path)
    torch.save({}, path)
    with pytest.raises(BadInput, match="no whole network"):
        load_network(path)
