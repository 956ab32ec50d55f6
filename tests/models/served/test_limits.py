"""An endpoint that does not keep to the length that was asked for."""

import pytest
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.errors import OperatorError
from loopwright.models.cards import ModelCard
from loopwright.models.served.chat import ServedChatModel


def test_a_reply_longer_than_was_asked_for_is_left() -> None:
    fits, calling = "x" * 3 * 128, {"tool_calls": [{"index": 0, "function": {"name": "move", "arguments": "y" * 99}}]}
    too_long = (Turn(pieces=(fits, "x" * 129)), Turn(pieces=("",) * 513), Turn(deltas=(calling,) * 50))
    with ChatServer(Turn(pieces=(fits,)), *too_long) as server:
        model = ServedChatModel(card=ModelCard(name="here", kind="served", base=MODEL, base_url=server.url))
        assert model.invoke("Where to?", max_tokens=3).text == fits
        for _ in too_long:
            with pytest.raises(OperatorError, match="does not keep to `max_tokens` = 3"):
                model.invoke("Where to?", max_tokens=3)
