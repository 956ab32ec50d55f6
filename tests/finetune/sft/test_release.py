"""What becomes of an adapter: merged it is the same model, exported it is plain peft's, and another base is refused."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tests.finetune.sft.sft_runs import config, shared_rows, whole_run
from tests.models import tiny
from torch import Tensor
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel

from loopwright.cli import main
from loopwright.errors import BadInput
from loopwright.finetune.sft.data import load_rows
from loopwright.finetune.sft.record import AdapterRecord
from loopwright.finetune.sft.release import card, export, merge
from loopwright.finetune.sft.train import train
from loopwright.models.local.loading import load_base

BASE = tiny.folder_of("qwen2.5-vl")


@torch.inference_mode()
def logits(model: torch.nn.Module) -> Tensor:
    """Of a row that the adapter was trained on, picture included."""
    row = load_rows(shared_rows()).dataset[1]
    processor: Any = load_base(str(BASE), folder=BASE, device="cpu").processor
    text = processor.apply_chat_template(row["prompt"], add_generation_prompt=True)
    result: Tensor = model.eval()(**processor(text=[text], images=row["images"], return_tensors="pt")).logits
    return result


def base_model(folder: Path = BASE) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(folder)
    return model


def with_adapter(folder: Path) -> torch.nn.Module:
    """As someone loads it who has peft and has never heard of us."""
    return PeftModel.from_pretrained(base_model(), folder)


def test_the_merged_model_is_the_base_with_its_adapter(tmp_path: Path) -> None:
    folder = merge(whole_run().adapter.parent, tmp_path / "merged")
    adapted = logits(with_adapter(whole_run().adapter))
    merged = load_base(str(folder), folder=folder, device="cpu")
    torch.testing.assert_close(logits(merged.model), adapted, atol=1e-4, rtol=1e-4)
    assert float((adapted - logits(base_model())).abs().max()) > 0.01  # the adapter does something
    assert GenerationConfig.from_pretrained(folder).repetition_penalty == 1.5  # the base's own
    assert merged.processor.chat_template == load_base(str(BASE), folder=BASE).processor.chat_template


def test_plain_peft_loads_what_is_exported(tmp_path: Path) -> None:
    folder = export(whole_run().adapter, tmp_path / "out", "someone/tiny-vl")
    files = {"README.md", "adapter_config.json", "adapter_model.safetensors", "loopwright.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert torch.equal(logits(with_adapter(folder)), logits(with_adapter(whole_run().adapter)))
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (settings["base_model_name_or_path"], settings["r"], settings["lora_alpha"]) == ("someone/tiny-vl", 16, 32)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_an_adapter_is_written_in_half_the_room_and_says_almost_the_same(
    precision: Literal["bfloat16", "float16"], tmp_path: Path
) -> None:
    folder = export(whole_run().adapter, tmp_path / "out", precision=precision)
    size, whole = ((at / "adapter_model.safetensors").stat().st_size for at in (folder, whole_run().adapter))
    assert 0.45 < size / whole < 0.6
    modes = {name: (folder / name).stat().st_mode for name in ("adapter_model.safetensors", "README.md")}
    assert len({*modes.values()}) == 1, modes  # who may read the one may read the other
    asked, exact, bare = logits(with_adapter(folder)), logits(with_adapter(whole_run().adapter)), logits(base_model())
    assert float((asked - exact).abs().max()) < 0.02 * float((exact - bare).abs().max())


def test_the_card_says_what_the_adapter_comes_from(tmp_path: Path) -> None:
    record = AdapterRecord.of(whole_run().adapter)
    assert record is not None
    text = (export(whole_run().adapter, tmp_path / "out", "someone/tiny-vl") / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nbase_model: someone/tiny-vl\n")
    for said in (
        record.run.base.sha256,
        record.run.train_sha256,
        "12 rows",
        "6 steps of 4 rows",
        "rank 16, alpha 32",
        "gamma 0.35",
    ):
        assert said and said in text
    assert f"| eval_loss | {whole_run().validation_loss:.4f} |" in text
    assert str(BASE) not in text  # a reader's machine has no such folder


def test_a_checkpoint_is_an_adapter_too(tmp_path: Path) -> None:
    folder = export(whole_run().adapter.parent / "checkpoint-4", tmp_path / "out")
    record = AdapterRecord.of(folder)
    assert record is not None and record.steps == 4


def test_a_base_of_the_same_shape_with_other_weights_is_refused(tmp_path: Path) -> None:
    other = tiny.make_qwen25vl(tmp_path / "other", seed=1)
    with pytest.raises(BadInput, match=r"is not of this base.*sha256.*--base"):
        merge(whole_run().adapter, tmp_path / "out", str(other))
    assert not (tmp_path / "out").exists()


def test_a_base_that_moved_is_known_by_its_weights(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "moved")
    merged = merge(whole_run().adapter, tmp_path / "out", str(tmp_path / "moved"))
    torch.testing.assert_close(
        logits(base_model(merged)), logits(with_adapter(whole_run().adapter)), atol=1e-4, rtol=1e-4
    )


def test_a_base_that_was_named_from_the_working_directory_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    one_step = config(max_steps=1)
    relative = one_step.model_copy(update={"model": one_step.model.model_copy(update={"base": "./base"})})
    adapter = train(relative, Path("run")).adapter
    merged = merge(adapter, Path("out"))
    torch.testing.assert_close(logits(base_model(merged)), logits(with_adapter(adapter)), atol=1e-4, rtol=1e-4)


def test_an_adapter_of_other_software_is_merged_if_it_fits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    foreign = get_peft_model(base_model(), settings)
    foreign.save_pretrained(str(tmp_path / "foreign"))
    merged = merge(tmp_path / "foreign", tmp_path / "out")
    torch.testing.assert_close(logits(base_model(merged)), logits(foreign), atol=1e-4, rtol=1e-4)
    for name, other in {
        "wider": tiny.make_qwen25vl(tmp_path / "wider", hidden=64),
        "deeper": tiny.make_qwen25vl(tmp_path / "deeper", layers=3),
        "gemma": tiny.folder_of("gemma3"),
    }.items():
        with pytest.raises(BadInput, match="is not of this base"):
            merge(tmp_path / "foreign", tmp_path / f"out-{name}", str(other))
    with pytest.raises(BadInput, match=r"has no `loopwright\.json`"):
        export(tmp_path / "foreign", tmp_path / "export")


def test_what_is_no_adapter_and_what_is_taken_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no adapter"):
        merge(tmp_path, tmp_path / "out")
    with pytest.raises(BadInput, match="is not an empty folder"):
        export(whole_run().adapter, whole_run().adapter)
    shutil.copytree(whole_run().adapter, tmp_path / "torn")
    (tmp_path / "torn" / "adapter_model.safetensors").unlink()
    with pytest.raises(BadInput, match="has no weights"):
        merge(tmp_path / "torn", tmp_path / "out")
    (tmp_path / "torn" / "adapter_model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(BadInput, match="are torn"):
        merge(tmp_path / "torn", tmp_path / "out")


def test_the_commands_write_and_say_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(whole_run().adapter.parent)
    assert main(["train", "export", run, "--out", str(tmp_path / "adapter"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "adapter")}
    assert main(["train", "merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "merged")}
    assert main(["train", "merge", str(tmp_path / "none"), "--out", str(tmp_path / "again"), "--json"]) == 2


def test_the_card_says_what_was_emphasised() -> None:
    record = AdapterRecord.of(whole_run().adapter)
    assert record is not None
    assert "counts" not in card(record, "someone/tiny-vl")
    emphasised = record.config | {"emphasis": {"pattern": "<x>(.+)<", "weight": 3.0}}
    text = card(record.model_copy(update={"config": emphasised}), "someone/tiny-vl")
    assert "`<x>(.+)<` matches in its groups counts 3.0 times" in text
