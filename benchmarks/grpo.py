"""What a step of GRPO costs: ours beside TRL's own, the same model, rows, candidates and settings, in one run.

    python benchmarks/grpo.py [--steps 4] [--repeats 3] [--candidates 8] [--prompts 2] [--tokens 40]

Both draw free text to the same pictures with the bundled base and a fresh LoRA adapter, keep to the base by the same
divergence, and take turns. Replies end where they end, so that seconds are also given for a thousand trained tokens.
Drawn under a grammar, as loops draw, ours is a third row.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from PIL import Image
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from loopwright.finetune.grpo.config import DrawingConfig, GrpoConfig, OptimiserConfig, RewardConfig, RowsConfig
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.grpo.train import build_trainer, load_rows, play_with
from loopwright.finetune.sft.config import BaseModelConfig, LoraSettings
from loopwright.finetune.sft.lora import lora_config
from loopwright.models.answers import one_of
from loopwright.models.cards import load_card
from loopwright.models.local.loading import Base, load_base

QUESTION = "What does the picture show?"
SAID = one_of([f"a grey square with the number {n} of the list in its middle" for n in range(10)])
"""A form for the row under a grammar."""


class Cost(NamedTuple):
    """Of a step: seconds, and tokens that were drawn and trained."""

    seconds: float
    tokens: float


def write_rows(folder: Path, n: int = 16) -> Path:
    """Messages JSONL and pictures of 128 x 128 px."""
    rng = np.random.default_rng(0)
    lines = []
    for k in range(n):
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(folder / f"{k}.png")
        asked = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": "a square"}]
        lines.append(json.dumps({"messages": messages, "images": [f"{k}.png"]}))
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "rows.jsonl"


def fresh(model: BaseModelConfig) -> tuple[Base, PeftModel]:
    """The base with a new adapter, the same each time."""
    base = load_base(model.base, folder=model.folder, device="cpu")
    torch.manual_seed(0)
    return base, cast(PeftModel, get_peft_model(base.model, lora_config(LoraSettings(), base.model)))


def ours(config: GrpoConfig, folder: Path) -> Cost:
    """A run of `loopwright train grpo`."""
    base, model = fresh(config.model)
    with play_with(config, base, model) as player:
        trainer = build_trainer(config, base, model, player, load_rows(config), Rewards(config.rewards), folder)
        return timed(trainer, config)


def plain(config: GrpoConfig, folder: Path, rows: Path) -> Cost:
    """A run of TRL's trainer as it comes, on the same pictures."""
    base, model = fresh(config.model)
    prompts = [[{"role": "user", "content": QUESTION}]] * len(list(rows.parent.glob("*.png")))
    images = [Image.open(path) for path in sorted(rows.parent.glob("*.png"))]
    drawing, optimiser = config.drawing, config.optimiser
    candidates = drawing.candidates * drawing.prompts

    def short(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [-max(0.0, len(ids) - 10) / 10 for ids in completion_ids]

    arguments = GRPOConfig(
        output_dir=str(folder), seed=0, use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none",
        per_device_train_batch_size=candidates // optimiser.accumulate, num_generations=drawing.candidates,
        gradient_accumulation_steps=optimiser.accumulate, max_steps=optimiser.steps, beta=optimiser.kl,
        learning_rate=optimiser.lr, max_completion_length=drawing.max_tokens, temperature=drawing.temperature,
        top_k=0, loss_type=optimiser.loss, logging_steps=1, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[short],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": prompts, "image": images}),
        processing_class=cast(Any, base.processor),
    )
    return timed(trainer, config)


def timed(trainer: GRPOTrainer, config: GrpoConfig) -> Cost:
    """The mean step of a short run."""
    began = time.perf_counter()
    trainer.train()
    seconds = (time.perf_counter() - began) / config.optimiser.steps
    lengths = [e["completions/mean_length"] for e in trainer.state.log_history if "completions/mean_length" in e]
    return Cost(seconds, statistics.mean(lengths) * config.drawing.candidates * config.drawing.prompts)


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("steps", 4), ("repeats", 3), ("candidates", 8), ("prompts", 2), ("tokens", 40)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="loopwright-bench-") as name:
        folder = Path(name)
        rows = write_rows(folder)
        drawing = DrawingConfig(
            candidates=given.candidates, prompts=given.prompts, max_tokens=given.tokens, under_grammar=False
        )
        free = GrpoConfig(
            model=BaseModelConfig(base=load_card("small").base),
            rows=RowsConfig(train=rows),
            rewards={"length": RewardConfig(settings={"most": 10})},
            drawing=drawing,
            optimiser=OptimiserConfig(steps=given.steps, lr=1e-5, accumulate=2),
            checkpoint_every=10_000,
        )
        held = free.model_copy(
            update={
                "rows": RowsConfig(train=rows, format="benchmarks.grpo:SAID"),
                "drawing": drawing.model_copy(update={"under_grammar": True}),
            }
        )
        found: dict[str, list[Cost]] = {"TRL": [], "ours, free": [], "ours, under a grammar": []}
        for k in range(given.repeats):
            found["TRL"].append(plain(free, folder / f"trl-{k}", rows))
            found["ours, free"].append(ours(free, folder / f"free-{k}"))
            found["ours, under a grammar"].append(ours(held, folder / f"held-{k}"))
    for who, costs in found.items():
        step = statistics.median(cost.seconds for cost in costs)
        rate = statistics.median(1000 * cost.seconds / cost.tokens for cost in costs)
        print(f"{who:24} {step:6.2f} s a step, {rate:5.2f} s for 1,000 tokens (N = {len(costs)} runs)")


if __name__ == "__main__":
    main()
