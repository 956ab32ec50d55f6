"""Visual tokens in GRPO: drawn and trained as any other token, left out where that is asked for, and kept near."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.finetune.grpo.grpo_runs import config
from tests.finetune.sft.sft_runs import weights
from tests.finetune.sft.visual_runs import BASES, FRAME, N_VISUAL, trained

from loopwright.finetune.grpo.config import DrawingConfig, GrpoConfig, OptimiserConfig, RewardConfig, RowsConfig
from loopwright.finetune.grpo.episode import Episode
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.grpo.train import build_trainer, load_rows, play_with, train
from loopwright.finetune.grpo.trainer import Trainer
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.finetune.sft.lora import lora_config
from loopwright.finetune.sft.record import identify
from loopwright.finetune.sft.start import start_of
from loopwright.finetune.sft.train import load_to_train
from loopwright.models.local.vocabulary import ROWS
from loopwright.models.visual_tokens import visual_ids


def small_codes(episode: Episode) -> list[float]:
    """Less for larger codes."""
    return [-float(sum(FRAME.parse(turn.text))) for turn in episode.turns]


def run_of(folder: Path, *, masks_visual: bool = False) -> GrpoConfig:
    rows = trained("untied").parents[1] / "rows.jsonl"
    return config(
        folder,
        rows=rows,
        model=BaseModelConfig(base=str(BASES["untied"]), device="cpu", visual_tokens=N_VISUAL),
        start_from=trained("untied"),
        rewards={"tests.finetune.grpo.test_visual_tokens:small_codes": RewardConfig()},
        drawing=DrawingConfig(candidates=4, prompts=1, at_once=4, temperature=2.0),
        optimiser=OptimiserConfig(steps=1, lr=1e-3, warm_up=0.0, kl=0.1, masks_visual=masks_visual),
    ).model_copy(update={"rows": RowsConfig(train=rows, format="tests.finetune.sft.visual_runs:FRAME")})


def opened(run: GrpoConfig, folder: Path, stack: ExitStack) -> Trainer:
    base = load_to_train(run.model)
    wrapped = get_peft_model(base.model, lora_config(run.lora, base.model, visual_ids(base.tokenizer)))
    model = cast(PeftModel, wrapped)
    start = start_of(run.start_from, identify(run.model))
    assert start is not None
    start.put_into(model)
    player = stack.enter_context(play_with(run, base, model))
    return build_trainer(run, base, model, player, load_rows(run), Rewards(run.rewards), folder / "run")


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_covers_visual_tokens_unless_they_are_masked(tmp_path: Path, masked: bool) -> None:
    run = run_of(tmp_path, masks_visual=masked)
    with ExitStack() as stack:
        trainer = opened(run, tmp_path, stack)
        played = trainer._play([0, 1, 2, 3])
        batches = trainer._batches(played, [[1.0]] * 4)
        visual = torch.tensor(visual_ids(cast(Any, trainer._tokenizer)))
        counted = [batch["tool_mask"][torch.isin(batch["completion_ids"], visual)].tolist() for batch in batches]
        assert [kept for part in counted for kept in part] == [0 if masked else 1] * 16
        assert any(int(batch["tool_mask"].sum()) for batch in batches)  # the speed's digits stay


def test_the_reference_has_the_trained_rows(tmp_path: Path) -> None:
    with ExitStack() as stack:
        trainer = opened(run_of(tmp_path), tmp_path, stack)
        rows = {name: p for name, p in cast(Any, trainer.model).named_parameters() if "trainable_tokens_delta" in name}
        kept = weights(trained("untied"))
        assert sorted(name.rpartition(".")[2] for name in rows) == ["default", "default", "ref", "ref"]
        assert all(torch.equal(p, kept[name.rpartition(".")[0]]) for name, p in rows.items())


def test_a_step_moves_the_rows_and_saves_them(tmp_path: Path) -> None:
    adapter = train(run_of(tmp_path), tmp_path / "run").adapter
    before, after = weights(trained("untied")), weights(adapter)
    assert before.keys() == after.keys()
    moved = [name for name in after if ROWS in name and not torch.equal(before[name], after[name])]
    assert len(moved) == 2
