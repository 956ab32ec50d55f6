"""A run with visual tokens, on a base with tied and on one with untied embeddings, which tests share."""

import json
from functools import cache
from pathlib import Path

from langchain_core.messages import HumanMessage
from tests.finetune.sft.sft_runs import HOME, config
from tests.models import tiny

from loopwright.finetune.sft.config import BaseModelConfig, DataConfig, SftConfig
from loopwright.finetune.sft.train import train
from loopwright.models.answers import TextFormat
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.visual_tokens import codes_of, visual_pattern, visual_text

N_VISUAL = 24
SMALL = Path(__file__).parents[3] / "models" / "weights" / "base"
BASES = {"untied": tiny.folder_of("qwen2.5-vl"), "tied": SMALL}
FRAME: TextFormat[list[int]] = TextFormat(
    name="frame",
    pattern=rf"<speed>[0-9]{{1,2}}</speed><visual>{visual_pattern(4)}</visual>",
    longest_chars=100,
    example=f"<speed>7</speed><visual>{visual_text([1, 2, 3, 4])}</visual>",
    render=lambda codes: f"<speed>7</speed><visual>{visual_text(codes)}</visual>",
    read=lambda text: codes_of(text.partition("<visual>")[2].removesuffix("</visual>")),
    tidy=str,
)
TAUGHT = [3, 3, 23, 23]
ASK = [HumanMessage("What comes?")]


@cache
def trained(kind: str) -> Path:
    """The adapter of a run of a few steps, on frames that are always the same. Read only."""
    folder = Path(HOME.name) / f"visual-{kind}"
    folder.mkdir()
    said = [
        {"role": "user", "content": "What comes?"},
        {"role": "assistant", "content": FRAME.render(TAUGHT)},
    ]
    (folder / "rows.jsonl").write_text((json.dumps({"messages": said}) + "\n") * 8, encoding="utf-8")
    run: SftConfig = config(max_steps=12, lr=3e-2, clip_norm=1.0).model_copy(
        update={
            "model": BaseModelConfig(base=str(BASES[kind]), device="cpu", visual_tokens=N_VISUAL),
            "data": DataConfig(train=folder / "rows.jsonl"),
        }
    )
    return train(run, folder / "run").adapter


def model_of(kind: str, **adapters: Path) -> LocalChatModel:
    decoding = Decoding(max_tokens=40)
    return LocalChatModel(
        card=ModelCard(name="tiny", kind="local", base=str(BASES[kind]), adapters=adapters, decoding=decoding)
    )
