"""Train by GRPO: LoRA by config, from an adapter and near it, resumable after a kill.

The run folder is that of supervised fine-tuning: `config.yaml`, `run.json`, `tensorboard/` with every component of the
reward, `checkpoint-N/`, `trainer_state.json`, and at last `adapter/`.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import PrinterCallback, TrainerState
from trl.trainer.grpo_config import GRPOConfig

from loopwright.errors import BadInput
from loopwright.finetune.grpo.answers import Answers, answer_rows
from loopwright.finetune.grpo.config import GrpoConfig as Config
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.grpo.sessions import Sessions
from loopwright.finetune.grpo.trainer import Player, Trainer
from loopwright.finetune.runs.checkpoints import ended, last_checkpoint, tensorboard
from loopwright.finetune.sft.lora import lora_config
from loopwright.finetune.sft.record import ADAPTER_FOLDER, RunRecord, claim, identify, refuse_other_inputs
from loopwright.finetune.sft.start import start_of
from loopwright.finetune.sft.train import check_optimiser, load_to_train
from loopwright.finetune.sft.watch import Progress, Watch
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.registry import get_loop
from loopwright.models.local.engine import Engine
from loopwright.models.local.loading import Base, out_of_memory
from loopwright.models.visual_tokens import visual_ids
from loopwright.schema import Frozen

TOLD = ("reward", "reward_std", "kl", "turns", "completions/mean_length", "learning_rate")
COMPANY_S = 0.05
"""How long a reply waits for others to be drawn with, s: episodes that began together soon ask at different times."""
ADVICE = "Raise `optimiser.accumulate`, lower `drawing.prompts`, or set `optimiser.gradient_checkpointing: true`."


class GrpoResult(Frozen):
    """What a finished run leaves. `reward` is over the last steps that were logged together, `kl` in nats a token.

    `seconds_a_step` is this process's, drawing included, and None where nothing was left to do.
    """

    adapter: Path
    steps: int
    reward: float
    kl: float | None
    seconds_a_step: float | None


def train(
    config: Config, out_dir: Path, on_progress: Progress = lambda _: None, *, loop: Loop | None = None
) -> GrpoResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Args:
        config: everything that the run depends on.
        out_dir: the run folder, made if need be.
        on_progress: called with a line now and then.
        loop: the loop itself, in place of the one that `episodes.loop` names.

    Raises:
        BadInput: data, base, adapter or run folder are missing, wrong, or another run's.
        MissingDependency: the config asks for CUDA or bitsandbytes, and they are not there.
        OperatorError: out of memory, or a figure is no longer a number.
    """
    rows = load_rows(config)
    source = config.rows or config.episodes
    rewards = Rewards(config.rewards, source.loop if source else "")
    check_optimiser(config.optimiser.name)
    checkpoint = last_checkpoint(out_dir)
    begun = checkpoint is not None or (out_dir / ADAPTER_FOLDER).exists()
    if begun:
        config.refuse_other(out_dir)
    identity = identify(config.model)
    start = start_of(config.start_from, identity)
    record = RunRecord(
        base=identity,
        train_rows=len(rows),
        train_sha256=hashlib.sha256(config.train_file.read_bytes()).hexdigest(),
        start_sha256=start.sha256 if start else None,
    )
    if begun:
        refuse_other_inputs(out_dir, record)
    claim(out_dir, config, record)
    watch = Watch(config, record, on_progress, method="grpo", figures=("loss", *TOLD[:3]), told=TOLD)
    if checkpoint and (end := ended(checkpoint)):
        return _result(watch, end, watch.recover(end, checkpoint, out_dir))
    base = load_to_train(config.model)
    visual = visual_ids(base.tokenizer)[: config.model.visual_tokens]
    model = get_peft_model(base.model, lora_config(config.lora, base.model, visual))
    if start:
        start.put_into(cast(PeftModel, model))
    with play_with(config, base, cast(PeftModel, model), loop) as player:
        trainer = build_trainer(config, base, cast(PeftModel, model), player, rows, rewards, out_dir)
        trainer.add_callback(watch)
        trainer.add_callback(tensorboard(out_dir, checkpoint))
        if checkpoint:
            on_progress(f"resumed from {checkpoint.name}")
        with out_of_memory("Training", ADVICE):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_state()
    cast(PeftModel, model).save_pretrained(str(out_dir / ADAPTER_FOLDER), selected_adapters=["default"])
    watch.record(trainer.state).save(out_dir / ADAPTER_FOLDER)
    return _result(watch, trainer.state, out_dir / ADAPTER_FOLDER)


