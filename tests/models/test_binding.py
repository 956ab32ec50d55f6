"""Tools of every kind are bound, and a local model is held to the call that is asked for, whatever its weights say."""

from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel, Field, v1
from tests.models import tiny
from tests.models.backends import look
from typing_extensions import TypedDict

from loopwright.errors import BadInput, UnknownName
from loopwright.models.binding import tool_schemas
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.scripted import ScriptedChatModel

ASK = [HumanMessage("Where to?")]


def move(mm: int, why: str = "") -> int:
    """Move the view."""
    return mm


class Turn(BaseModel):
    """Turn the view."""

    degrees: float = Field(description="how far")


class Older(v1.BaseModel):
    """Tilt the view."""

    degrees: int


class Halt(TypedDict):
    """Halt."""

    at_once: Annotated[bool, ..., "whether to"]


@langchain_tool
def note(text: str) -> str:
    """Keep a note."""
    return text


ANTHROPIC = {"name": "zoom", "description": "Zoom.", "input_schema": {"type": "object", "properties": {}}}
OPENAI = {"type": "function", "function": {"name": "wait", "parameters": {"$ref": "#/$defs/W", "$defs": {
    "W": {"type": "object", "properties": {"s": {"type": ["number", "null"]}}, "required": ["s"]}}}}}  # fmt: skip
BARE = {"type": "function", "function": {"name": "stop"}}
KINDS: dict[str, Any] = {
    "move": move, "Turn": Turn, "Older": Older, "Halt": Halt, "note": note, "look": look, "zoom": ANTHROPIC,
    "wait": OPENAI, "stop": BARE, "Step": {"title": "Step", "type": "object", "properties": {"x": {"type": "integer"}}},
}  # fmt: skip
"""By the name that each is called by; `look` is a tool of this package."""


@pytest.fixture(scope="module")
def model() -> LocalChatModel:
    card = ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl")), decoding=Decoding(max_tokens=9))
    return LocalChatModel(card=card)


def test_tools_of_every_kind_become_functions() -> None:
    schemas = tool_schemas(list(KINDS.values()))
    assert [schema["function"]["name"] for schema in schemas] == list(KINDS)
    assert all(schema["function"]["strict"] is True for schema in tool_schemas([move, Turn, look], strict=True))
    assert tool_schemas([look], strict=False)[0]["function"]["strict"] is False


@pytest.mark.parametrize("name", KINDS)
def test_a_local_model_is_forced_to_call_a_tool_by_name(model: LocalChatModel, name: str) -> None:
    others = [kind for other, kind in (("move", move), ("Turn", Turn)) if other != name]
    bound = model.bind_tools([KINDS[name], *others], tool_choice=name)
    for seed in range(2):
        (call,) = bound.invoke(ASK, temperature=1.0, seed=seed).tool_calls
        assert call["name"] == name
        if name == "Turn":
            Turn.model_validate(call["args"])


@pytest.mark.parametrize("choice", ["any", "required", True])
def test_any_is_a_mode_and_no_function(model: LocalChatModel, choice: Any) -> None:
    replies = [
        model.bind_tools([move, Turn], tool_choice=choice).invoke(ASK, temperature=2.0, seed=seed) for seed in range(6)
    ]
    assert {reply.tool_calls[0]["name"] for reply in replies} <= {"move", "Turn"}
    assert len({reply.tool_calls[0]["id"] for reply in replies}) == 6
    with pytest.raises(UnknownName, match="`move`"):
        model.bind_tools([move], tool_choice="mvoe")


def test_none_offers_no_tool(model: LocalChatModel) -> None:
    free, without = model.invoke(ASK), model.bind_tools([move], tool_choice="none").invoke(ASK)
    assert (without.text, without.tool_calls, without.usage_metadata) == (free.text, [], free.usage_metadata)


def test_a_response_format_holds_a_reply(model: LocalChatModel) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "Turn", "schema": Turn.model_json_schema()}}
    Turn.model_validate_json(model.invoke(ASK, response_format=schema).text)
    assert model.invoke(ASK, response_format={"type": "json_object"}).text.startswith("{")
    assert model.invoke(ASK, response_format={"type": "text"}).text == model.invoke(ASK).text
    with pytest.raises(BadInput, match=r"`response_format` = .'type': 'xml'"):
        model.invoke(ASK, response_format={"type": "xml"})
    replies = [
        model.bind_tools([move], response_format=schema).invoke(ASK, temperature=3.0, seed=seed) for seed in range(8)
    ]
    for reply in replies:  # a call, or the answer
        assert bool(reply.tool_calls) or Turn.model_validate_json(reply.text)


def test_a_card_may_ask_for_a_call_before_each_answer(model: LocalChatModel) -> None:
    first = LocalChatModel(card=model.card.model_copy(update={"tool_choice": "first"}), engine=model.engine)
    bound = first.bind_tools([move])
    call = bound.invoke(ASK)
    assert call.tool_calls[0]["name"] == "move"
    answered = [*ASK, call, ToolMessage("done", tool_call_id=call.tool_calls[0]["id"])]
    assert bound.invoke(answered).tool_calls == []
    assert bound.invoke([*answered, AIMessage("It is done."), *ASK]).tool_calls
    assert first.bind_tools([move], tool_choice="auto").invoke(ASK).tool_calls == []


def test_a_tool_that_is_no_function_is_no_call_of_a_local_model(model: LocalChatModel) -> None:
    with pytest.raises(BadInput, match="expected a function"):
        model.bind_tools([{"type": "web_search"}], tool_choice="any").invoke(ASK)


def test_blocks_beside_what_was_said_are_not_shown(model: LocalChatModel) -> None:
    called = {"name": "move", "args": {"mm": 1}, "id": "a", "type": "tool_call"}
    blocks: list[str | dict[Any, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "I move."},
        {"type": "tool_use", "id": "a", "name": "move", "input": {"mm": 1}},
    ]
    said_alone: list[str | dict[Any, Any]] = [{"type": "text", "text": "I move."}, called]
    for content in (blocks, said_alone):
        said = AIMessage(content, tool_calls=[called])
        plain = AIMessage("I move.", tool_calls=[called])
        shown = [model.prepare([*ASK, each])["input_ids"].tolist() for each in (said, plain)]
        assert shown[0] == shown[1]


def test_a_scripted_model_takes_the_same() -> None:
    bound = ScriptedChatModel(replies=("left",)).bind_tools([move, Turn, look], tool_choice="any", strict=True)
    assert bound.invoke(ASK).text == "left"


def test_standard_parameters_change_the_cards_decoding(model: LocalChatModel) -> None:
    standard: dict[str, Any] = {"max_tokens": 7, "temperature": 0.5}
    made = LocalChatModel(card=model.card, engine=model.engine, stop=["x"], **standard)
    assert (made.decoding, made.stop) == (Decoding(max_tokens=7, temperature=0.5), ["x"])
