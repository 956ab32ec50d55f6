"""Cassettes: what was recorded is played back without endpoint, key or pictures, and a miss says what differed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.errors import BadInput, IntegrityError
from loopwright.models.cards import ModelCard
from loopwright.models.images import image_block
from loopwright.models.served.cassette import Cassette
from loopwright.models.served.chat import ServedChatModel
from loopwright.schema import ImageRef

PICTURE = ImageRef(sha256="cd" * 32, width_px=8, height_px=8)
PROMPT = [HumanMessage([image_block(PICTURE), {"type": "text", "text": "Where to?"}])]


class Blobs:
    def read(self, ref: ImageRef) -> bytes:
        return b"PIXELS OF A PATIENT"


def record(path: Path, *turns: Turn, prompts: list[Any]) -> None:
    with ChatServer(*turns) as server:
        card = ModelCard(name="here", kind="served", base=MODEL, base_url=server.url)
        model = ServedChatModel(card=card, images=Blobs(), cassette=Cassette(path, "record"))
        for prompt in prompts:
            model.invoke(prompt)


def replaying(path: Path, **values: Any) -> ServedChatModel:
    """A model whose endpoint does not exist, whose key is not set, and that has no pictures."""
    where = {"base": MODEL, "base_url": "http://127.0.0.1:9/v1", "api_key_env": "NO_SUCH_KEY"}
    card = ModelCard(**{"name": "here", "kind": "served", **where, **values})
    return ServedChatModel(card=card, cassette=Cassette(path, "replay"))


def test_a_recording_is_played_back_without_the_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "cassette.jsonl"
    record(path, Turn(pieces=("left ", "a bit")), Turn(pieces=("right",)), prompts=[PROMPT, "And now?"])
    model = replaying(path)
    assert model.invoke("And now?").text == "right"  # in any order
    assert [piece.text for piece in model.stream(PROMPT)][:2] == ["left ", "a bit"]
    assert model.spent.calls == 0
    reply = replaying(path).invoke(PROMPT)
    assert reply.usage_metadata and reply.usage_metadata["total_tokens"] == 15
    assert reply.response_metadata["finish_reason"] == "stop"


def test_a_recording_holds_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    record(path, prompts=[PROMPT])
    text = path.read_text()
    assert PICTURE.sha256 in text
    assert "base64" not in text and "PIXELS" not in text


def test_equal_requests_get_their_replies_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    record(path, Turn(pieces=("left",)), Turn(pieces=("right",)), prompts=["?", "?"])
    model = replaying(path)
    assert [model.invoke("?").text, model.invoke("?").text] == ["left", "right"]
    with pytest.raises(BadInput, match="holds 2 replies to this request, and all were played"):
        model.invoke("?")


def test_a_miss_names_what_differs_from_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    question = "You see a radiograph of the thorax. Name the landmark that is nearest to the centre."
    record(path, prompts=["Something else entirely", question])
    model = replaying(path)
    with pytest.raises(BadInput) as raised:
        model.invoke(question.replace("nearest", "farthest"), seed=5)
    said = str(raised.value)
    assert str(path) in said and "nearest of 2 recorded requests" in said
    assert "`messages.0.content`: recorded '...'" not in said
    assert "that is nearest to the centre" in said and "that is farthest to the" in said
    assert "`seed`: recorded 0, asked 5" in said
    with pytest.raises(BadInput, match=r"`stop\.0`: asked 'x', which was not recorded"):
        model.invoke(question, stop=["x"])
    with pytest.raises(BadInput, match=r"`model`: recorded 'tiny-vlm', asked 'other'"):
        replaying(path, base="other").invoke(question)


def test_failed_calls_are_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    with pytest.raises(BadInput, match="400"):
        record(path, Turn(status=400, error={"message": "no"}), prompts=["?"])
    assert path.read_text() == ""
    with pytest.raises(BadInput, match="It is empty"):
        replaying(path).invoke("?")


def test_a_recording_is_neither_overwritten_nor_invented(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    with pytest.raises(BadInput, match="no cassette"):
        Cassette(path, "replay")
    record(path, prompts=["?"])
    with pytest.raises(BadInput, match="exists"):
        Cassette(path, "record")


def test_a_recording_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    record(path, prompts=["Where to?", "And now?"])
    whole = path.read_text()
    path.write_text(whole.replace("And now?", "And then?"))
    with pytest.raises(IntegrityError, match=r"Line 2 .* was changed"):
        Cassette(path, "replay")
    path.write_text(whole[:-20])  # killed while it wrote
    with pytest.raises(IntegrityError, match=r"Line 2 .* is no recording"):
        Cassette(path, "replay")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.dictionaries(st.text(), JSON, min_size=1, max_size=3)


@settings(max_examples=30)
@given(calls=st.lists(st.tuples(REQUESTS, st.lists(REQUESTS, max_size=2)), min_size=1, max_size=5), other=REQUESTS)
def test_every_recorded_request_finds_its_replies_and_no_other_does(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Any], other: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("cassettes") / "cassette.jsonl"
    recorder = Cassette(path, "record")
    for request, reply in calls:
        recorder.keep(request, reply)
    player = Cassette(path, "replay")
    assert [player.play(json.loads(json.dumps(request))) for request, _ in calls] == [reply for _, reply in calls]
    if all(json.dumps(other, sort_keys=True) != json.dumps(request, sort_keys=True) for request, _ in calls):
        with pytest.raises(BadInput, match="differs in"):
            player.play(other)