def load_rows(config: Config) -> list[dict[str, Any]]:
    """The lines of the data that the run trains on.

    Raises:
        BadInput: no such file, no line in it, or a wrong one.
    """
    path = config.train_file
    if config.rows:
        return answer_rows(path, config.rows.only)
    try:
        rows: list[dict[str, Any]] = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line
        ]
    except (OSError, ValueError) as error:
        raise BadInput(
            f"`episodes.train` = `{path}` cannot be read: {error}. Expected a run's settings a line."
        ) from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"`{path}` holds no runs; expected a JSON object with a run's settings on each line.")
    return rows


@contextmanager
def play_with(config: Config, base: Base, model: PeftModel, loop: Loop | None = None) -> Iterator[Player]:
    """Within, what plays the episodes of a run, drawn from the very weights that are trained."""
    drawn_from = Base(cast(Any, model), base.processor, base.eos_token_ids)
    engine = Engine(drawn_from, max_batch=config.drawing.at_once, window_s=COMPANY_S, traced=True)
    if config.rows:
        yield Answers(config.rows, config.model, config.drawing, engine)
        return
    assert config.episodes is not None, "the validator lets none pass that has neither"
    played = loop or get_loop(config.episodes.loop)
    with Sessions(played, config.episodes, config.model, config.drawing, engine) as sessions:
        yield sessions


def build_trainer(
    config: Config,
    base: Base,
    model: PeftModel,
    player: Player,
    rows: list[dict[str, Any]],
    rewards: Rewards,
    out_dir: Path,
) -> Trainer:
    """The trainer of a run, with everything that TRL would otherwise guess written out."""
    trainer = Trainer(
        config,
        player,
        rows,
        rewards,
        model=model,
        args=_arguments(config, base, out_dir),
        train_dataset=Dataset.from_dict({"prompt": [""] * len(rows), "index": list(range(len(rows)))}),
        processing_class=base.processor,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results
    return trainer


def _arguments(config: Config, base: Base, out_dir: Path) -> GRPOConfig:
    on_gpu = base.model.device.type == "cuda"
    optimiser, drawing = config.optimiser, config.drawing
    candidates = drawing.prompts * drawing.candidates
    return GRPOConfig(
        output_dir=str(out_dir),
        seed=config.seed,
        data_seed=config.seed,
        # TRL counts candidates, we turns: what it divides, `Trainer` divides into as many parts.
        per_device_train_batch_size=candidates // optimiser.accumulate,
        gradient_accumulation_steps=optimiser.accumulate,
        generation_batch_size=candidates // optimiser.accumulate * optimiser.accumulate,
        num_generations=drawing.candidates,
        shuffle_dataset=drawing.shuffled,
        num_iterations=optimiser.iterations,
        max_steps=optimiser.steps,
        optim="adamw_8bit" if optimiser.name == "adamw_8bit" else "adamw_torch",
        learning_rate=optimiser.lr,
        lr_scheduler_type="cosine",
        warmup_steps=optimiser.warm_up,  # below 1 it is a share
        weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.clip_norm,
        beta=optimiser.kl,
        epsilon=optimiser.clip,
        loss_type=optimiser.loss,
        temperature=drawing.temperature,
        max_completion_length=drawing.max_tokens,
        activation_checkpointing=optimiser.gradient_checkpointing,
        use_cpu=not on_gpu,
        bf16=on_gpu and base.model.dtype == torch.bfloat16,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        save_total_limit=config.keep_checkpoints,
        logging_steps=config.log_every,
        report_to="none",
        disable_tqdm=True,
    )


def _result(watch: Watch, state: TrainerState, adapter: Path) -> GrpoResult:
    figures, n_steps = watch.record(state).figures, state.global_step - watch.first_step
    return GrpoResult(
        adapter=adapter,
        steps=state.global_step,
        reward=figures["reward"],
        kl=figures.get("kl"),
        seconds_a_step=watch.took_s / n_steps if n_steps else None,
    )
