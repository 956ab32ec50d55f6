"""Training the image tokenizer: it resumes to the same weights, and its codebook holds what differs."""

from pathlib import Path

import pytest
import torch

from loopwright.errors import BadInput
from loopwright.finetune.networks.drive import train as training
from loopwright.finetune.networks.drive.train import DriveTokensConfig, train
from loopwright.finetune.runs.schedule import OptimiserConfig
from loopwright.models.networks.drive import TokenizerConfig, load_network

TINY = DriveTokensConfig(
    network=TokenizerConfig(codes=16, width=16),
    pictures=24,
    validation=8,
    patches=200,
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
    assert resumed.model_dump(exclude={"weights"}) == whole.model_dump(exclude={"weights"})
    one, other = (load_network(run.weights) for run in (whole, resumed))
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name]), name
    assert len(torch.unique(one.network.get_buffer("codebook"), dim=0)) == 16
    assert whole.codes_used > 4 and whole.perplexity > 1

    with pytest.raises(BadInput, match="another config"):
        train(TINY.model_copy(update={"seed": 1}), tmp_path / "whole")
