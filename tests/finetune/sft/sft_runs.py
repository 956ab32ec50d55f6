"""Rows, settings and one finished run on the tiny Qwen2.5-VL, which the tests of fine-tuning share."""

import json
import tempfile
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from tests.models import tiny

from loopwright.finetune.runs.augmentation import AugmentConfig
from loopwright.finetune.sft.config import BaseModelConfig, DataConfig, OptimiserConfig, SftConfig
from loopwright.finetune.sft.train import SftResult, train

HOME = tempfile.TemporaryDirectory(prefix="loopwright-sft-")
ANSWERS = ("Skull", "[1: Skull, 10: T1, 11: Carina]", "[4,5]", "the left hemidiaphragm")
"""Of lengths that differ: a mean over rows and a mean over tokens are then not the same."""


def row(picture: str, answer: str, question: str = "Which landmark is nearest?") -> dict[str, object]:
    asked = [{"type": "image"}, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "images": [picture]}


def write_rows(folder: Path, n: int = 12) -> Path:
    """`rows.jsonl` and its pictures in `folder`."""
    (folder / "pictures").mkdir(parents=True)
    for k in range(n):
        (folder / "pictures" / f"{k}.png").write_bytes(tiny.png(k))
    rows = [row(f"pictures/{k}.png", ANSWERS[k % len(ANSWERS)]) for k in range(n)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder / "rows.jsonl"


def write_text_rows(folder: Path) -> Path:
    """`rows.jsonl` in `folder`, without pictures."""
    rows = [[{"role": "user", "content": "Which?"}, {"role": "assistant", "content": answer}] for answer in ANSWERS]
    lines = [json.dumps({"messages": messages}) + "\n" for messages in rows]
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder / "rows.jsonl"


@cache
def shared_rows() -> Path:
    """Twelve rows. Read only."""
    return write_rows(Path(HOME.name) / "data")


def config(**optimiser: object) -> SftConfig:
    """Six steps of four rows on the CPU; validation, log and checkpoint every few steps."""
    return SftConfig(
        seed=3,
        model=BaseModelConfig(base=str(tiny.folder_of("qwen2.5-vl")), device="cpu"),
        data=DataConfig(train=shared_rows(), validation=shared_rows(), augment=AugmentConfig()),
        optimiser=OptimiserConfig.model_validate({"batch": 4, "max_steps": 6, "lr": 1e-2} | optimiser),
        log_every=1,
        validate_every=3,
        checkpoint_every=2,
    )


@cache
def whole_run() -> SftResult:
    """A run of `config()` from begin to end. Read only."""
    return train(config(), Path(HOME.name) / "whole")


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")
