"""Chat models of every kind that say what they are told to, and one question in every format."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field, SecretStr
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.models.answers import JsonFormat, TextFormat, ToolCall, ToolCallFormat
from loopwright.models.cards import ModelCard
from loopwright.models.scripted import ScriptedChatModel
from loopwright.models.served.chat import ServedChatModel
from loopwright.schema import Frozen
from loopwright.tools.contract import ToolContext, tool
from loopwright.tools.registry import find_tool

ASKED: list[BaseMessage] = [SystemMessage("You steer a C-arm."), HumanMessage("Where to?")]


class Move(Frozen):
    """One motion of the view."""

    direction: Literal["left", "right"]
    distance_mm: int = Field(ge=0, le=150, description="how far, mm")


class Aim(Frozen):
    depth_mm: float = Field(ge=0, le=150, description="how deep to look, mm")
    note: str = Field(max_length=6, description="why")


@tool(effect="read", timeout_s=1)
def look(args: Aim, context: ToolContext) -> Move:
    """Look at the world."""
    return Move(direction="left", distance_mm=int(args.depth_mm))


MM: TextFormat[int] = TextFormat(
    name="distance",
    pattern=r"[1-9][0-9]{0,2} mm",
    longest_chars=6,
    example="20 mm",
    render=lambda value: f"{value} mm",
    read=lambda text: int(text.removesuffix(" mm")),
    tidy=lambda text: f"{int(''.join(filter(str.isdigit, text)))} mm",
)
JSON = JsonFormat(Move)
CALL = ToolCallFormat((look, find_tool("move_c_arm"), find_tool("next_clip")))
LOOK = ToolCall(name="look", arguments={"depth_mm": 20.0, "note": "bone"})
KINDS: dict[str, tuple[Any, Any, str]] = {
    "free": (None, "I would go left.", "I would go left."),
    "json": (Move, Move(direction="left", distance_mm=20), '{"direction":"left","distance_mm":20}'),
    "text": (MM, 20, "20 mm"),
    "call": (CALL, LOOK, CALL.render(LOOK)),
}
"""Format, value, and the value as an answer to the letter."""


class Foreign(BaseChatModel):
    """Somebody's own model: not async, calls no tools, and takes exactly what LangChain's interface says."""

    say: Callable[[list[BaseMessage]], str]

    @property
    def _llm_type(self) -> str:
        return "foreign"

    def _generate(  # type: ignore[override]  # a caller may pass nothing else
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.say(messages)))])


def turn(said: str, call: ToolCall | None = None) -> Turn:
    """A reply of an endpoint; tokens 11 and 4."""
    if call is None:
        return Turn(pieces=(said[:3], said[3:]))
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    one = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return Turn(deltas=[{"role": "assistant", "tool_calls": [one]}], finish_reason="tool_calls")


Backend = Callable[[Sequence[str | ToolCall]], Any]


@contextmanager
def served(replies: Sequence[str | ToolCall], **card: Any) -> Iterator[ServedChatModel]:
    with ChatServer(*(turn("", r) if isinstance(r, ToolCall) else turn(r) for r in replies)) as server:
        yield ServedChatModel(card=ModelCard(name="here", kind="served", base=MODEL, base_url=server.url, **card))
        assert not server.turns


@contextmanager
def openai(replies: Sequence[str | ToolCall]) -> Iterator[ChatOpenAI]:
    with ChatServer(*(turn("", r) if isinstance(r, ToolCall) else turn(r) for r in replies)) as server:
        yield chat_openai(server)
        assert not server.turns


def chat_openai(server: ChatServer) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=server.url, api_key=SecretStr("none"), stream_usage=True, max_retries=0)


@contextmanager
def scripted(replies: Sequence[str | ToolCall]) -> Iterator[ScriptedChatModel]:
    def said(reply: str | ToolCall) -> str | AIMessage:
        if isinstance(reply, str):
            return reply
        called = {"name": reply.name, "args": reply.arguments, "id": "call_1", "type": "tool_call"}
        return AIMessage("", tool_calls=[called])

    with ScriptedChatModel(replies=tuple(map(said, replies))) as model:
        yield model


@contextmanager
def foreign(replies: Sequence[str | ToolCall]) -> Iterator[Foreign]:
    left = [CALL.render(reply) if isinstance(reply, ToolCall) else reply for reply in replies]
    yield Foreign(say=lambda messages: left.pop(0))
    assert not left


BACKENDS: dict[str, Any] = {"served": served, "openai": openai, "scripted": scripted, "foreign": foreign}
