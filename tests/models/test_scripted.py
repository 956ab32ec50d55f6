"""The scripted model: an ordinary backend that fails when its script runs over or under."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from loopwright.errors import DeveloperError, OperatorError, Stopped
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import CancelToken, Frozen


class Move(Frozen):
    direction: str


def test_replies_come_in_order_and_prompts_are_kept() -> None:
    with ScriptedChatModel(replies=("left", AIMessage("right"))) as model:
        assert [model.invoke("first?").text, model.invoke([HumanMessage("second?")]).text] == ["left", "right"]
        assert [prompt[-1].text for prompt in model.prompts] == ["first?", "second?"]


@pytest.mark.parametrize("text", ["one word after\n the other ", "word", "  ", ""])
def test_a_reply_is_streamed_word_by_word(text: str) -> None:
    pieces = [piece.text for piece in ScriptedChatModel(replies=(text,)).stream("?")]
    assert "".join(pieces) == text
    assert len([piece for piece in pieces if piece.strip()]) == len(text.split())


def test_a_script_that_is_too_short_fails() -> None:
    model = ScriptedChatModel(replies=("left",))
    model.invoke("first?")
    with pytest.raises(OperatorError, match=r"its `replies` are 1, and another was asked for.*'second\?'"):
        model.invoke("second?")


def test_a_script_that_is_too_long_fails() -> None:
    script = ScriptedChatModel(replies=("left", "right", "up"))
    with pytest.raises(DeveloperError, match=r"2 of its 3 replies were not asked for.*'right'"), script:
        script.invoke("first?")
    with pytest.raises(ZeroDivisionError), ScriptedChatModel(replies=("left",)):  # what went wrong first is told
        raise ZeroDivisionError


def test_an_exception_is_raised_in_its_turn() -> None:
    with ScriptedChatModel(replies=(OperatorError("the server is down"), "left")) as model:
        with pytest.raises(OperatorError, match="the server is down"):
            model.invoke("?")
        assert model.invoke("?").text == "left"


@tool
def move_view(direction: str) -> str:
    """Move the view."""
    return direction


def test_tool_calls_and_figures_are_scripted_too() -> None:
    call = {"name": "move_view", "args": {"direction": "left"}, "id": "call_1", "type": "tool_call"}
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    reply = AIMessage("I move.", tool_calls=[call], usage_metadata=usage)
    heard = ScriptedChatModel(replies=(reply,)).bind_tools([move_view]).invoke("?")
    assert (heard.text, heard.tool_calls, heard.usage_metadata) == ("I move.", [call], usage)


def test_structured_replies_are_checked() -> None:
    script = ('{"direction": "left"}', *("left",) * 3)
    with ScriptedChatModel(replies=script) as model:
        assert model.with_structured_output(Move).invoke("?") == Move(direction="left")
        with pytest.raises(OperatorError, match="None of 3 answers was a `Move`"):
            model.with_structured_output(Move).invoke("?")


def test_a_halt_is_heeded_before_and_between_words() -> None:
    model = ScriptedChatModel(replies=("left and up",))
    token = CancelToken()
    pieces = model.stream("?", cancel=token)
    next(pieces)
    token.stop()
    with pytest.raises(Stopped):
        next(pieces)
    with pytest.raises(Stopped):
        ScriptedChatModel(replies=("left",)).invoke("?", cancel=token)
