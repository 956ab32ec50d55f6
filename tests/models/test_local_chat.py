"""A local model as a chat model: seeds, stops, templates, and what is refused. `test_local_families` has the rest."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    ToolMessage,
)
from tests.models import tiny

from loopwright.errors import BadInput, IntegrityError, UnknownName
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.grammar import regex_grammar
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel
from loopwright.schema import ImageRef

PICTURES = tiny.Pictures()
LOOK = PICTURES.add(tiny.png(1, width_px=84))


def model_of(family: str, **card: Any) -> LocalChatModel:
    given: dict[str, Any] = {"decoding": Decoding(max_tokens=12)} | card
    base = str(tiny.folder_of(family))
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=base, **given), images=PICTURES)


@pytest.fixture
def qwen() -> LocalChatModel:
    return model_of("qwen2.5-vl")


def about(ref: ImageRef, words: str = "Where is T12?") -> list[BaseMessage]:
    return [HumanMessage([image_block(ref), {"type": "text", "text": words}])]


def test_the_seed_decides(qwen: LocalChatModel) -> None:
    texts = [qwen.invoke(about(LOOK), temperature=1.0, seed=seed).text for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_token_that_the_processor_cannot_take_as_text_is_refused() -> None:
    with pytest.raises(BadInput, match="image"):
        model_of("gemma3").invoke(about(LOOK, "<image_soft_token>"))


def test_a_stop_string_ends_the_reply(qwen: LocalChatModel) -> None:
    whole = qwen.invoke(about(LOOK), grammar=regex_grammar("one, two, three", 20))
    stopped = qwen.invoke(about(LOOK), grammar=regex_grammar("one, two, three", 20), stop=[", th", "never"])
    assert (whole.text, stopped.text) == ("one, two, three", "one, two")
    assert stopped.response_metadata["finish_reason"] == "stop"


def test_a_smaller_picture_takes_fewer_tokens(qwen: LocalChatModel) -> None:
    small = model_of("qwen2.5-vl", image_size_px=28)
    sizes = [tuple(m.prepare(about(LOOK))["image_grid_thw"][0]) for m in (qwen, small)]
    assert sizes == [(1, 4, 6), (1, 2, 2)]


def test_async_calls_work(qwen: LocalChatModel) -> None:
    async def both() -> tuple[str, str]:
        pieces = [chunk.text async for chunk in qwen.astream(about(LOOK))]
        return (await qwen.ainvoke(about(LOOK))).text, "".join(pieces)

    whole, streamed = asyncio.run(both())
    assert whole == streamed == qwen.invoke(about(LOOK)).text


def test_a_template_that_knows_tools_writes_them_itself(qwen: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    template = (
        "{# <tool_call> #}{{ tools | tojson }}{% for m in messages %}|{{ m.role }}:"
        "{% for p in m.content %}{{ p.text }}{% endfor %}"
        "{% for c in m.tool_calls %}{{ c.function.arguments.left_mm }}{% endfor %}{% endfor %}"
    )
    monkeypatch.setattr(qwen.engine.processor, "chat_template", template)
    asked = [HumanMessage("Go."), AIMessage("", tool_calls=[{"name": "move", "args": {"left_mm": 7}, "id": "a"}])]
    inputs = qwen.prepare([*asked, ToolMessage("done", tool_call_id="a")], [{"name": "move"}])
    text = qwen.engine.tokenizer.decode(inputs["input_ids"][0])
    assert text == '[{"name": "move"}]|user:Go.|assistant:7|tool:done'


@pytest.mark.parametrize(
    ("messages", "options", "error", "says"),
    [
        (about(LOOK), {"sed": 3}, UnknownName, "`seed`"),
        (about(LOOK), {"temperature": -1}, BadInput, "temperature"),
        (about(LOOK), {"max_tokens": 5000}, BadInput, "context of 2048 tokens"),
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
