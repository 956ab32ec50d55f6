"""One answer system: every kind of answer from every kind of model, repaired or asked for again, and counted."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from tests.models import tiny
from tests.models.backends import (
    ASKED,
    BACKENDS,
    CALL,
    JSON,
    KINDS,
    LOOK,
    MM,
    Backend,
    Foreign,
    Move,
    chat_openai,
    look,
    openai,
    served,
    turn,
)
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.errors import BadInput, DeveloperError, OperatorError
from loopwright.models.answers import ToolCall, ToolCallFormat
from loopwright.models.asking import ask
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.scripted import ScriptedChatModel
from loopwright.models.served.chat import ServedChatModel
from loopwright.schema import CancelToken


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    """A model that says what it is told to."""
    return BACKENDS[request.param]


@pytest.fixture(params=tiny.FAMILIES)
def local(request: pytest.FixtureRequest) -> LocalChatModel:
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=str(tiny.folder_of(request.param))))


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_gives_every_kind_of_answer(backend: Backend, kind: str) -> None:
    answer, value, text = KINDS[kind]
    with backend([value if isinstance(value, ToolCall) else text]) as model:
        reply = ask(model, ASKED, answer)
    assert (reply.value, reply.text, reply.is_exact, reply.attempts) == (value, text, True, 1)
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens > 0
    assert isinstance(reply.message, AIMessage)


@pytest.mark.parametrize("kind", ["json", "text", "call"])
def test_a_local_model_keeps_to_every_format_whatever_its_weights(local: LocalChatModel, kind: str) -> None:
    answer, value, _ = KINDS[kind]
    reply = ask(local, ASKED[1:], answer)
    assert isinstance(reply.value, type(value))
    assert (reply.is_exact, reply.attempts, reply.usage.is_estimated) == (True, 1, False)
    assert reply.usage.output_tokens > 0


@pytest.mark.parametrize("kind", ["json", "text", "call"])
def test_what_means_well_is_repaired_and_says_so(backend: Backend, kind: str) -> None:
    answer, value, text = KINDS[kind]
    fenced = f"Here it is:\n```json\n{text}\n```"
    with backend([fenced]) as model:
        reply = ask(model, ASKED, answer)
    assert (reply.value, reply.text, reply.is_exact, reply.attempts) == (value, fenced, False, 1)


@pytest.mark.parametrize("kind", ["json", "text", "call"])
def test_nonsense_goes_back_with_what_was_wrong(kind: str) -> None:
    answer, value, text = KINDS[kind]
    prompts: list[list[BaseMessage]] = []

    def say(messages: list[BaseMessage]) -> str:
        prompts.append(messages)
        return ("Over there.", "", text)[len(prompts) - 1]

    reply = ask(Foreign(say=say), ASKED, answer)
    assert (reply.value, reply.attempts) == (value, 3)
    first, second, third = prompts
    assert first[:-1] == ASKED[:1] and second[:2] == first
    assert second[2] == AIMessage("Over there.") and "'Over there.' is no `" in second[3].text
    assert [m.type for m in third] == ["system", "human", "ai", "human"]  # an empty answer is no turn
    assert "The answer '' is no `" in third[3].text


@pytest.mark.parametrize("kind", ["json", "text", "call"])
def test_who_talks_nonsense_for_ever_is_not_asked_for_ever(backend: Backend, kind: str) -> None:
    with (
        backend(["Well."] * 2) as model,
        pytest.raises(OperatorError, match=r"None of 2 answers was a `.*'Well\.'.*another model"),
    ):
        ask(model, ASKED, KINDS[kind][0], retries=1)


def test_a_card_says_how_often_to_ask_again() -> None:
    with served(["Well."], format_retries=0) as model, pytest.raises(OperatorError, match="None of 1 answers"):
        ask(model, ASKED, MM)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (ToolCall(name="lock", arguments={}), "Unknown tool 'lock'. Did you mean `look`?"),
        (ToolCall(name="look", arguments={"depth_mm": 900, "note": "bone"}), "`depth_mm` = 900: Input should be less"),
        (ToolCall(name="look", arguments={"depth_mm": 9}), "`note` = {'depth_mm': 9}: Field required"),
        ("I look.", "there is no JSON object"),
    ],
    ids=["unknown tool", "out of range", "missing", "no call"],
)
def test_a_wrong_call_goes_back_as_text(backend: Backend, wrong: str | ToolCall, said: str) -> None:
    with backend([wrong, LOOK]) as model:
        reply = ask(model, ASKED, CALL)
    assert (reply.value, reply.attempts) == (LOOK, 2)
    with backend([wrong]) as model, pytest.raises(OperatorError) as raised:
        ask(model, ASKED, CALL, retries=0)
    assert said in str(raised.value)


@pytest.mark.parametrize("open_", [served, openai])
def test_a_call_that_is_cut_off_is_asked_for_again(open_: Backend) -> None:
    with ChatServer() as server:
        function = {"name": "look", "arguments": '{"depth_mm": 2'}
        cut = {"index": 0, "id": "call_1", "type": "function", "function": function}
        server.turns.append(Turn(deltas=[{"role": "assistant", "tool_calls": [cut]}], finish_reason="length"))
        server.turns.append(turn("", LOOK))
        card = ModelCard(name="here", kind="served", base=MODEL, base_url=server.url)
        reply = ask(ServedChatModel(card=card) if open_ is served else chat_openai(server), ASKED, CALL)
    assert (reply.value, reply.attempts) == (LOOK, 2)
    assert server.requests[0]["tool_choice"] == server.requests[1]["tool_choice"] == "required"


def test_two_calls_are_not_one() -> None:
    calls = [{"name": "look", "args": LOOK.arguments, "id": str(i), "type": "tool_call"} for i in range(2)]
    with ScriptedChatModel(replies=(AIMessage("", tool_calls=calls), CALL.render(LOOK))) as model:
        assert ask(model, ASKED, CALL).attempts == 2
        assert "Expected one call of one tool of `look`, `move_c_arm`, `next_clip`" in model.prompts[1][-1].text


def test_a_foreign_model_is_told_in_words_and_given_nothing_of_ours() -> None:
    with ChatServer(turn(JSON.render(Move(direction="left", distance_mm=20))), turn("20 mm"), turn("", LOOK)) as server:
        model = chat_openai(server)
        for answer in (Move, MM, CALL):
            ask(model, ASKED, answer, cancel=CancelToken())
    json_, text, called = server.requests
    sent = {"model", "messages", "stream", "stream_options"}
    assert json_.keys() == text.keys() == sent and called.keys() == sent | {"tools", "tool_choice"}
    assert "Reply with one JSON object" in json_["messages"][-1]["content"][-1]["text"]
    assert [message["content"] for message in text["messages"]] == [message.text for message in ASKED]
    assert [each["function"]["name"] for each in called["tools"]] == ["look", "move_c_arm", "next_clip"]


def test_an_endpoint_is_held_by_its_schema_mode_where_it_has_one() -> None:
    said = JSON.render(Move(direction="left", distance_mm=20))
    with ChatServer(turn(said), turn(said), turn("20 mm")) as server:
        for mode, answer in (("json_schema", Move), ("prompt", Move), ("json_schema", MM)):
            card = ModelCard.model_validate(
                {"name": "here", "kind": "served", "base": MODEL, "base_url": server.url, "schema_mode": mode}
            )
            ask(ServedChatModel(card=card), ASKED, answer)
    held, told, text = server.requests
    assert held["response_format"]["json_schema"]["name"] == "Move"
    assert held["messages"] == text["messages"] and "response_format" not in {*told, *text}
    assert "Reply with one JSON object" in str(told["messages"][-1]["content"])


def test_tokens_of_all_attempts_are_counted() -> None:
    with openai(["Well.", "20 mm"]) as model:
        assert ask(model, ASKED, MM).usage == (22, 8, False)
    reply = ask(Foreign(say=lambda messages: "20 mm"), [HumanMessage("x" * 40)], MM)
    assert reply.usage == (10, 2, True) and reply.usage.total_tokens == 12


@pytest.mark.parametrize("answer", [dict, 3, [{"type": "object"}], "json"])
def test_only_formats_are_answers(answer: Any) -> None:
    with pytest.raises(DeveloperError, match="expected a pydantic model class"):
        ask(ScriptedChatModel(replies=("x",)), ASKED, answer)


def test_tools_are_named_once() -> None:
    for tools in ((), (look, look)):
        with pytest.raises(DeveloperError, match="`tools`"):
            ToolCallFormat(tools)


def test_what_an_endpoint_refuses_is_not_asked_again() -> None:
    with ChatServer() as server:
        server.turns.append(Turn(status=400, error={"message": "too long"}))
        card = ModelCard(name="here", kind="served", base=MODEL, base_url=server.url)
        with pytest.raises(BadInput, match="too long"):
            ask(ServedChatModel(card=card), ASKED, MM)
        server.turns.append(Turn(status=400, error={"message": "too long"}))
        with pytest.raises(OperatorError, match=r"`ChatOpenAI` failed: .*Error: .*too long") as raised:
            ask(chat_openai(server), ASKED, MM)
        assert raised.value.__cause__ is not None and len(server.requests) == 2
