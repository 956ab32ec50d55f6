"""The contract of a local model, the same for every architecture: what goes in, what comes out, what may be put on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from peft import LoraConfig, get_peft_model
from pydantic import BaseModel, Field
from tests.models import tiny

from loopwright.errors import BadInput, Stopped
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.check import check_card
from loopwright.models.grammar import json_grammar, regex_grammar
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.local.loading import auto_model, load_config
from loopwright.schema import CancelToken, ImageRef

PICTURES = tiny.Pictures()
LOOK, OTHER = PICTURES.add(tiny.png(1)), PICTURES.add(tiny.png(2, width_px=84))


def card_of(family: str, **card: Any) -> ModelCard:
    given: dict[str, Any] = {"decoding": Decoding(max_tokens=12)} | card
    return ModelCard(name="tiny", kind="local", base=str(tiny.folder_of(family)), **given)


@pytest.fixture(params=tiny.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(family: str) -> LocalChatModel:
    return LocalChatModel(card=card_of(family), images=PICTURES)


@pytest.fixture(params=tiny.VISION_FAMILIES)
def vision_model(request: pytest.FixtureRequest) -> LocalChatModel:
    return LocalChatModel(card=card_of(request.param), images=PICTURES)


@pytest.fixture(params=tiny.TEXT_FAMILIES)
def text_model(request: pytest.FixtureRequest) -> LocalChatModel:
    return LocalChatModel(card=card_of(request.param), images=PICTURES)


def about(ref: ImageRef, words: str = "Where is T12?") -> list[BaseMessage]:
    return [HumanMessage([image_block(ref), {"type": "text", "text": words}])]


@pytest.fixture
def prompts(family: str) -> list[list[BaseMessage]]:
    """With pictures where the family takes them."""
    if family in tiny.TEXT_FAMILIES:
        return [
            [HumanMessage("Where is T12?")],
            [SystemMessage("You navigate a C-arm."), HumanMessage(["Look. " * 12, "Where is T12?"])],
            [HumanMessage("Hi"), AIMessage("Yes."), HumanMessage("Sure?")],
        ]
    return [
        about(LOOK),
        [SystemMessage("You navigate a C-arm."), *about(OTHER, "Look. " * 12)],
        [HumanMessage("Hi")],
        [HumanMessage([image_block(LOOK), image_block(OTHER), "Compare."]), AIMessage("Same."), HumanMessage("Sure?")],
    ]


def test_greedy_text_is_what_transformers_draws(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    """Prompt, pictures and decoding are right: the folder asks for sampling and a repetition penalty, the card not."""
    base = model.card.base
    plain: Any = auto_model(load_config(base)).from_pretrained(base, dtype=torch.float32)
    inputs = dict(model.prepare(prompts[1]))
    ids = plain.generate(**inputs, do_sample=False, repetition_penalty=1.0, max_new_tokens=12)
    n_prompt = inputs["input_ids"].shape[1]
    expected = model.engine.tokenizer.decode(ids[0, n_prompt:], skip_special_tokens=True)
    assert model.invoke(prompts[1]).text == expected


def test_text_does_not_depend_on_the_batch(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    alone = [model.invoke(prompt) for prompt in prompts]
    assert {m.response_metadata["batch_size"] for m in alone} == {1}
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(model.invoke, prompts * 3))
    assert max(m.response_metadata["batch_size"] for m in together) >= len(prompts)
    assert [m.text for m in together] == [m.text for m in alone] * 3
    assert len({m.text for m in alone}) > 1


def test_a_stream_is_the_whole_reply_in_pieces(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    whole = model.invoke(prompts[0])
    chunks = list(model.stream(prompts[0]))
    assert len(chunks) > 2
    message = sum(chunks[1:], chunks[0])
    assert isinstance(message, AIMessageChunk)
    assert (message.text, message.usage_metadata) == (whole.text, whole.usage_metadata)


def test_the_reply_says_what_it_cost_and_how_it_ended(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    reply = model.invoke(prompts[0], max_tokens=5)
    n_prompt = model.prepare(prompts[0])["input_ids"].shape[1]
    assert reply.usage_metadata == {"input_tokens": n_prompt, "output_tokens": 5, "total_tokens": n_prompt + 5}
    facts = reply.response_metadata
    assert (facts["model_name"], facts["adapter"], facts["seed"], facts["finish_reason"]) == ("tiny", None, 0, "length")
    assert 0 <= facts["waited_s"] < facts["first_token_s"] < facts["latency_s"] < 60


def test_a_reply_that_is_cancelled_ends(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    cancel = CancelToken()
    pieces = model.stream(prompts[0], cancel=cancel, max_tokens=1500)
    next(pieces)
    cancel.stop("hands off")
    with pytest.raises(Stopped, match="hands off"):
        list(pieces)


class Step(BaseModel):
    landmark: Literal["Skull", "T1", "Carina"]
    left_mm: int = Field(ge=-150, le=150)
    reason: str = Field(max_length=6)


STEP = json_grammar(Step)


def test_every_reply_keeps_to_its_schema(family: str, prompts: list[list[BaseMessage]]) -> None:
    """At any temperature, in a batch, and though the card allows four tokens: the grammar knows its longest answer."""
    model = LocalChatModel(card=card_of(family, decoding=Decoding(max_tokens=4)), images=PICTURES)
    replies = [model.invoke(prompts[0], grammar=STEP), *model.batch([*prompts], grammar=STEP, temperature=2.0)]
    steps = [Step.model_validate_json(reply.text) for reply in replies]
    assert len({str(step) for step in steps}) > 1


def test_scored_choices_are_a_distribution_that_no_batch_changes(
    model: LocalChatModel, prompts: list[list[BaseMessage]]
) -> None:
    choices = ["Skull", "T1", "T12", "Left wrist"]
    together = model.score_choices_of(prompts, choices)
    assert together.probabilities.sum(axis=1) == pytest.approx(1)
    alone = [model.score_choices(prompt, choices).log_probs for prompt in prompts]
    assert np.abs(together.log_probs - alone).max() < 1e-3


def write_adapter(folder: Path, base: str) -> Path:
    """What plain peft writes, both halves random, so that it changes every answer."""
    wrapped = get_peft_model(
        auto_model(load_config(base)).from_pretrained(base), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    )
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    wrapped.save_pretrained(str(folder))
    return folder


def test_a_role_is_an_adapter_and_the_check_finds_all_of_it(
    family: str, prompts: list[list[BaseMessage]], tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "navigator", card_of(family).base)
    card = card_of(family, adapters={"navigator": adapter})
    found = list(check_card(card))
    assert all(finding.ok for finding in found), found
    assert [finding.what for finding in found] == ["base", "architecture", "weights", "processor", "adapter navigator"]
    takes = "text only" if family in tiny.TEXT_FAMILIES else "text and images"
    assert takes in found[1].said

    model = LocalChatModel(card=card, images=PICTURES)
    plain = model.invoke(prompts[0])
    tuned = model.with_adapter("navigator").invoke(prompts[0])
    assert plain.text != tuned.text and tuned.response_metadata["adapter"] == "navigator"
    assert model.invoke(prompts[0]).text == plain.text


def test_nobody_closes_a_turn_from_within(family: str, model: LocalChatModel) -> None:
    """Control tokens that a person or a tool writes are text: they neither end a turn nor stand for a picture."""
    tokenizer = model.engine.tokenizer
    written = "".join(token for token in tokenizer.all_special_tokens if token != "<image_soft_token>")
    specials = torch.tensor(tokenizer.all_special_ids)

    def n_special(words: str) -> int:
        messages = [HumanMessage(words)] if family in tiny.TEXT_FAMILIES else about(LOOK, words)
        return int(torch.isin(model.prepare(messages)["input_ids"], specials).sum())

    assert n_special("x" + written) == n_special("x") > 0


@tool
def move(left_mm: int) -> str:
    """Move the view."""
    return f"moved {left_mm} mm"


CALLS = regex_grammar(r'Now\. <tool_call>\n\{"name": "move", "arguments": \{"left_mm": 7\}\}\n</tool_call>', 90)
"""Random weights call nothing by themselves."""


def test_tools_are_called_and_answered(model: LocalChatModel, prompts: list[list[BaseMessage]]) -> None:
    equipped = model.bind_tools([move])
    chunks = list(equipped.stream(prompts[0], grammar=CALLS))
    assert "".join(chunk.text for chunk in chunks).strip() == "Now."
    called = equipped.invoke(prompts[0], grammar=CALLS)
    assert [(c["name"], c["args"]) for c in called.tool_calls] == [("move", {"left_mm": 7})]
    (one,), (streamed,) = called.tool_calls, sum(chunks[1:], chunks[0]).tool_calls
    assert {**one, "id": ""} == {**streamed, "id": ""} and one["id"] != streamed["id"]
    answer = move.invoke(called.tool_calls[0])
    assert isinstance(answer, ToolMessage)
    tools = [{"type": "function", "function": {"name": "move"}}]
    inputs = model.prepare([*prompts[0], called, answer], tools)
    prompt = model.engine.tokenizer.decode(inputs["input_ids"][0])
    places = [prompt.index(part) for part in ("<tools>", "T12?", '<tool_call>\n{"name": "move"', "moved 7 mm")]
    assert places == sorted(places)


def test_the_picture_changes_the_prompt_and_nothing_else_does(vision_model: LocalChatModel) -> None:
    one, again, other = (vision_model.prepare(about(ref)) for ref in (LOOK, LOOK, OTHER))
    assert all(torch.equal(one[name], again[name]) for name in one)
    shapes = one["pixel_values"].shape, other["pixel_values"].shape
    assert shapes[0] != shapes[1] or not torch.equal(one["pixel_values"], other["pixel_values"])


def test_a_text_only_model_refuses_an_image(text_model: LocalChatModel) -> None:
    with pytest.raises(
        BadInput, match=r"`messages\[1\]` \(human\) holds an image.*`tiny` takes text only.*base takes images"
    ):
        text_model.invoke([SystemMessage("You navigate a C-arm."), *about(LOOK)])


@pytest.mark.parametrize("family", ["gemma", "gemma2", "gemma3-text"])
def test_a_system_turn_that_the_template_refuses_begins_the_users(family: str, model: LocalChatModel) -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Yes."), HumanMessage("Sure?")]
    prompt = str(model.engine.tokenizer.decode(model.prepare(messages)["input_ids"][0]))
    assert prompt.startswith("<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>")
    with pytest.raises(BadInput, match=r"system, user, user.*alternate"):
        model.prepare([*messages[:2], HumanMessage("Hello?")])
