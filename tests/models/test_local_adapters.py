"""LoRA adapters by role on one shared base: ours are peft's, they do not disturb each other, and misfits are named."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.messages import HumanMessage
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.integrations import init_empty_weights
from safetensors.torch import load_file, save_file
from tests.models import tiny
from transformers import AutoModelForImageTextToText

from loopwright.errors import BadInput, Stopped, UnknownName
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.check import check_card
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.networks.carm import CArmLocaliser, load_carm_network
from loopwright.schema import CancelToken

ASK = [HumanMessage("Where is the left wrist?")]


def write_adapter(folder: Path, base: Path, seed: int, **config: Any) -> Path:
    """What plain peft writes of an adapter whose both halves are random, so that it changes every answer."""
    model: Any = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    given: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | config
    wrapped = get_peft_model(model, LoraConfig(**given))
    torch.manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    wrapped.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def base() -> Path:
    return tiny.folder_of("qwen2.5-vl")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("adapters")
    return {
        "localiser": write_adapter(home / "localiser", base, seed=1),
        "navigator": write_adapter(home / "navigator", base, seed=2, r=2, target_modules=["q_proj", "v_proj"]),
    }


def model_of(base: Path, adapters: dict[str, Path]) -> LocalChatModel:
    card = ModelCard(
        name="tiny", kind="local", base=str(base), adapters=adapters, decoding=Decoding(max_tokens=10)
    )  # fmt: skip
    return LocalChatModel(card=card)


def test_a_role_answers_as_plain_peft_does(base: Path, adapters: dict[str, Path]) -> None:
    model = model_of(base, adapters)
    inputs = dict(model.prepare(ASK))
    for role, folder in adapters.items():
        plain: Any = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(folder))
        ids = plain.generate(**inputs, do_sample=False, repetition_penalty=1.0, max_new_tokens=10)
        drawn = ids[0, inputs["input_ids"].shape[1] :]
        expected = model.engine.tokenizer.decode(drawn, skip_special_tokens=True)
        assert model.with_adapter(role).invoke(ASK).text == expected


def test_concurrent_roles_share_the_base_and_do_not_disturb_each_other(base: Path, adapters: dict[str, Path]) -> None:
    plain = model_of(base, adapters)
    roles = [plain, plain.with_adapter("localiser"), plain.with_adapter("navigator")]
    assert len({id(model.engine) for model in [*roles, model_of(base, {})]}) == 1
    alone = [model.invoke(ASK).text for model in roles]
    assert len(set(alone)) == 3
    with ThreadPoolExecutor(9) as pool:
        together = list(pool.map(lambda model: model.invoke(ASK), roles * 3))
    assert [reply.text for reply in together] == alone * 3
    assert [r.response_metadata["adapter"] for r in together[:3]] == [None, "localiser", "navigator"]


def test_choices_are_scored_by_the_role_and_its_temperature(base: Path, adapters: dict[str, Path]) -> None:
    plain = model_of(base, adapters)
    card = plain.card.model_copy(update={"choice_temperature": {"localiser": 4.0}})
    localiser = LocalChatModel(card=card, adapter="localiser")
    choices = ["Skull", "T1", "Left wrist"]
    alone, ours = plain.score_choices(ASK, choices), localiser.score_choices(ASK, choices)
    assert not np.allclose(alone.log_probs, ours.log_probs)
    assert np.allclose(alone.probabilities, np.exp(alone.log_probs) / np.exp(alone.log_probs).sum())
    flat = np.exp(ours.log_probs / 4 - np.max(ours.log_probs / 4))
    assert np.allclose(ours.probabilities, flat / flat.sum())
    longer = [HumanMessage("Which one is it, of all that can be seen from here?")]
    together = localiser.score_choices_of([longer, ASK, ASK], choices)
    assert np.allclose(together.probabilities[1:], ours.probabilities, atol=1e-5)
    assert np.allclose(together.log_probs[0], localiser.score_choices(longer, choices).log_probs, atol=1e-4)
    again = plain.score_choices(ASK, choices)
    assert np.allclose(again.log_probs, alone.log_probs)
    cancel = CancelToken()
    cancel.stop()
    with pytest.raises(Stopped):
        plain.score_choices(ASK, choices, cancel=cancel)
    with pytest.raises(Stopped):
        plain.score_choices_of([ASK], choices, cancel=cancel)


def test_an_adapter_can_be_trained_further_and_loaded_again(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "mine", base, seed=3)
    model = model_of(base, {"mine": folder}).with_adapter("mine")
    before = model.invoke(ASK).text
    write_adapter(folder, base, seed=4)
    assert model.invoke(ASK).text == before
    model.engine.unload_adapter(folder)
    assert model.invoke(ASK).text != before
    model.engine.unload_adapter(folder)
    with pytest.raises(BadInput, match="not loaded"):
        model.engine.unload_adapter(folder)


def test_an_unknown_role_is_named(base: Path, adapters: dict[str, Path]) -> None:
    with pytest.raises(UnknownName, match=r"navigater.*`navigator`"):
        model_of(base, adapters).with_adapter("navigater")


def spoil(folder: Path, how: str) -> None:
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    match how:
        case "missing":
            weights.unlink()
        case "pickled":
            weights.unlink()
            torch.save(tensors, folder / "adapter_model.bin")
        case "torn":
            weights.write_bytes(weights.read_bytes()[:100])
        case "incomplete":
            save_file(dict(list(tensors.items())[:-2]), weights)
        case "no configuration":
            (folder / "adapter_config.json").unlink()
        case "malformed configuration":
            (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LOOPS"}))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "no weights"),
        ("pickled", "pickled"),
        ("torn", "does not fit"),
        ("incomplete", "lacks"),
        ("no configuration", "adapter_config.json"),
        ("malformed configuration", "does not fit"),
    ],
)
def test_a_spoilt_adapter_is_refused_and_leaves_no_trace(base: Path, tmp_path: Path, how: str, says: str) -> None:
    folder = write_adapter(tmp_path / "spoilt", base, seed=5)
    model = model_of(base, {"spoilt": folder})
    before = model.invoke(ASK).text
    spoil(folder, how)
    with pytest.raises(BadInput, match=says):
        model.with_adapter("spoilt")
    assert model.invoke(ASK).text == before


@pytest.mark.parametrize("other", ["gemma3", "wider", "deeper"])
def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path, other: str) -> None:
    match other:
        case "gemma3":
            trained_on = tiny.folder_of("gemma3")
        case "wider":
            trained_on = tiny.make_qwen25vl(tmp_path / "wider", hidden=48)
        case _:
            trained_on = tiny.make_qwen25vl(tmp_path / "deeper", layers=3)
    folder = write_adapter(tmp_path / "adapter", trained_on, seed=6)
    model = model_of(base, {"navigator": folder})
    before = model.invoke(ASK).text
    with pytest.raises(BadInput, match="does not fit") as refused:
        model.with_adapter("navigator")
    assert str(trained_on) in str(refused.value)
    assert model.invoke(ASK).text == before


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    ("owner", "name", "changed"),
    [
        (PeftModel, "load_adapter", init_empty_weights),
        (AutoModelForImageTextToText, "from_config", lambda: default_dtype(torch.bfloat16)),
        (AutoModelForImageTextToText, "from_pretrained", lambda: default_dtype(torch.bfloat16)),
    ],
)
def test_a_network_that_another_thread_makes_meanwhile_is_whole(
    owner: type,
    name: str,
    changed: Callable[[], AbstractContextManager[None]],
    base: Path,
    adapters: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While they make a model, peft and transformers change torch for every thread of the process."""
    begun, made, original = Event(), Event(), getattr(owner, name)

    def slowly(*args: Any, **kwargs: Any) -> Any:
        with changed():
            begun.set()
            made.wait(0.5)  # in vain, where who makes a network waits until this is over
        return original(*args, **kwargs)

    def make() -> CArmLocaliser:
        assert begun.wait(60)
        network = load_carm_network()
        made.set()
        return network

    monkeypatch.setattr(owner, name, slowly)
    with ThreadPoolExecutor(1) as other:
        network = other.submit(make)
        card = model_of(base, adapters).card.model_copy(update={"dtype": "float32"})  # an engine that nobody has yet
        list(check_card(card))
        LocalChatModel(card=card).with_adapter("localiser").invoke(ASK)
        picture = np.zeros((128, 128), dtype=np.uint8)
        assert np.isfinite(list(network.result(60).localise(picture).nearest.values())).all()
