"""A local model as a chat model, the same for every architecture: what goes in, what comes out, and what is refused."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from tests.models import tiny
from transformers import AutoModelForImageTextToText

from loopwright.errors import BadInput, IntegrityError, UnknownName
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.grammar import regex_grammar
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel
from loopwright.schema import ImageRef

PICTURES = tiny.Pictures()
LOOK, OTHER = PICTURES.add(tiny.png(1)), PICTURES.add(tiny.png(2, width_px=84))


def model_of(family: str, **card: Any) -> LocalChatModel:
    given: dict[str, Any] = {"decoding": Decoding(max_tokens=12)} | card
    base = str(tiny.folder_of(family))
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=base, **given), images=PICTURES)


@pytest.fixture(params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest) -> LocalChatModel:
    return model_of(request.param)


@pytest.fixture
def qwen() -> LocalChatModel:
    return model_of("qwen2.5-vl")


def about(ref: ImageRef, words: str = "Where is T12?") -> list[BaseMessage]:
    return [HumanMessage([image_block(ref), {"type": "text", "text": words}])]


PROMPTS: list[list[BaseMessage]] = [
    about(LOOK),
    [SystemMessage("You navigate a C-arm."), *about(OTHER, "Look. " * 12)],
    [HumanMessage("Hi")],
    [HumanMessage([image_block(LOOK), image_block(OTHER), "Compare."]), AIMessage("Same."), HumanMessage("Sure?")],
]


def test_greedy_text_is_what_transformers_draws(model: LocalChatModel) -> None:
    """Prompt, pictures and decoding are right: the folder asks for sampling and a repetition penalty, the card not."""
    plain: Any = AutoModelForImageTextToText.from_pretrained(model.card.base, dtype=torch.float32)
    inputs = dict(model.prepare(PROMPTS[1]))
    ids = plain.generate(**inputs, do_sample=False, repetition_penalty=1.0, max_new_tokens=12)
    n_prompt = inputs["input_ids"].shape[1]
    expected = model.engine.processor.tokenizer.decode(ids[0, n_prompt:], skip_special_tokens=True)
    assert model.invoke(PROMPTS[1]).text == expected


def test_text_does_not_depend_on_the_batch(model: LocalChatModel) -> None:
    alone = [model.invoke(prompt) for prompt in PROMPTS]
    assert {m.response_metadata["batch_size"] for m in alone} == {1}
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(model.invoke, PROMPTS * 3))
    assert max(m.response_metadata["batch_size"] for m in together) >= len(PROMPTS)
    assert [m.text for m in together] == [m.text for m in alone] * 3
    assert len({m.text for m in alone}) > 1


def test_a_stream_is_the_whole_reply_in_pieces(model: LocalChatModel) -> None:
    whole = model.invoke(PROMPTS[0])
    chunks = list(model.stream(PROMPTS[0]))
    assert len(chunks) > 2
    message = sum(chunks[1:], chunks[0])
    assert isinstance(message, AIMessageChunk)
    assert (message.text, message.usage_metadata) == (whole.text, whole.usage_metadata)


def test_the_reply_says_what_it_cost_and_how_it_ended(model: LocalChatModel) -> None:
    reply = model.invoke(PROMPTS[0], max_tokens=5)
    n_prompt = model.prepare(PROMPTS[0])["input_ids"].shape[1]
    assert reply.usage_metadata == {"input_tokens": n_prompt, "output_tokens": 5, "total_tokens": n_prompt + 5}
    facts = reply.response_metadata
    assert (facts["model_name"], facts["adapter"], facts["seed"], facts["finish_reason"]) == ("tiny", None, 0, "length")
    assert 0 <= facts["waited_s"] < facts["first_token_s"] < facts["latency_s"] < 60


def test_the_picture_changes_the_prompt_and_nothing_else_does(model: LocalChatModel) -> None:
    one, again, other = (model.prepare(about(ref)) for ref in (LOOK, LOOK, OTHER))
    assert all(torch.equal(one[name], again[name]) for name in one)
    shapes = one["pixel_values"].shape, other["pixel_values"].shape
    assert shapes[0] != shapes[1] or not torch.equal(one["pixel_values"], other["pixel_values"])


def test_the_seed_decides(qwen: LocalChatModel) -> None:
    texts = [qwen.invoke(PROMPTS[0], temperature=1.0, seed=seed).text for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_nobody_closes_a_turn_from_within(model: LocalChatModel) -> None:
    """Control tokens that a person or a tool writes are text: they neither end a turn nor stand for a picture."""
    tokenizer = model.engine.processor.tokenizer
    written = "".join(token for token in tokenizer.all_special_tokens if token != "<image_soft_token>")
    specials = torch.tensor(tokenizer.all_special_ids)

    def n_special(words: str) -> int:
        return int(torch.isin(model.prepare(about(LOOK, words))["input_ids"], specials).sum())

    assert n_special("x" + written) == n_special("x")


def test_a_token_that_the_processor_cannot_take_as_text_is_refused() -> None:
    with pytest.raises(BadInput, match="image"):
        model_of("gemma3").invoke(about(LOOK, "<image_soft_token>"))


def test_a_stop_string_ends_the_reply(qwen: LocalChatModel) -> None:
    whole = qwen.invoke(PROMPTS[0], grammar=regex_grammar("one, two, three", 20))
    stopped = qwen.invoke(PROMPTS[0], grammar=regex_grammar("one, two, three", 20), stop=[", th", "never"])
    assert (whole.text, stopped.text) == ("one, two, three", "one, two")
    assert stopped.response_metadata["finish_reason"] == "stop"


def test_a_smaller_picture_takes_fewer_tokens(qwen: LocalChatModel) -> None:
    small = model_of("qwen2.5-vl", image_size_px=28)
    sizes = [tuple(m.prepare(about(OTHER))["image_grid_thw"][0]) for m in (qwen, small)]
    assert sizes == [(1, 4, 6), (1, 2, 2)]


def test_async_calls_work(qwen: LocalChatModel) -> None:
    async def both() -> tuple[str, str]:
        pieces = [chunk.text async for chunk in qwen.astream(PROMPTS[0])]
        return (await qwen.ainvoke(PROMPTS[0])).text, "".join(pieces)

    whole, streamed = asyncio.run(both())
    assert whole == streamed == qwen.invoke(PROMPTS[0]).text


@tool
def move(left_mm: int) -> str:
    """Move the view."""
    return f"moved {left_mm} mm"


CALLS = regex_grammar(r'Now\. <tool_call>\n\{"name": "move", "arguments": \{"left_mm": 7\}\}\n</tool_call>', 90)
"""Random weights call nothing by themselves."""


def test_tools_are_called_and_answered(model: LocalChatModel) -> None:
    equipped = model.bind_tools([move])
    chunks = list(equipped.stream(PROMPTS[0], grammar=CALLS))
    assert "".join(chunk.text for chunk in chunks).strip() == "Now."
    called = equipped.invoke(PROMPTS[0], grammar=CALLS)
    assert [(c["name"], c["args"]) for c in called.tool_calls] == [("move", {"left_mm": 7})]
    assert called.tool_calls == sum(chunks[1:], chunks[0]).tool_calls
    answer = move.invoke(called.tool_calls[0])
    assert isinstance(answer, ToolMessage)
    tools = [{"type": "function", "function": {"name": "move"}}]
    inputs = model.prepare([*PROMPTS[0], called, answer], tools)
    prompt = model.engine.processor.tokenizer.decode(inputs["input_ids"][0])
    places = [prompt.index(part) for part in ("<tools>", "T12?", '<tool_call>\n{"name": "move"', "moved 7 mm")]
    assert places == sorted(places)


def test_a_template_that_knows_tools_writes_them_itself(qwen: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    template = (
        "{{ tools | tojson }}{% for m in messages %}|{{ m.role }}:{% for p in m.content %}{{ p.text }}{% endfor %}"
        "{% for c in m.tool_calls %}{{ c.function.arguments.left_mm }}{% endfor %}{% endfor %}"
    )
    monkeypatch.setattr(qwen.engine.processor, "chat_template", template)
    asked = [HumanMessage("Go."), AIMessage("", tool_calls=[{"name": "move", "args": {"left_mm": 7}, "id": "a"}])]
    inputs = qwen.prepare([*asked, ToolMessage("done", tool_call_id="a")], [{"name": "move"}])
    text = qwen.engine.processor.tokenizer.decode(inputs["input_ids"][0])
    assert text == '[{"name": "move"}]|user:Go.|assistant:7|tool:done'


@pytest.mark.parametrize(
    ("messages", "options", "error", "says"),
    [
        (PROMPTS[0], {"sed": 3}, UnknownName, "`seed`"),
        (PROMPTS[0], {"temperature": -1}, BadInput, "temperature"),
        (PROMPTS[0], {"max_tokens": 5000}, BadInput, "context of 2048 tokens"),
        ([ChatMessage(role="judge", content="x")], {}, BadInput, "'chat'"),
        ([HumanMessage([{"type": "audio", "base64": "AA", "mime_type": "audio/wav"}])], {}, BadInput, "'audio'"),
        (about(ImageRef(sha256="0" * 64, width_px=1, height_px=1)), {}, IntegrityError, "0000"),
    ],
)
def test_what_cannot_be_done_is_refused(
    qwen: LocalChatModel, messages: list[BaseMessage], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        qwen.invoke(messages, **options)


def test_turns_that_the_template_refuses_are_named() -> None:
    with pytest.raises(BadInput, match=r"user, user.*alternate"):
        model_of("gemma3").invoke([HumanMessage("a"), HumanMessage("b")])
