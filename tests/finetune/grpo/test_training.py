"""GRPO trains what ran: the very ids, probabilities and pictures; it learns, and a kill does not change the result."""

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import PeftModel, get_peft_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tests.finetune.grpo.grpo_runs import config
from tests.finetune.sft.sft_runs import shared_rows, weights, whole_run

from loopwright.cli import main
from loopwright.errors import BadInput
from loopwright.finetune.grpo.config import DrawingConfig, GrpoConfig, OptimiserConfig, RewardConfig
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.grpo.train import build_trainer, load_rows, play_with, train
from loopwright.finetune.grpo.trainer import PICTURES, Trainer
from loopwright.finetune.sft.lora import lora_config
from loopwright.finetune.sft.release import export
from loopwright.models.local.loading import load_base


class Watched:
    """A model whose `generate` is written down: the sequences that transformers returned, prompt and reply."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.sequences: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, **given: Any) -> Any:
        made = self._model.generate(**given)
        self.sequences += made.tolist()
        return made


def opened(run: GrpoConfig, folder: Path, stack: ExitStack) -> tuple[Trainer, Watched]:
    base = load_base(run.model.base, folder=run.model.folder, device="cpu")
    torch.manual_seed(0)
    model = cast(PeftModel, get_peft_model(base.model, lora_config(run.lora, base.model)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)  # an adapter that does something
    rewards = Rewards(run.rewards)
    player: Any = stack.enter_context(play_with(run, base, model))
    trainer = build_trainer(run, base, model, player, load_rows(run), rewards, folder / "run")
    watched = Watched(player._engine._model)
    player._engine._model = watched
    return trainer, watched


def stripped(ids: list[int], pad: int) -> tuple[int, ...]:
    text = ",".join(map(str, ids))
    return tuple(int(i) for i in text.split(",") if int(i) != pad)


def trained_and_drawn(run: GrpoConfig, folder: Path, indices: list[int]) -> tuple[Counter[Any], Counter[Any]]:
    """What the trainer is given of one batch of episodes, and what transformers drew for it."""
    with ExitStack() as stack:
        trainer, watched = opened(run, folder, stack)
        played = trainer._play(indices)
        batches = trainer._batches(played, [[0.0] * len(one.drawn) for one in played])
        pad: Any = trainer._tokenizer.pad_token_id
        trained: Counter[Any] = Counter()
        for batch in batches:
            for prompt, reply in zip(batch["prompt_ids"].tolist(), batch["completion_ids"].tolist(), strict=True):
                trained[stripped(prompt + reply, pad)] += 1
        return trained, Counter(stripped(ids, pad) for ids in watched.sequences)


def test_every_trained_id_is_one_that_was_drawn(tmp_path: Path) -> None:
    trained, drawn = trained_and_drawn(config(tmp_path), tmp_path, [0, 1, 2, 3] * 4)
    assert sum(trained.values()) == 32
    assert trained == drawn


@pytest.mark.slow
def test_every_trained_id_of_a_thousand_episodes_is_one_that_was_drawn(tmp_path: Path) -> None:
    trained, drawn = trained_and_drawn(config(tmp_path), tmp_path, [0, 1, 2, 3] * 250)
    assert sum(trained.values()) == 2000
    assert trained == drawn


@pytest.mark.parametrize("with_pictures", [False, True])
@pytest.mark.parametrize("under_grammar", [False, True])
def test_training_gives_each_token_the_probability_that_it_was_drawn_with(
    tmp_path: Path, with_pictures: bool, under_grammar: bool
) -> None:
    drawing = DrawingConfig(candidates=4, prompts=2, max_tokens=6, temperature=0.7, at_once=4)
    drawing = drawing.model_copy(update={"under_grammar": under_grammar})
    run = config(tmp_path, rows=shared_rows() if with_pictures else None, drawing=drawing)
    with ExitStack() as stack:
        trainer, _ = opened(run, tmp_path, stack)
        played = trainer._play([0, 1, 2, 3])
        batches = trainer._batches(played, [[1.0] * len(one.drawn) for one in played])
        assert any("pixel_values" in batch for batch in batches) == with_pictures
        cast(Any, trainer.model).eval()
        for batch in batches:
            trainer._allowed = trainer.allowed(batch)
            ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
            pictures = {name: batch[name] for name in PICTURES if name in batch}
            n_kept = batch["completion_ids"].shape[1]
            found, entropy, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, batch["attention_mask"], n_kept, compute_entropy=True, **pictures
            )
            assert entropy is not None and bool(torch.isfinite(entropy).all()) and float(entropy.min()) >= 0
            torch.testing.assert_close(found, batch["sampling_per_token_logps"], atol=2e-4, rtol=1e-3)
            free = batch["tool_mask"].bool()
            assert bool((found[free] < 0).all())
            assert bool((found[~free].abs() < 1e-6).all())  # a token without a choice is certain


def test_it_learns_what_is_rewarded(tmp_path: Path) -> None:
    """Short answers are: "on" has two tokens with its end, "off" has three."""
    run = config(tmp_path, optimiser=OptimiserConfig(steps=6, lr=2e-2, warm_up=0.0, kl=0.0))
    train(run, tmp_path / "run")
    log = json.loads((tmp_path / "run" / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    rewards = [entry["reward"] for entry in log if "reward" in entry]
    assert rewards[0] < -0.7 and sum(rewards[-2:]) / 2 > -0.25, rewards


class Killed(BaseException):
    """What the process dies of."""


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    run = config(tmp_path, start_from=whole_run().adapter)
    whole = train(run, tmp_path / "whole")

    def die(line: str) -> None:
        if line.startswith("step 2 "):
            raise Killed

    with pytest.raises(Killed):
        train(run, tmp_path / "run", die)
    said: list[str] = []
    resumed = train(run, tmp_path / "run", said.append)
    assert said[0] == "resumed from checkpoint-1"
    first, second = weights(whole.adapter), weights(resumed.adapter)
    assert first.keys() == second.keys() == weights(whole_run().adapter).keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4)
    assert whole.kl is not None and whole.kl > 0  # away from the adapter that it began with
    curve = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [point.step for point in curve.Scalars("train/rewards/length/mean")] == [1, 2, 3]
    again = train(run, tmp_path / "run")
    assert (again.steps, again.seconds_a_step) == (3, None)


def test_the_card_says_how_it_was_trained(tmp_path: Path) -> None:
    run = config(tmp_path, start_from=whole_run().adapter, optimiser=OptimiserConfig(steps=1))
    adapter = train(run, tmp_path / "run").adapter
    text = (export(adapter, tmp_path / "out", "someone/tiny") / "README.md").read_text(encoding="utf-8")
    for said in (
        "loopwright train grpo",
        "its role `navigator` with 4 candidates each",
        "1.0 length (most 1)",
        "4 rows",
    ):
        assert said in text
    assert weights(tmp_path / "out").keys() == weights(whole_run().adapter).keys()  # no copy of the start in it


def test_the_command_line_trains_and_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(tmp_path, optimiser=OptimiserConfig(steps=1))
    run.save(tmp_path / "run.yaml")
    command = ["train", "grpo", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 1
    config(tmp_path, rewards={"lenght": RewardConfig()}).save(tmp_path / "run.yaml")
    assert main([*command[:-3], "--out", str(tmp_path / "other")]) == 2
    assert "Did you mean" in capsys.readouterr().err
    (tmp_path / "runs.jsonl").write_text("[]\n", encoding="utf-8")
    with pytest.raises(BadInput, match="holds no runs"):
        train(run, tmp_path / "third")
