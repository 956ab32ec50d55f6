"""What the model is trained on is what it is shown at inference, token for token and pixel for pixel."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import HumanMessage
from tests.finetune.sft.sft_runs import ANSWERS, config, row, shared_rows, write_text_rows
from tests.models import tiny

from loopwright.finetune.sft.config import LoraSettings
from loopwright.finetune.sft.data import load_rows
from loopwright.finetune.sft.train import build_trainer
from loopwright.models.cards import ModelCard
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.local.loading import load_base
from loopwright.models.local.processor import tokenizer_of


def test_the_loss_is_that_of_the_answers_and_the_prompt_is_the_one_of_inference(tmp_path: Path) -> None:
    settings = config()
    base = load_base(settings.model.base, folder=settings.model.folder, device="cpu")
    rows = load_rows(shared_rows())
    trainer = build_trainer(settings, base, rows, None, tmp_path)
    batch = trainer.data_collator([rows.dataset[1], rows.dataset[4]])
    learnt = [tokenizer_of(base.processor).decode(labels[labels != -100]) for labels in batch["labels"]]
    assert learnt == [f"{answer}<|im_end|>\n" for answer in (ANSWERS[1], ANSWERS[0])]

    pictures = tiny.Pictures()
    card = ModelCard(name="tiny", kind="local", base=settings.model.base)
    asked = HumanMessage(
        [image_block(pictures.add(tiny.png(1))), {"type": "text", "text": "Which landmark is nearest?"}]
    )
    prompt = LocalChatModel(card=card, images=pictures).prepare([asked])
    n = prompt["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"][:1, :n], prompt["input_ids"])
    assert (batch["labels"][0, :n] == -100).all() and batch["labels"][0, n] != -100
    assert torch.equal(batch["pixel_values"][: len(prompt["pixel_values"])], prompt["pixel_values"])


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma2"])
def test_a_text_only_base_is_trained_on_the_prompt_of_inference(family: str, tmp_path: Path) -> None:
    folder = tiny.folder_of(family)
    settings = config().model_copy(update={"lora": LoraSettings(vision=False)})
    base = load_base(str(folder), folder=folder, device="cpu")
    rows = load_rows(write_text_rows(tmp_path)).text_only()
    trainer: Any = build_trainer(settings, base, rows, None, tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[1], trainer.train_dataset[0]])
    learnt = [str(base.tokenizer.decode(labels[labels != -100])) for labels in batch["labels"]]
    end = "<end_of_turn>\n" if family == "gemma2" else "<|im_end|>\n"
    assert learnt == [f"{answer}{end}" for answer in (ANSWERS[1], ANSWERS[0])]
    prompt = LocalChatModel(card=ModelCard(name="tiny", kind="local", base=str(folder))).prepare(
        [HumanMessage("Which?")]
    )
    n = prompt["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"][:1, :n], prompt["input_ids"])
    assert (batch["labels"][0, :n] == -100).all() and batch["labels"][0, n] != -100


def test_pictures_are_fitted_as_at_inference(tmp_path: Path) -> None:
    pictures = tiny.Pictures()
    data = tiny.png(7, width_px=112, height_px=84)
    (tmp_path / "wide.png").write_bytes(data)
    (tmp_path / "rows.jsonl").write_text(json.dumps(row("wide.png", "T1")), encoding="utf-8")
    base = str(tiny.folder_of("qwen2.5-vl"))
    model = LocalChatModel(card=ModelCard(name="t", kind="local", base=base, image_size_px=56), images=pictures)
    shown = model.prepare([HumanMessage([image_block(pictures.add(data))])])
    trained = load_rows(tmp_path / "rows.jsonl", image_size_px=56).dataset[0]["images"][0]
    processor: Any = model.engine.processor
    processed = processor.image_processor(trained, return_tensors="pt")
    assert torch.equal(processed["pixel_values"], shown["pixel_values"])
