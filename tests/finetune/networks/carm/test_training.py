"""Training: the loss means what it says, augmentation keeps left and right, and a kill costs nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.carm.network_release import bundle, write_card
from loopwright.finetune.networks.carm.config import DeformConfig, LossConfig, TrainConfig
from loopwright.finetune.networks.carm.deform import deform
from loopwright.finetune.networks.carm.loss import heat_map, in_view_error, losses, offset_nll, plackett_luce
from loopwright.finetune.networks.carm.train import BEST, CHECKPOINT, METRICS, train
from loopwright.finetune.runs.augmentation import AugmentConfig, augment, shutter
from loopwright.finetune.runs.schedule import OptimiserConfig, one_cycle
from loopwright.models.conformal import Calibration
from loopwright.models.networks.carm import FIELD_OF_VIEW_MM, Prediction, cell_centres, load_carm_network

OFF = AugmentConfig(
    gamma=0, window=0, shading=0, noise_sd=0, blur_sd_px=0, shutter_p=0, line_p=0,
)  # fmt: skip

ASKEW = DeformConfig(rotation_sd_deg=4, scale_sd=0.06, shear_sd=0.04)


def test_the_first_place_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, distance = torch.randn(6, 5), torch.rand(6, 5)
    expected = torch.nn.functional.cross_entropy(logits, distance.argmin(1))
    torch.testing.assert_close(plackett_luce(logits, distance, places=1), expected)


def test_the_right_order_costs_least_and_absent_landmarks_cost_nothing() -> None:
    distance = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    right, wrong = torch.tensor([[6.0, 4.0, 2.0, 0.0]]), torch.tensor([[6.0, 0.0, 2.0, 4.0]])
    assert plackett_luce(right, distance) < plackett_luce(wrong, distance)
    absent = torch.tensor([[10.0, 20.0, 30.0, float("nan")]])
    loud, quiet = torch.tensor([[6.0, 4.0, 2.0, 50.0]]), torch.tensor([[6.0, 4.0, 2.0, -50.0]])
    torch.testing.assert_close(plackett_luce(loud, absent), plackett_luce(quiet, absent))


def test_a_view_with_few_or_no_landmarks_still_has_finite_gradients() -> None:
    nan = float("nan")
    logits = torch.randn(3, 4, requires_grad=True)
    offsets = torch.randn(3, 4, 2, requires_grad=True)
    log_sigma = torch.zeros(3, 4, requires_grad=True)
    distance = torch.tensor([[nan] * 4, [5.0, nan, nan, nan], [5.0, 6.0, nan, nan]])
    truth = torch.where(distance[..., None].isnan(), nan, torch.ones(3, 4, 2))
    share = torch.zeros(3, 4, 2, 2, requires_grad=True)
    loss = losses(Prediction(logits, offsets, log_sigma, share), truth, distance, LossConfig())
    loss.total.backward()  # type: ignore[no-untyped-call]
    for leaf in (logits, offsets, log_sigma, share):
        assert leaf.grad is not None and leaf.grad.isfinite().all()
    assert offsets.grad is not None and offsets.grad[0].abs().sum() == 0


def test_the_scale_that_minimises_the_loss_is_half_the_mean_error() -> None:
    """The maximum-likelihood scale of the 2-D Laplace density is E|e| / 2, so sigma is honest by construction."""
    error = torch.from_numpy(np.random.default_rng(0).exponential(0.6, size=(400, 1))).float()
    offsets = torch.stack([error, torch.zeros_like(error)], dim=-1)
    none = torch.zeros(())
    at = [
        float(offset_nll(Prediction(none, torch.zeros_like(offsets), torch.full_like(error, s), none), offsets, 1.0))
        for s in np.log(float(error.mean()) / 2) + np.array([-0.1, 0.0, 0.1])
    ]
    assert at[1] == min(at)


def test_the_heat_map_wants_the_cells_that_show_the_landmark() -> None:
    offsets = torch.tensor([[[40.0, -20.0], [300.0, 0.0]]]) / 100
    centres = cell_centres(16, 16)
    on_it = -50 * (centres - offsets[0, :1]).square().sum(-1)
    beside = -50 * (centres + offsets[0, :1]).square().sum(-1)
    far = torch.zeros(256)  # what is out of view may be found by any cell
    right, wrong = (torch.stack([h, far]).log_softmax(-1).view(1, 2, 16, 16) for h in (on_it, beside))
    assert (
        heat_map(right, offsets) < heat_map(torch.zeros_like(right) - np.log(256), offsets) < heat_map(wrong, offsets)
    )


def test_every_landmark_in_view_pulls_alike() -> None:
    offsets = torch.tensor([[[0.2, 0.0], [3.0, 0.0], [float("nan")] * 2]])
    predicted = torch.zeros(1, 3, 2, requires_grad=True)
    loss = in_view_error(predicted, offsets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0.2, abs=1e-4)
    assert predicted.grad is not None and predicted.grad.norm(dim=-1)[0].tolist() == pytest.approx([1, 0, 0], abs=1e-3)


def test_augmentation_keeps_shape_and_range_and_follows_its_generator() -> None:
    images = torch.rand(5, 1, 128, 128, generator=Generator().manual_seed(0))
    one, two, other = (augment(images, AugmentConfig(), Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == images.shape and one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, two) and not torch.equal(one, other)
    torch.testing.assert_close(augment(images, OFF, Generator().manual_seed(1)), images)


def test_augmentation_never_mirrors() -> None:
    ramp = torch.linspace(0.2, 0.8, 128).expand(64, 1, 128, 128).clone()
    bent = augment(ramp, AugmentConfig(shutter_p=0, shading=0.1), Generator().manual_seed(0))
    assert (bent[..., 80:110].mean((1, 2, 3)) > bent[..., 18:48].mean((1, 2, 3))).all()


def test_a_deformed_picture_shows_its_landmarks_where_the_truth_says() -> None:
    """A bright spot stands for a landmark at the isocentre's depth; absent ones stay absent, depths stay."""
    count, mm_per_px = 40, FIELD_OF_VIEW_MM / 128
    place_mm = 50 * torch.rand(count, 1, 2, generator=Generator().manual_seed(0)) - 25
    centres = (torch.arange(128) + 0.5) * mm_per_px - FIELD_OF_VIEW_MM / 2
    across, down = (place_mm[..., axis, None] - centres for axis in (0, 1))
    spots = torch.exp(-0.5 * (across[:, :, None, :] ** 2 + down[:, :, :, None] ** 2) / 3**2)
    offsets_mm = torch.cat([place_mm, torch.full_like(place_mm, float("nan"))], dim=1)
    distance_mm = (offsets_mm.square().sum(-1) + 30.0**2).sqrt()
    seen, moved_mm, moved_distance_mm = deform(spots, offsets_mm, distance_mm, ASKEW, Generator().manual_seed(1))
    weight = seen / seen.sum((2, 3), keepdim=True)
    found_mm = torch.stack([(weight * centres).sum((2, 3)), (weight * centres[:, None]).sum((2, 3))], dim=-1)
    torch.testing.assert_close(found_mm, moved_mm[:, :1], atol=0.5, rtol=0)
    assert (moved_mm[:, :1] - place_mm).norm(dim=-1).max() > 3
    assert moved_mm[:, 1].isnan().all() and moved_distance_mm[:, 1].isnan().all()
    torch.testing.assert_close(
        moved_distance_mm[:, :1].square() - moved_mm[:, :1].square().sum(-1),
        torch.full((count, 1), 900.0),
        atol=1,
        rtol=0,
    )
    same = deform(spots, offsets_mm, distance_mm, DeformConfig(), Generator().manual_seed(1))
    for before, after in zip((spots, offsets_mm, distance_mm), same, strict=True):
        torch.testing.assert_close(after, before, equal_nan=True, atol=1e-3, rtol=1e-3)


