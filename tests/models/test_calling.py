"""One call: a halt ends it whatever the model, a late answer is dropped, and who hangs holds up nobody."""

import asyncio
import base64
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableLambda
from tests.models import tiny
from tests.models.backends import (
    ASKED,
    BACKENDS,
    CALL,
    KINDS,
    MM,
    Backend,
    Foreign,
    chat_openai,
    openai,
)
from tests.models.chat_server import ChatServer, Turn

from loopwright.errors import BadInput, DeveloperError, OperatorError, Paused, Stopped
from loopwright.models.asking import ask
from loopwright.models.calling import call
from loopwright.models.cards import ModelCard
from loopwright.models.images import image_block
from loopwright.models.local.chat import LocalChatModel
from loopwright.schema import CancelToken


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    """A model that says what it is told to."""
    return BACKENDS[request.param]


@pytest.fixture(params=tiny.FAMILIES)
def local(request: pytest.FixtureRequest) -> LocalChatModel:
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=str(tiny.folder_of(request.param))))


def halted_after(seconds: float, halt: Callable[[CancelToken], None] = CancelToken.stop) -> CancelToken:
    token = CancelToken()
    threading.Timer(seconds, halt, [token]).start()
    return token


def test_a_token_that_is_set_asks_nobody(backend: Backend, local: LocalChatModel) -> None:
    token = CancelToken()
    token.pause("lunch")
    with backend([]) as model, pytest.raises(Paused, match="lunch"):
        ask(model, ASKED, MM, cancel=token)
    with pytest.raises(Paused):
        ask(local, ASKED[1:], CALL, cancel=token)


@pytest.mark.parametrize("turn", [Turn(held_after=1), Turn(silent=True)], ids=["mid-stream", "before"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_foreign_model_is_left_in_mid_stream(turn: Turn, kind: str) -> None:
    with ChatServer(turn, Turn(pieces=("20 ", "mm"))) as server:
        model, token = chat_openai(server), halted_after(0.3)
        with pytest.raises(Stopped):
            ask(model, ASKED, KINDS[kind][0], cancel=token)
        assert server.left.wait(10), "the endpoint was left to generate"
        assert ask(model, ASKED, MM).value == 20


def test_a_foreign_model_is_shown_pixels() -> None:
    pictures = tiny.Pictures()
    ref = pictures.add(tiny.png(3))
    prompt = [*ASKED, HumanMessage([{"type": "text", "text": "Seen from here:"}, image_block(ref)])]
    with ChatServer(Turn(pieces=("20 mm",))) as server:
        assert ask(chat_openai(server), prompt, MM, images=pictures).value == 20
        with pytest.raises(BadInput, match=rf"`{ref.sha256}`.*`ask\(..., images=memory.blobs\)`"):
            ask(chat_openai(server), prompt, MM)
    text, picture = server.requests[0]["messages"][-1]["content"]
    url = f"data:image/png;base64,{base64.b64encode(pictures.read(ref)).decode()}"
    assert (text["text"], picture["image_url"]["url"]) == ("Seen from here:", url)
    assert prompt[-1].content[1] == image_block(ref)  # the caller's own messages stay as they are


def test_a_model_that_cannot_be_cancelled_is_left_and_its_late_answer_dropped() -> None:
    go_on = threading.Event()
    told: list[str] = []

    def say(messages: list[BaseMessage]) -> str:
        if not told:
            told.append("late")
            assert go_on.wait(60)
            return "1 mm"
        return "2 mm"

    model, token = Foreign(say=say), CancelToken()
    began: list[float] = []

    def stop() -> None:
        began.append(time.monotonic())
        token.stop()

    threading.Timer(0.2, stop).start()
    with pytest.raises(Stopped):
        ask(model, ASKED, MM, cancel=token)
    assert time.monotonic() - began[0] < 1.0  # 20 ms on an idle machine
    assert ask(model, ASKED, MM).value == 2  # the one that hangs holds up nobody
    go_on.set()


def test_one_that_talks_without_end_is_left() -> None:
    class Endless(Foreign):
        async def _astream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> AsyncIterator[ChatGenerationChunk]:
            while True:
                yield ChatGenerationChunk(message=AIMessageChunk(content="x" * 1000))

    with pytest.raises(OperatorError, match="more than 262144 bytes"):
        call(Endless(say=str), [HumanMessage("?")])


def test_many_that_hang_hold_up_nobody() -> None:
    go_on = threading.Event()

    def hang(messages: list[BaseMessage]) -> str:
        go_on.wait(60)
        return "1 mm"

    token = halted_after(0.5)
    threads = [threading.Thread(target=lambda: _stopped(Foreign(say=hang), token)) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert ask(Foreign(say=lambda _: "3 mm"), ASKED, MM).value == 3
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    go_on.set()


def _stopped(model: BaseChatModel, token: CancelToken) -> None:
    with pytest.raises(Stopped):
        ask(model, ASKED, MM, cancel=token)


def test_a_thread_that_runs_an_event_loop_may_ask() -> None:
    async def node(model: BaseChatModel) -> int:
        return ask(model, ASKED, MM, cancel=CancelToken()).value

    with openai(["20 mm"] * 3) as model:
        assert asyncio.run(node(model)) == asyncio.run(node(model)) == 20  # two loops, one model
        assert ask(model, ASKED, MM).value == 20


class Nested(Foreign):
    """Asks another model from within a coroutine on the background loop: it would wait for itself."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=ask(Foreign(say=self.say), ASKED).message)])


def test_a_call_that_would_wait_for_itself_is_refused() -> None:
    with pytest.raises(DeveloperError, match="wait for itself"):
        ask(Nested(say=lambda _: "1 mm"), ASKED)


class Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.texts.append(response.generations[0][0].text)


def test_callbacks_of_the_caller_hear_the_model(backend: Backend) -> None:
    heard = Heard()
    with backend(["20 mm"]) as model:
        node: RunnableLambda[str, int] = RunnableLambda(lambda _: ask(model, ASKED, MM).value)
        assert node.invoke("?", {"callbacks": [heard]}) == 20
    assert heard.texts == ["20 mm"]


def test_a_model_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    script = """
import threading
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from loopwright.errors import BadInput, DeveloperError, Paused, Stopped
from loopwright.models.calling import call
from loopwright.schema import CancelToken

token = CancelToken()
threading.Timer(0.2, token.stop).start()
try:
    call(RunnableLambda(lambda messages: threading.Event().wait()), [HumanMessage("?")], cancel=token)
except Stopped:
    print("left")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("left\n", 0), done.stderr
