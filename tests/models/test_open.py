"""`open_model`: each kind of card becomes a chat model that answers."""

from pathlib import Path

import pytest
from tests.models.chat_server import MODEL, ChatServer
from tests.models.tiny import make_qwen25vl

from loopwright.errors import BadInput
from loopwright.models.cards import ModelCard, load_card
from loopwright.models.open import open_model
from loopwright.models.scripted import ScriptedChatModel


def test_a_script(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("kind: scripted\nreplies:\n  - left\n  - right\n")
    model = open_model(load_card(tmp_path / "demo.yaml"))
    assert isinstance(model, ScriptedChatModel)
    with model:
        assert [model.invoke("?").text, model.invoke("?").text] == ["left", "right"]


def test_an_endpoint() -> None:
    with ChatServer() as server:
        model = open_model(ModelCard(name="here", kind="served", base=MODEL, base_url=server.url))
        assert model.invoke("Where to?").text == "Go 20 mm left."


def test_a_folder(tmp_path: Path) -> None:
    make_qwen25vl(tmp_path / "base")
    (tmp_path / "tiny.yaml").write_text("kind: local\nbase: ./base\ndevice: cpu\ndecoding: {max_tokens: 3}\n")
    reply = open_model(load_card(tmp_path / "tiny.yaml")).invoke("Where to?")
    assert reply.usage_metadata and 1 <= reply.usage_metadata["output_tokens"] <= 3
    with pytest.raises(BadInput, match="nowhere"):
        open_model(ModelCard(name="x", kind="local", base=str(tmp_path / "nowhere")))
