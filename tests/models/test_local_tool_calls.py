"""Tool calls in the model's own text: written, read back, and a malformed one kept for the model to see."""

import json

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCall, message_chunk_to_message

from loopwright.models.local.tool_calls import call_text, instructions, knows_tools, parse

MOVE = ToolCall(name="move", args={"left_mm": 20, "why": 'the "head" <is> é'}, id="1")


def test_a_call_is_read_back() -> None:
    text = f"I move.\n{call_text(MOVE)}\n{call_text(ToolCall(name='move', args={}, id=None))}"
    spoken = parse(text)
    message = message_chunk_to_message(AIMessageChunk(content=spoken.text, tool_call_chunks=spoken.calls))
    assert isinstance(message, AIMessage)
    assert message.text == "I move."
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [("move", MOVE["args"]), ("move", {})]


def test_no_two_calls_have_the_same_id() -> None:
    """The ledger knows an act by its call's id: the outcome of another conversation's act is none of this one's."""
    ids = [call["id"] for _ in range(3) for call in parse(call_text(MOVE) + call_text(MOVE)).calls]
    assert len(set(ids)) == 6 and all(ids)


def test_plain_text_stays_as_it_is() -> None:
    assert parse(" no call here \n") == (" no call here \n", [])


@pytest.mark.parametrize(
    "body", ['{"name": "move", "arguments": {', '{"arguments": {}}', '["move"]', '{"name": "move", "arguments": 3}', ""]
)
def test_a_malformed_call_is_kept_as_invalid(body: str) -> None:
    spoken = parse(f"<tool_call>{body}</tool_call>")
    message = message_chunk_to_message(AIMessageChunk(content=spoken.text, tool_call_chunks=spoken.calls))
    assert isinstance(message, AIMessage)
    assert message.tool_calls == []
    assert [json.loads(call["args"] or "") for call in message.invalid_tool_calls] == [body]


def test_a_call_that_was_cut_off_is_read_to_its_end() -> None:
    (call,) = parse('<tool_call>\n{"name": "stop", "arguments": {}}').calls
    assert call["name"] == "stop"


def test_marks_inside_a_string_are_text() -> None:
    note = ToolCall(name="note", args={"text": "<tool_call>a</tool_call>"}, id=None)
    spoken = parse(f"I write.\n{call_text(note)}\n{call_text(MOVE)}")
    assert [json.loads(call["args"] or "") for call in spoken.calls] == [note["args"], MOVE["args"]]
    assert spoken.text == "I write."


def test_the_tools_are_listed() -> None:
    tool = {"type": "function", "function": {"name": "move", "parameters": {}}}
    assert '"name": "move"' in instructions([tool]).split("<tools>")[1].split("</tools>")[0]


@pytest.mark.parametrize(
    ("template", "knows"),
    [
        ("{% if tools %}<tool_call>{% endif %}", True),
        ("{{ tooltips }}<tool_call>", False),
        ("{% if tools %}[TOOL_CALLS]{% endif %}", False),
    ],
)
def test_templates_that_know_tools_are_told_apart(template: str, knows: bool) -> None:
    assert knows_tools(template) is knows
