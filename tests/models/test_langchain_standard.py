"""LangChain's own tests of chat models, over the bundled local model, a served one and the scripted one.

What differs from model to model is declared as `langchain-tests` has it. Tests that fetch something are left out by
their properties (images, PDF and audio come from the internet; none is given to these models but by reference).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from tests.models import capable
from tests.models.chat_server import MODEL, ChatServer

from loopwright.models.cards import ModelCard, load_card
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.scripted import ScriptedChatModel
from loopwright.models.served.chat import ServedChatModel

OTHER = "other-model"


@pytest.fixture(scope="module")
def small() -> Iterator[LocalChatModel]:
    """Keeps the engine loaded for all tests of this module."""
    yield LocalChatModel(card=load_card("small"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ChatServer]:
    with ChatServer(answer=capable.answer, models=(MODEL, OTHER)) as server:
        yield server


class _Local:
    """Replies are short: nobody reads them."""

    @pytest.fixture(autouse=True)
    def _loaded(self, small: LocalChatModel) -> None: ...

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        card = load_card("small")
        return {"card": card, "decoding": card.decoding.model_copy(update={"max_tokens": 16})}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False


class _Served:
    @pytest.fixture(autouse=True)
    def _server(self, endpoint: ChatServer) -> None:
        self.url = endpoint.url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ServedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = getattr(self, "url", "http://127.0.0.1:9/v1")
        return {"card": ModelCard(name="here", kind="served", base=MODEL, base_url=url)}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return OTHER


JOKE = '{"setup":"Why?","punchline":"So."}'
SCRIPTS: dict[str, tuple[str | AIMessage, ...]] = {
    "tool_calling": ("magic_function", {"input": 3}),
    "tool_calling_async": ("magic_function", {"input": 3}),
    "tool_choice": ("magic_function", {"input": 3}),
    "tool_calling_with_no_arguments": ("magic_function_no_args", {}),
    "bind_runnables_as_tools": ("greeting_generator", {"answer_style": "pirate"}),
    "agent_loop": ("get_weather", {"location": "San Francisco"}),
    "unicode_tool_call_integration": ("unicode_customer", {"customer_name": "你好こ", "description": "a company"}),
}
"""What the script of a test calls, by the test's name."""


class _Scripted:
    """Each test has its script; a script counts no tokens."""

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        name = request.node.originalname.removeprefix("test_")
        replies: tuple[str | AIMessage, ...] = ("hello",) * 9
        if name in SCRIPTS:
            called, args = SCRIPTS[name]
            calls = [{"name": called, "args": args, "id": f"call_{i}", "type": "tool_call"} for i in range(4)]
            replies = tuple(AIMessage("", tool_calls=[call]) for call in calls)
        elif "structured_output" in name or name == "json_mode":
            replies = (JOKE,) * 4
        return ScriptedChatModel(replies=replies, **getattr(request, "param", {}))

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ScriptedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"replies": ("hello",) * 9}

    @property
    def returns_usage_metadata(self) -> bool:
        return False

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False


class TestLocalUnit(_Local, ChatModelUnitTests): ...


class TestLocal(_Local, ChatModelIntegrationTests): ...


class TestServedUnit(_Served, ChatModelUnitTests): ...


class TestServed(_Served, ChatModelIntegrationTests): ...


class TestScriptedUnit(_Scripted, ChatModelUnitTests): ...


class TestScripted(_Scripted, ChatModelIntegrationTests): ...
