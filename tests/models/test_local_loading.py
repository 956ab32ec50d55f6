"""Reading a model from a folder: what works, and what each thing that is wrong is called."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models import tiny
from transformers import AutoConfig

from loopwright.errors import BadInput, MissingDependency, OperatorError
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.local.loading import load_base, out_of_memory
from loopwright.models.local.processor import ImageOnlyQwen25VLProcessor, load_processor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny.folder_of("qwen2.5-vl"), tmp_path / "model"))


def open_model(base: Path | str, **card: Any) -> LocalChatModel:
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=str(base), **card))


def test_bfloat16_is_a_setting() -> None:
    base = tiny.folder_of("gemma3")
    loaded = load_base(str(base), folder=base, device="cpu", dtype="bfloat16")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    assert open_model(base, device="cpu", dtype="bfloat16").invoke("hello", max_tokens=3).text


def test_a_qwen_processor_needs_no_torchvision_and_is_saved_as_the_stock_one(folder: Path, tmp_path: Path) -> None:
    assert find_spec("torchvision") is None, "torchvision is installed: this test shows nothing"
    processor = load_processor(folder, AutoConfig.from_pretrained(folder))
    assert isinstance(processor, ImageOnlyQwen25VLProcessor)
    processor.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2_5_VLProcessor"
    again = load_processor(tmp_path / "again", AutoConfig.from_pretrained(folder))
    assert again.chat_template == processor.chat_template
    assert isinstance(again, ImageOnlyQwen25VLProcessor)
    assert again.image_token_id == processor.image_token_id


def spoil(folder: Path, how: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors = load_file(weights)
    match how:
        case "no folder":
            shutil.rmtree(folder)
        case "no configuration":
            config.unlink()
        case "no weights":
            weights.unlink()
        case "pickled":
            weights.unlink()
            torch.save(tensors, folder / "pytorch_model.bin")
        case "torn":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "incomplete":
            save_file({name: tensor for name, tensor in tensors.items() if "layers.1" not in name}, weights)
        case "another shape":
            config.write_text(config.read_text().replace('"intermediate_size": 64', '"intermediate_size": 96'))
        case "no language":
            config.write_text(json.dumps({"model_type": "vit", "hidden_size": 32}))
        case "no processor":
            (folder / "processor_config.json").unlink()
        case "no chat template":
            (folder / "chat_template.jinja").unlink()
        case "code of its own":
            config.write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}))
            (folder / "mine.py").write_text("raise SystemExit('this code was run')")
        case "torn configuration":
            config.write_text("{")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no folder", "config.json"),
        ("no configuration", "config.json"),
        ("no weights", "no weights"),
        ("pickled", r"pytorch_model\.bin.*run code"),
        ("torn", "torn"),
        ("incomplete", "lack"),
        ("another shape", "other shapes, .*down_proj"),
        ("no language", "no language model.*'vit'"),
        ("no chat template", "no chat template.*instruct"),
        ("code of its own", "custom code"),
        ("no processor", "incomplete"),
        ("torn configuration", "config"),
    ],
)
def test_a_spoilt_folder_is_refused_and_named(folder: Path, how: str, says: str) -> None:
    spoil(folder, how)
    with pytest.raises(BadInput, match=says) as refused:
        open_model(folder)
    assert str(folder) in str(refused.value)


def test_what_is_not_installed_is_named() -> None:
    base = tiny.folder_of("qwen2.5-vl")
    if find_spec("bitsandbytes") is None:
        with pytest.raises(MissingDependency, match=r"loopwright\[gpu\]"):
            open_model(base, quantisation="nf4")
    if not torch.cuda.is_available():
        with pytest.raises(MissingDependency, match="device: auto"):
            open_model(base, device="cuda")


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingDependency, match="hf download someone/some-model"):
        open_model("someone/some-model")


def test_running_out_of_memory_says_what_to_do() -> None:
    with pytest.raises(OperatorError, match=r"Thinking ran out of memory: .*allocate.* Think less\."):  # noqa: SIM117
        with out_of_memory("Thinking", "Think less."):
            torch.empty(2**52)
    with pytest.raises(RuntimeError, match=r"size|same number"), out_of_memory("Thinking", "Think less."):
        torch.dot(torch.ones(2), torch.ones(3))


@pytest.mark.gpu
def test_a_gpu_draws_in_bfloat16() -> None:
    model = open_model(tiny.folder_of("qwen2.5-vl"))
    first = model.engine.run(lambda m: next(m.parameters()))
    assert (first.device.type, first.dtype) == ("cuda", torch.bfloat16)
    assert model.invoke("hello", max_tokens=5).usage_metadata


@pytest.mark.gpu
def test_a_gpu_draws_in_four_bits() -> None:
    pytest.importorskip("bitsandbytes")
    model = open_model(tiny.folder_of("qwen2.5-vl"), quantisation="nf4")
    assert model.engine.run(lambda m: m.is_loaded_in_4bit)
    assert model.invoke("hello", max_tokens=5).usage_metadata
