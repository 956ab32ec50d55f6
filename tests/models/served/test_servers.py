"""What servers send that call themselves compatible: null here, nothing there, halves of characters, no end."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.errors import BadInput, OperatorError, ToolRetry
from loopwright.models.asking import ask
from loopwright.models.cards import ModelCard
from loopwright.models.served import endpoint
from loopwright.models.served.chat import ServedChatModel


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


def model_of(server: ChatServer, **card: Any) -> ServedChatModel:
    return ServedChatModel(card=ModelCard(name="here", kind="served", base=MODEL, base_url=server.url, **card))


def sent(*chunks: dict[str, Any]) -> Turn:
    """A reply of raw chunks."""
    lines = [f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk'} | chunk)}\n\n" for chunk in chunks]
    return Turn(raw="".join([*lines, "data: [DONE]\n\n"]).encode())


def piece(delta: Any, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def calling(*parts: dict[str, Any]) -> Turn:
    return sent(*(piece({"tool_calls": [part]}) for part in parts), piece({}, "tool_calls"))


def function(mm: int, **part: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "move", "arguments": f'{{"mm": {mm}}}'}, **part}


MORE = {"function": {"arguments": '{"mm":5}'}}
HALF_COUNTED = {"prompt_tokens": 5, "completion_tokens": None}
BEGUN = {"function": {"name": "move", "arguments": ""}}


@pytest.mark.parametrize(
    ("turn", "arguments"),
    [
        (calling(function(5, index=None, id="c1")), [5]),
        (calling(function(5, id="c1"), function(7, id="c2")), [5, 7]),
        (calling(function(5), function(7)), [5, 7]),
        (calling(function(5, index=0, id="c1"), function(7, index=0, id="c2")), [5, 7]),
        (calling(function(5, index=1, id="c1"), function(7, index=0, id="c2")), [5, 7]),
        (calling(BEGUN | {"index": 0, "id": "c"}, {"index": 0, "function": None}, MORE | {"index": 0}), [5]),
        (calling(BEGUN | {"id": "c"}, MORE), [5]),
        (calling(BEGUN | {"index": 0, "id": "c"}, MORE | {"index": 0, "id": "c"}), [5]),
        (calling(BEGUN | {"index": 0, "id": "c"}, {"index": 0, "function": MORE["function"] | {"name": "move"}}), [5]),
        (calling({"index": 0, "id": "", "function": {"name": "move", "arguments": {"mm": 5}}}), [5]),
        (calling({"index": 0, "id": "c", "function": {"name": "move", "arguments": None}}, MORE | {"index": 0}), [5]),
    ],
    ids=[
        *("null index", "no index", "neither index nor id", "one index for two", "indices out of order"),
        *(
            "null function",
            "goes on without index",
            "id repeated",
            "name repeated",
            "object as arguments",
            "null arguments",
        ),
    ],
)
def test_calls_are_told_apart_and_put_together(server: ChatServer, turn: Turn, arguments: list[int]) -> None:
    server.turns.extend([turn, turn])
    replies = [model_of(server).invoke("Where to?"), model_of(server).invoke("Where to?")]
    for reply in replies:
        assert [(call["name"], call["args"]) for call in reply.tool_calls] == [("move", {"mm": mm}) for mm in arguments]
    ids = [call["id"] for reply in replies for call in reply.tool_calls]
    assert len(set(ids)) == len(ids) == 2 * len(arguments), "a call's id names the act in the ledger"


@pytest.mark.parametrize(
    "chunks",
    [
        (piece({"content": "Left."}), piece({}, "stop"), {"choices": None, "usage": {"prompt_tokens": 1}}),
        (piece({"content": "Left."}), piece(None, "stop")),
        (piece({"content": "Left."}), {"choices": [{"index": 0, "finish_reason": "stop"}]}),
        (piece({"content": "Left."}), piece({}, "stop"), {"choices": [], "usage": {}}),
        (
            piece({"content": "Left."}),
            piece({"content": None}, "stop") | {"usage": HALF_COUNTED},
        ),
        (
            piece({"content": "Left.", "tool_calls": None}),
            piece({"content": "", "tool_calls": []}, "stop") | {"usage": None},
        ),
        (piece({"content": [{"type": "text", "text": "Left."}]}), piece({}, "stop")),
    ],
    ids=["choices", "delta", "no delta", "empty usage", "usage field", "lists and usage", "blocks"],
)
def test_null_stands_for_nothing(server: ChatServer, chunks: tuple[dict[str, Any], ...]) -> None:
    server.turns.append(sent(*chunks))
    reply = model_of(server).invoke("Where to?")
    assert (reply.text, reply.usage_metadata) == ("Left.", None)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("A hook \ud83d", "\ude00 dissects."), "A hook \U0001f600 dissects."),
        (("A \ud83d\ude00.",), "A \U0001f600."),
        (("A \ud83d", " hook."), "A \ufffd hook."),
        (("A hook \ud83d",), "A hook \ufffd"),
        (("\ude00", "é \ud83d", "", "\ude00"), "\ufffdé \U0001f600"),
    ],
)
def test_halves_of_characters_are_joined_and_lone_ones_replaced(
    server: ChatServer, pieces: tuple[str, ...], text: str
) -> None:
    turn = sent(*(piece({"content": each}) for each in pieces), piece({}, "stop"))
    server.turns.extend([turn, turn])
    assert ask(model_of(server), "What is seen?").text == text
    chunks = [chunk.text for chunk in model_of(server).stream("What is seen?")]
    assert "".join(chunks) == text and all(chunk.encode() or not chunk for chunk in chunks)


def test_halves_in_arguments_are_joined(server: ChatServer) -> None:
    parts = [{"index": 0, "id": "c", "function": {"name": "note", "arguments": '{"text": "\ud83d'}}]
    server.turns.append(calling(*parts, {"index": 0, "function": {"arguments": '\ude00"}'}}))
    assert model_of(server).invoke("?").tool_calls[0]["args"] == {"text": "\U0001f600"}
    server.turns.append(calling({"index": 0, "function": {"name": "note", "arguments": '{"text": "\\ud83d"}'}}))
    with pytest.raises(ToolRetry, match="`note` was called with"):
        model_of(server).invoke("?")


def test_an_endless_reply_is_left(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_STREAM_BYTES", 2**16)
    endless_line, unknown = b"data: " + b"x" * 2**17, {"reasoning_content": "hm " * 2**16}
    for turn in (Turn(raw=endless_line), sent(piece(unknown), piece({}, "stop"))):
        server.turns.append(turn)
        with pytest.raises(OperatorError, match="longer than 65536 bytes"):
            model_of(server).invoke("Where to?")
    server.turns.append(sent(*({"choices": []} for _ in range(600)), piece({}, "stop")))
    with pytest.raises(OperatorError, match="does not keep to `max_tokens` = 3"):
        model_of(server).invoke("Where to?", max_tokens=3)


class Move(BaseModel):
    """Where to."""

    mm: int


REFUSED = Turn(status=400, error={"message": "response_format json_schema is not supported"})
SCHEMA_SAID = "fits this JSON schema"


def test_a_schema_that_is_refused_is_said_in_words(server: ChatServer) -> None:
    server.turns.extend([REFUSED, Turn(pieces=("Sure:\n```JSON\n", '{"mm": 5}', "\n```")), Turn(pieces=('{"mm": 7}',))])
    model = model_of(server)
    structured = model.with_structured_output(Move)
    assert [structured.invoke("Where to?").mm, structured.invoke("And then?").mm] == [5, 7]
    first, second, third = server.requests
    assert "response_format" in first and "response_format" not in second | third
    for request in (second, third):
        assert SCHEMA_SAID in request["messages"][-1]["content"][-1]["text"]


def test_what_is_refused_for_another_reason_is_not_asked_in_words_for_ever(server: ChatServer) -> None:
    server.turns.extend([Turn(status=400, error={"message": "the context is full"})] * 2)
    model = model_of(server)
    with pytest.raises(BadInput, match="the context is full"):
        model.with_structured_output(Move).invoke("Where to?")
    server.turns.append(Turn(pieces=('{"mm": 5}',)))
    assert model.with_structured_output(Move).invoke("Where to?").mm == 5
    assert "response_format" in server.requests[-1]


def test_a_schema_mode_that_is_silently_ignored_is_made_up_for(server: ChatServer) -> None:
    server.turns.extend([Turn(pieces=("Five millimetres.",)), Turn(pieces=('{"mm": 5}',))])
    assert model_of(server).with_structured_output(Move).invoke("Where to?").mm == 5
    assert SCHEMA_SAID in str(server.requests[1]["messages"][-1]["content"])


def test_parameters_are_left_out_and_added_as_the_card_says(server: ChatServer) -> None:
    model = model_of(
        server,
        omit_parameters=("temperature", "seed", "stream_options"),
        extra_parameters={"chat_template_kwargs": {"enable_thinking": False}},
        token_limit_parameter="max_completion_tokens",
    )
    model.invoke("Where to?", temperature=0.5)
    (sent_,) = server.requests
    assert not sent_.keys() & {"temperature", "seed", "stream_options", "max_tokens"}
    assert sent_["chat_template_kwargs"] == {"enable_thinking": False} and sent_["max_completion_tokens"] == 512


def test_what_every_request_has_is_no_extra_parameter() -> None:
    with pytest.raises(ValueError, match="`extra_parameters` cannot hold `messages`"):
        ModelCard(name="x", kind="served", base="m", base_url="http://x/v1", extra_parameters={"messages": []})


@pytest.mark.parametrize("turn", [Turn(silent=True), Turn(held_after=1)], ids=["before the first token", "between"])
@pytest.mark.parametrize("way", ["invoke", "stream", "structured"])
async def test_cancelling_a_task_closes_its_request(server: ChatServer, turn: Turn, way: str) -> None:
    server.turns.append(turn)
    model = model_of(server)

    async def streamed() -> None:
        async for _ in model.astream("Where to?"):
            pass

    calls: dict[str, Any] = {"invoke": model, "structured": model.with_structured_output(Move)}
    task = asyncio.ensure_future(streamed() if way == "stream" else calls[way].ainvoke("Where to?"))
    while not server.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.left.wait, 10), "the endpoint was left to generate"


async def test_an_async_reader_that_leaves_early_ends_the_request(server: ChatServer) -> None:
    server.turns.append(Turn(held_after=1))
    pieces = model_of(server).astream("Where to?")
    assert (await anext(pieces)).text
    await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert await asyncio.to_thread(server.left.wait, 10)


def test_tools_are_chosen_in_every_way_that_langchain_has(server: ChatServer) -> None:
    def move(mm: int) -> int:
        """Move."""
        return mm

    model, named = model_of(server), {"type": "function", "function": {"name": "move"}}
    ways: list[tuple[Any, Any]] = [
        *(("any", "required"), ("required", "required"), (True, "required"), ("auto", "auto"), ("none", "none")),
        *(("move", named), (named, named), ({"type": "tool", "name": "move"}, named), (None, None), (False, None)),
    ]
    for choice, said in ways:
        model.bind_tools([move], tool_choice=choice, parallel_tool_calls=False, strict=True).invoke("Where to?")
        body = server.requests[-1]
        assert (body.get("tool_choice"), body["parallel_tool_calls"]) == (said, False)
        assert body["tools"][0]["function"]["strict"] is True
    for wrong in ("mvoe", {"type": "function", "function": {"name": "mvoe"}}):
        with pytest.raises(BadInput, match=r"'mvoe'\. Did you mean `move`"):
            model.bind_tools([move], tool_choice=wrong)
    with pytest.raises(BadInput, match="`tool_choice` = 3"):
        model.bind_tools([move], tool_choice=3)  # type: ignore[arg-type]


def test_a_history_with_blocks_of_calls_goes_out(server: ChatServer) -> None:
    called = {"name": "move", "args": {"mm": 5}, "id": "a", "type": "tool_call"}
    for block in ({"type": "tool_use", "id": "a", "name": "move", "input": {"mm": 5}}, called):
        said = AIMessage([{"type": "text", "text": "I move."}, block], tool_calls=[called])
        model_of(server).invoke([said])
        (message,) = server.requests[-1]["messages"]
        assert [call["id"] for call in message["tool_calls"]] == ["a"]
