"""What a card lets a model spend: tokens and money, as the endpoint reports them, or estimated."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.errors import OperatorError
from loopwright.models.cards import Budget, ModelCard
from loopwright.models.served.chat import ServedChatModel

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
        return ServedChatModel(card=card)

    return open_it


def test_a_budget_of_tokens_refuses_the_next_call(server: ChatServer, served: Served) -> None:
    model = served(budget=Budget(max_tokens=20))
    model.invoke("Where to?")
    model.bind(seed=1).invoke("Where to?")  # 15 of 20 are used; how long a reply gets is known only afterwards
    with pytest.raises(OperatorError, match=r"30 of 20 tokens \(22 in prompts, 8 in replies\).* in 2 calls"):
        model.invoke("Where to?")
    assert len(server.requests) == 2


def test_a_budget_of_money(server: ChatServer, served: Served) -> None:
    model = served(budget=Budget(max_cost_usd=0.001, prompt_usd_per_million=50, reply_usd_per_million=200))
    model.invoke("Where to?")
    assert model.spent.cost_usd == pytest.approx((11 * 50 + 4 * 200) / 1e6)
    with pytest.raises(OperatorError, match=r"0\.00135 of 0\.001 USD"):
        model.invoke("Where to?")


def test_what_is_not_reported_is_estimated(server: ChatServer, served: Served) -> None:
    server.turns.extend([Turn(usage=None), Turn(held_after=2)])
    model = served()
    assert model.invoke("Where to?").usage_metadata is None
    pieces = model.stream("Where to?")
    assert [next(pieces).text, next(pieces).text] == ["Go ", "20 mm "]
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert (model.spent.calls, model.spent.estimated_calls) == (2, 2)
    assert model.spent.prompt_tokens > 0 and model.spent.reply_tokens == 4 + 3  # 14 and 9 characters
    with pytest.raises(OperatorError):
        served(base_url="http://127.0.0.1:9/v1", max_retries=0).invoke("Where to?")
