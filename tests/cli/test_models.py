"""`loopwright models`: listing and showing cards, and finding out what is missing or wrong behind one."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.models.chat_server import MODEL, ChatServer

from loopwright.settings import settings

Cli = Callable[..., Any]
WriteCard = Callable[..., str]


@pytest.fixture
def card(tmp_path: Path) -> WriteCard:
    """Writes a card and returns its path."""

    def write(**values: Any) -> str:
        path = tmp_path / "card.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


def test_list_names_every_card_and_your_own(loopwright: Cli) -> None:
    settings().models_dir.mkdir(parents=True)
    (settings().models_dir / "mine.yaml").write_text("kind: scripted\ndescription: a rehearsal\nreplies: [left]\n")
    listed = {line["name"]: line for line in loopwright("models", "list", "--json").json}
    assert {"qwen25vl-7b", "medgemma-4b", "llava15-7b", "mine"} <= set(listed)
    assert listed["mine"]["replies"] == ["left"] and "base" not in listed["mine"]
    said = loopwright("models", "list").out
    assert all(name in said for name in listed) and "a rehearsal" in said


def test_show_says_what_is_in_force(loopwright: Cli) -> None:
    (line,) = loopwright("models", "show", "vllm-qwen25vl-7b", "--json").json
    assert (line["kind"], line["timeout_s"], line["decoding"]["temperature"]) == ("served", 120, 0)
    said = loopwright("models", "show", "vllm-qwen25vl-7b").out
    assert "http://localhost:8000/v1" in said and "decoding.max_tokens" in said and "adapters" not in said


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_card_suggests_the_nearest(loopwright: Cli, command: str) -> None:
    done = loopwright("models", command, "qwen25vl")
    assert done.code == 2 and "Did you mean `qwen25vl-7b`" in done.err


def findings(done: Any) -> dict[str, tuple[bool, str]]:
    return {line["what"]: (line["ok"], line["said"]) for line in done.json}


def test_check_a_script_and_an_endpoint(loopwright: Cli, card: WriteCard) -> None:
    assert findings(loopwright("models", "check", card(kind="scripted", replies=["a", "b"]), "--json")) == {
        "script": (True, "2 replies")
    }
    with ChatServer() as server:
        good = card(kind="served", base=MODEL, base_url=server.url)
        assert loopwright("models", "check", good).code == 0
        done = loopwright("models", "check", card(kind="served", base="tiny-vml", base_url=server.url), "--json")
    assert done.code == 1 and f"Did you mean `{MODEL}`" in findings(done)["endpoint"][1]
    done = loopwright("models", "check", card(kind="served", base=MODEL, base_url=server.url, max_retries=0))
    assert done.code == 1 and "cannot be reached" in done.out and "wrong" in done.out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two tiny bases of the real architecture, `base` and a wider `other`, each with an adapter that peft wrote."""
    from peft import LoraConfig, get_peft_model
    from tests.models.tiny import make_qwen25vl
    from transformers import AutoModelForImageTextToText

    root = tmp_path_factory.mktemp("models")
    for name, hidden in (("base", 32), ("other", 64)):
        make_qwen25vl(root / name, hidden=hidden)
        model = AutoModelForImageTextToText.from_pretrained(root / name)
        get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(
            str(root / f"{name}-adapter")
        )
    yield root


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A copy of `trained` that a test may break."""
    return Path(shutil.copytree(trained, tmp_path / "models"))


def check(loopwright: Cli, card: WriteCard, base: Path | str, **adapters: Path) -> dict[str, tuple[bool, str]]:
    path = card(kind="local", base=str(base), adapters={role: str(folder) for role, folder in adapters.items()})
    done = loopwright("models", "check", path, "--json")
    found = findings(done)
    assert done.code == (0 if all(ok for ok, _ in found.values()) else 1)
    return found


def test_a_whole_local_model_passes(loopwright: Cli, card: WriteCard, trained: Path) -> None:
    found = check(loopwright, card, trained / "base", carm=trained / "base-adapter")
    assert all(ok for ok, _ in found.values())
    assert list(found) == ["base", "architecture", "weights", "processor", "adapter carm"]
    assert "qwen2_5_vl" in found["architecture"][1] and "LORA" in found["adapter carm"][1]


def test_an_adapter_of_another_base_is_told(loopwright: Cli, card: WriteCard, trained: Path) -> None:
    found = check(loopwright, card, trained / "base", carm=trained / "base-adapter", drive=trained / "other-adapter")
    assert found["adapter carm"][0]
    ok, said = found["adapter drive"]
    assert not ok and "does not fit the base" in said and "other" in said


def test_everything_that_is_missing_is_told_at_once(loopwright: Cli, card: WriteCard, models: Path) -> None:
    (models / "base" / "tokenizer.json").unlink()
    weights = models / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (models / "base-adapter" / "adapter_model.safetensors").unlink()
    found = check(loopwright, card, models / "base", carm=models / "base-adapter", drive=models / "nowhere")
    assert {what for what, (ok, _) in found.items() if not ok} == {
        "weights", "processor", "adapter carm", "adapter drive",
    }  # fmt: skip
    assert "torn" in found["weights"][1]


def test_pickled_weights_are_named_and_never_read(loopwright: Cli, card: WriteCard, models: Path) -> None:
    for folder, name in (("base", "model"), ("base-adapter", "adapter_model")):
        (models / folder / f"{name}.safetensors").unlink()
    (models / "base-adapter" / "adapter_model.bin").write_bytes(b"whatever this is, nobody opens it")
    found = check(loopwright, card, models / "other", carm=models / "base-adapter")
    ok, said = found["adapter carm"]
    assert not ok and "`adapter_model.bin`, which are never loaded" in said
    (models / "base" / "pytorch_model.bin").write_bytes(b"nor this")
    found = check(loopwright, card, models / "base", carm=models / "base-adapter")
    assert list(found) == ["base"] and "pickled weights, `pytorch_model.bin`" in found["base"][1]


def test_a_missing_shard_is_named(loopwright: Cli, card: WriteCard, models: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (models / "base" / "model.safetensors").rename(models / "base" / "model-00001-of-00002.safetensors")
    (models / "base" / "model.safetensors.index.json").write_text(json.dumps(index))
    ok, said = check(loopwright, card, models / "base")["weights"]
    assert not ok and "lacks 1 of 2 shards, `model-00002-of-00002.safetensors` first" in said


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("./nowhere", "is no folder"),
        ("org/never-fetched", "`hf download org/never-fetched` fetches it"),
        ("not a hub id", "a folder begins with `./`"),
    ],
)
def test_a_base_that_is_not_there(loopwright: Cli, card: WriteCard, base: str, said: str) -> None:
    found = check(loopwright, card, base)
    assert list(found) == ["base"] and said in found["base"][1]


def test_what_is_no_language_model_is_told(loopwright: Cli, card: WriteCard, models: Path) -> None:
    (models / "base" / "config.json").write_text('{"model_type": "vit"}')
    found = check(loopwright, card, models / "base")
    assert not found["architecture"][0] and "no language model" in found["architecture"][1]