def test_shutters_keep_the_middle() -> None:
    shut = shutter(torch.ones(200, 1, 64, 64), 1.0, Generator().manual_seed(0))
    assert (shut[..., 16:48, 16:48] == 1).all()
    assert (shut == 0).any()


def test_the_rate_rises_then_falls() -> None:
    config = OptimiserConfig(steps=100, max_lr=1.0)
    rates = [one_cycle(step, config) for step in range(100)]
    top = int(np.argmax(rates))
    assert top == 10 and rates[top] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 0.01


RUN = """
import sys
from pathlib import Path
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.finetune.networks.carm.train import train
train(TrainConfig.load(Path(sys.argv[1])), Path(sys.argv[2]), cache_dir=Path(sys.argv[3]))
"""


def test_a_killed_run_resumes_to_the_same_weights(tiny_config: TrainConfig, views_cache: Path, tmp_path: Path) -> None:
    whole = train(tiny_config, tmp_path / "whole", cache_dir=views_cache)
    tiny_config.save(tmp_path / "c.yaml")
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "c.yaml"), str(killed), str(views_cache)], start_new_session=True
    )
    give_up = time.monotonic() + 240
    while not (killed / CHECKPOINT).is_file() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    said: list[str] = []
    resumed = train(tiny_config, killed, said.append, cache_dir=views_cache)
    assert said[0].startswith("resumed at step ")
    assert resumed.model_copy(update={"weights": whole.weights}) == whole
    assert (killed / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()
    one, two = (load_carm_network(d / BEST).network.state_dict() for d in (killed, tmp_path / "whole"))
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_a_run_folder_of_another_config_is_refused(tiny_config: TrainConfig, tmp_path: Path) -> None:
    tiny_config.model_copy(update={"seed": 6}).save(tmp_path / "config.yaml")
    with pytest.raises(BadInput, match="another config"):
        train(tiny_config, tmp_path)


def test_a_run_may_start_from_given_weights_of_its_size(
    tiny_config: TrainConfig, views_cache: Path, tmp_path: Path
) -> None:
    first = train(tiny_config, tmp_path / "first", cache_dir=views_cache)
    still = OptimiserConfig(steps=1, batch=8, max_lr=1e-9, weight_decay=0)
    config = tiny_config.model_copy(update={"initial_weights": first.weights, "optimiser": still})
    second = train(config, tmp_path / "second", cache_dir=views_cache)
    one, two = (load_carm_network(r.weights).network.votes.state_dict() for r in (first, second))
    for key in one:
        torch.testing.assert_close(one[key], two[key])
    larger = config.model_copy(update={"network": config.network.model_copy(update={"neck": 16})})
    with pytest.raises(BadInput, match=r"first.best\.safetensors` has size"):
        train(larger, tmp_path / "third", cache_dir=views_cache)


def test_training_learns_and_is_released_with_calibration_and_card(
    tiny_config: TrainConfig, views_cache: Path, tmp_path: Path
) -> None:
    longer = OptimiserConfig(steps=60, batch=8, max_lr=1e-2)
    config = tiny_config.model_copy(update={"optimiser": longer, "validate_every": 60})
    train(config, tmp_path / "run", cache_dir=views_cache)
    records = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    assert records[0]["step"] == 50 and records[0]["loss"] < 5.0  # untrained: above 6
    weights = bundle(tmp_path / "run", tmp_path / "out" / "net.safetensors", gate_phantoms=2, cache_dir=views_cache)
    localiser = load_carm_network(weights)
    assert isinstance(localiser.calibration, Calibration) and localiser.calibration.n_groups == 1
    assert localiser.calibration.set_threshold == {"0.90": None, "0.95": None, "0.97": None}
    card = write_card(weights, config, "loopwright train carm-network", [])
    assert "no patient's data" in card.read_text()
