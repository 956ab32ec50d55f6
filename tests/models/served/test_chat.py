"""The served model against a real HTTP server: what it sends, what it makes of replies, and every way to fail."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import Field
from tests.models.chat_server import AT_ONCE, MODEL, ChatServer, Turn

from loopwright.errors import BadInput, DeveloperError, OperatorError, Paused, Stopped, ToolRetry, UnknownName
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.images import image_block
from loopwright.models.served.chat import ServedChatModel
from loopwright.schema import CancelToken, Frozen, ImageRef

PIXELS = b"\x89PNG and so on"
PICTURE = ImageRef(sha256="ab" * 32, width_px=64, height_px=48)


class Blobs:
    def read(self, ref: ImageRef) -> bytes:
        assert ref == PICTURE
        return PIXELS


class Move(Frozen):
    """One motion of the view."""

    direction: str = Field(max_length=10)
    distance_mm: int = Field(ge=0, le=150)


Served = Callable[..., ServedChatModel]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def served(server: ChatServer) -> Served:
    """Opens a model at the server, with these values on its card."""

    def open_it(**values: Any) -> ServedChatModel:
        card = ModelCard(**{"name": "here", "kind": "served", "base": MODEL, "base_url": server.url, **values})
        return ServedChatModel(card=card, images=Blobs())

    return open_it


def test_a_reply_with_its_figures(server: ChatServer, served: Served) -> None:
    model = served(decoding=Decoding(temperature=0.7, top_p=0.9, top_k=5, max_tokens=99, seed=3))
    reply = model.invoke([SystemMessage("Be brief."), HumanMessage("Where to?")], stop=["\n"])
    assert reply.text == "Go 20 mm left."
    assert reply.usage_metadata == {"input_tokens": 11, "output_tokens": 4, "total_tokens": 15}
    about = reply.response_metadata
    assert (about["model_name"], about["finish_reason"]) == (MODEL, "stop")
    assert 0 < about["first_token_s"] <= about["latency_s"] < 30
    assert server.requests == [
        {
            "model": MODEL,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where to?"}],
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "max_tokens": 99,
            "seed": 3,
            "stop": ["\n"],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_decoding_may_differ_by_call(server: ChatServer, served: Served) -> None:
    model = served(token_limit_parameter="max_completion_tokens")
    model.bind(seed=8).invoke("Where to?", temperature=1.5)
    (asked,) = server.requests
    assert (asked["seed"], asked["temperature"], asked["max_completion_tokens"]) == (8, 1.5, 512)
    assert "max_tokens" not in asked and "top_k" not in asked
    with pytest.raises(BadInput, match="`temperature` = -1"):
        model.invoke("Where to?", temperature=-1)
    with pytest.raises(UnknownName, match="Did you mean `temperature`"):
        model.invoke("Where to?", temprature=1)


def test_pieces_arrive_while_the_endpoint_still_writes(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(held_after=1))
    pieces = served().stream("Where to?")
    assert next(pieces).text == "Go "
    server.go_on.set()
    assert "".join(piece.text for piece in pieces) == "20 mm left."


def test_async_callers_are_served_too(served: Served) -> None:
    async def stream() -> list[str]:
        return [piece.text async for piece in served().astream("Where to?")]

    assert "".join(asyncio.run(stream())) == "Go 20 mm left."
    assert asyncio.run(served().ainvoke("Where to?")).text == "Go 20 mm left."


def test_sessions_share_a_model(server: ChatServer, served: Served) -> None:
    server.turns.extend(Turn(pieces=("left" if i % 2 else "right",), held_after=1) for i in range(16))
    model = served()
    with ThreadPoolExecutor(16) as pool:
        replies = [pool.submit(model.invoke, f"Session {i}") for i in range(16)]
        deadline = time.monotonic() + 30
        while len(server.requests) < 16:  # all are under way at once
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.go_on.set()
        assert sorted(reply.result().text for reply in replies) == ["left"] * 8 + ["right"] * 8
    assert model.spent.calls == 16 and model.spent.reply_tokens == 64


def test_pictures_go_in_by_reference_and_leave_as_data(server: ChatServer, served: Served) -> None:
    prompt = [HumanMessage([image_block(PICTURE), {"type": "text", "text": "What is this?"}, image_block(PICTURE)])]
    served().invoke(prompt)
    url = f"data:image/png;base64,{base64.b64encode(PIXELS).decode()}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    content = server.requests[0]["messages"][0]["content"]
    assert content == [picture, {"type": "text", "text": "What is this?"}, picture]
    blind = ServedChatModel(card=served().card)
    with pytest.raises(BadInput, match=f"{PICTURE.sha256}.*without `images`"):
        blind.invoke(prompt)


@tool
def move_view(direction: str, distance_mm: int) -> str:
    """Move the view."""
    return f"{direction} {distance_mm}"


def test_tools_are_offered_called_and_answered(server: ChatServer, served: Served) -> None:
    server.turns.append(
        Turn(
            deltas=[
                {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "move_view", "arguments": ""}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"direction": "left", '}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '"distance_mm": 20}'}}]},
            ],
            finish_reason="tool_calls",
        )
    )
    model = served().bind_tools([move_view], tool_choice="move_view")
    reply = model.invoke("Where to?")
    (call,) = reply.tool_calls
    assert (call["name"], call["args"]) == ("move_view", {"direction": "left", "distance_mm": 20})
    answer = ToolMessage("done", tool_call_id=call["id"])
    model.invoke([HumanMessage("Where to?"), AIMessage("", tool_calls=[call]), answer])
    first, second = server.requests
    assert first["tools"][0]["function"]["name"] == "move_view"
    assert first["tool_choice"] == {"type": "function", "function": {"name": "move_view"}}
    assert second["messages"][1]["tool_calls"][0]["id"] == second["messages"][2]["tool_call_id"] == call["id"]


@pytest.mark.parametrize("arguments", ['{"direction": "left"', "[1]", "left"])
def test_a_tool_call_that_is_broken_is_not_repaired(server: ChatServer, served: Served, arguments: str) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "move_view", "arguments": arguments}}
    server.turns.extend([Turn(deltas=[{"tool_calls": [call]}], finish_reason="length")] * 2)
    model = served().bind_tools([move_view])
    with pytest.raises(ToolRetry, match=r"`move_view` was called with .* expected one whole JSON object"):
        model.invoke("Where to?")
    with pytest.raises(ToolRetry):
        list(model.stream("Where to?"))


def test_schema_mode_is_used_where_it_is_offered(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(pieces=('{"direction": "left", ', '"distance_mm": 20}')))
    assert served().with_structured_output(Move).invoke("Where to?") == Move(direction="left", distance_mm=20)
    sent = server.requests[0]["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["strict"] is True
    schema = sent["json_schema"]["schema"]
    assert schema["required"] == ["direction", "distance_mm"] and schema["additionalProperties"] is False
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Where to?"}]


def test_without_schema_mode_a_reply_is_checked_and_asked_for_again(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(pieces=("I would go left.",)))
    server.turns.append(Turn(pieces=('{"direction": "left", "distance_mm": 900}',)))
    server.turns.append(Turn(pieces=('```json\n{"direction": "left", "distance_mm": 20}\n```',)))
    model = served(schema_mode="prompt").with_structured_output(Move, include_raw=True)
    reply = model.invoke([HumanMessage([image_block(PICTURE), {"type": "text", "text": "Where to?"}])])
    assert isinstance(reply, dict) and reply["parsed"] == Move(direction="left", distance_mm=20)
    first, second, third = (request["messages"] for request in server.requests)
    assert "response_format" not in server.requests[0]
    assert [block["type"] for block in first[0]["content"]] == ["image_url", "text", "text"]
    assert '"maximum": 150' in first[0]["content"][-1]["text"]
    assert [message["role"] for message in third] == ["user", "assistant", "user", "assistant", "user"]
    assert second == third[:3] and third[1]["content"] == "I would go left."
    assert "`distance_mm` = 900: Input should be less than or equal to 150" in third[4]["content"]


@pytest.mark.parametrize("mode", ["json_schema", "prompt"])
def test_replies_that_never_fit_are_an_error(server: ChatServer, served: Served, mode: str) -> None:
    server.turns.extend([Turn(pieces=('{"direction": "le',), finish_reason="length")] * 4)
    model = served(schema_mode=mode, format_retries=1)
    with pytest.raises(OperatorError, match=r"None of 2 answers was a `Move`.*raise `max_tokens`"):
        model.with_structured_output(Move).invoke("Where to?")
    reply = model.with_structured_output(Move, include_raw=True).invoke("Where to?")
    assert isinstance(reply, dict) and reply["parsed"] is None
    assert isinstance(reply["parsing_error"], OperatorError)
    assert len(server.requests) == 4


@pytest.mark.parametrize("mode", ["json_schema", "prompt"])
def test_a_json_schema_is_checked_too(server: ChatServer, served: Served, mode: str) -> None:
    server.turns.append(Turn(pieces=('{"direction": "left", "distance_mm": "far"}',)))
    server.turns.append(Turn(pieces=('{"direction": "left", "distance_mm": 20}',)))
    model = served(schema_mode=mode).with_structured_output(Move.model_json_schema())
    assert model.invoke("Where to?") == {"direction": "left", "distance_mm": 20}
    assert "`distance_mm` = 'far'" in str(server.requests[1]["messages"][-1]["content"])
    with pytest.raises(DeveloperError, match="expected a pydantic model class"):
        served().with_structured_output(int)


def test_failures_that_pass_are_retried(server: ChatServer, served: Served) -> None:
    server.turns.extend(Turn(status=status, error={"message": "busy"}, headers=AT_ONCE) for status in (503, 429, 500))
    assert served(max_retries=3).invoke("Where to?").text == "Go 20 mm left."
    assert len(server.requests) == 4 and all(request == server.requests[0] for request in server.requests)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (429, OperatorError, r"takes no more requests \(429\) after 2 retries: the queue is full"),
        (503, OperatorError, r"failed \(503\) after 2 retries: the queue is full"),
    ],
)
def test_retries_are_bounded(
    server: ChatServer, served: Served, status: int, error: type[Exception], said: str
) -> None:
    server.turns.extend([Turn(status=status, error={"message": "the queue is full."}, headers=AT_ONCE)] * 9)
    with pytest.raises(error, match=said):
        served(max_retries=2).invoke("Where to?")
    assert len(server.requests) == 3


def test_a_request_that_is_refused_is_not_repeated(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(status=400, error={"message": "maximum context length is 512 tokens"}))
    with pytest.raises(BadInput, match=r"refuses the request \(400\): maximum context length is 512 tokens"):
        served().invoke("Where to?")
    assert len(server.requests) == 1


def test_a_silent_endpoint_is_left(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(silent=True))
    with pytest.raises(OperatorError, match=r"was silent for 0\.2 s.*raise `timeout_s`"):
        served(timeout_s=0.2, max_retries=0).invoke("Where to?")
    server.turns.append(Turn(held_after=1))
    with pytest.raises(OperatorError, match=r"was silent for 0\.2 s"):
        served(timeout_s=0.2, max_retries=0).invoke("Where to?")


def test_nobody_listens_there(served: Served) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(OperatorError, match=r"cannot be reached.*Start the server, or correct `base_url`") as raised:
        served(base_url=url, max_retries=0).invoke("Where to?")
    assert url in str(raised.value)


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(url: str, **values: Any) -> str:
        card = ModelCard(name="here", kind="served", base=MODEL, base_url=url, **values)
        return ServedChatModel(card=card).invoke("Where to?").text

    with ChatServer(key="right") as server:
        with pytest.raises(BadInput, match=r"`MY_KEY`.*is not set"):
            ask(server.url, api_key_env="MY_KEY")
        with pytest.raises(BadInput, match=r"refuses a request without a key \(401\).*Correct `api_key_env`"):
            ask(server.url)
        monkeypatch.setenv("MY_KEY", "wrong-secret")
        with pytest.raises(BadInput, match=r"refuses the key in `MY_KEY` \(401\)") as raised:
            ask(server.url, api_key_env="MY_KEY")
        assert "wrong-secret" not in str(raised.value)
        monkeypatch.setenv("MY_KEY", "right")
        assert ask(server.url, api_key_env="MY_KEY") == "Go 20 mm left."


def test_a_model_that_is_not_there_and_an_address_that_is_wrong(server: ChatServer, served: Served) -> None:
    with pytest.raises(UnknownName, match=f"'tiny-vml'. Did you mean `{MODEL}`"):
        served(base="tiny-vml").invoke("Where to?")
    with pytest.raises(BadInput, match=r"has no `/chat/completions` \(404\).*usually ends in `/v1`"):
        served(base_url=server.url.removesuffix("/v1")).invoke("Where to?")


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (Turn(raw=b"<html>Welcome!</html>"), "the stream ended before the reply did"),
        (Turn(raw=b"data: {not json}\n\n"), "no streamed chat completion: Expecting property name"),
        (Turn(raw=b'data: {"answer": "left"}\n\n'), "no streamed chat completion: 1 validation error"),
        (Turn(raw=b"data: [1, 2]\n\n"), "no streamed chat completion: 1 validation error"),
        (Turn(finish_reason=None), "the stream ended before the reply did"),
        (Turn(cut_after=2), "cannot be reached, or broke off"),
        (Turn(error={"message": "out of memory"}), "failed while it answered: out of memory"),
    ],
    ids=["html", "no json", "no chunk", "no object", "unfinished", "cut", "error inside"],
)
def test_what_is_no_reply_is_an_error(server: ChatServer, served: Served, turn: Turn, said: str) -> None:
    server.turns.append(turn)
    with pytest.raises(OperatorError, match=said) as raised:
        served(max_retries=0).invoke("Where to?")
    assert server.url in str(raised.value)


def halted_during(server: ChatServer, halt: Callable[[CancelToken], None] = CancelToken.stop) -> CancelToken:
    """A token that is set soon after the server has got one more request."""
    token, before = CancelToken(), len(server.requests)

    def wait() -> None:
        while len(server.requests) == before:
            time.sleep(0.01)
        time.sleep(0.2)
        halt(token)

    threading.Thread(target=wait, daemon=True).start()
    return token


@pytest.mark.parametrize(
    "turn",
    [
        Turn(held_after=2),
        Turn(silent=True),
        Turn(status=503, error={"message": "busy"}, headers={"retry-after": "60"}),
    ],
    ids=["between tokens", "before the first token", "while it waits to retry"],
)
def test_stop_ends_a_call_in_every_phase(server: ChatServer, served: Served, turn: Turn) -> None:
    server.turns.append(turn)
    with pytest.raises(Stopped, match="STOP"):
        served().invoke("Where to?", cancel=halted_during(server))
    if turn.status == 200:
        assert server.left.wait(10), "the endpoint was left to generate"
    assert len(server.requests) == 1


def test_a_halt_before_the_call_sends_nothing_and_a_pause_is_one(server: ChatServer, served: Served) -> None:
    token = CancelToken()
    token.pause("lunch")
    with pytest.raises(Paused, match="lunch"):
        served().invoke("Where to?", cancel=token)
    server.turns.append(Turn(held_after=1))
    with pytest.raises(Paused):
        list(served().stream("Where to?", cancel=halted_during(server, CancelToken.pause)))


def test_a_halt_reaches_a_structured_call(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(held_after=0))
    with pytest.raises(Stopped):
        served().with_structured_output(Move).invoke("Where to?", cancel=halted_during(server))


def test_a_reader_that_leaves_early_ends_the_request(server: ChatServer, served: Served) -> None:
    server.turns.append(Turn(held_after=1))
    pieces = served().stream("Where to?")
    assert isinstance(next(pieces), AIMessageChunk)
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert server.left.wait(10)
