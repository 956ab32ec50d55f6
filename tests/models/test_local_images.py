"""Images in messages: references in, references out, pixels only through the reader, and errors that say what to do."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from PIL import Image
from tests.models.tiny import Pictures, png

from loopwright.errors import BadInput, IntegrityError
from loopwright.memory import open_memory
from loopwright.models.images import image_block, image_refs, open_image
from loopwright.schema import ImageRef


def test_references_survive_a_message_in_order() -> None:
    pictures = Pictures()
    first, second = pictures.add(png(1)), pictures.add(png(2, width_px=40))
    messages = [
        SystemMessage("look"),
        HumanMessage([image_block(first), {"type": "text", "text": "and"}, "plain", image_block(second)]),
        AIMessage("seen"),
        HumanMessage([image_block(first)]),
    ]
    again = [type(m).model_validate_json(m.model_dump_json()) for m in messages]
    assert image_refs(again) == [first, second, first]
    assert len(again[1].model_dump_json()) < 1000


def test_equal_images_make_equal_blocks() -> None:
    ref = Pictures().add(png(1))
    assert image_block(ref) == image_block(ref.model_copy())


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "image", "file_id": "not a hash", "mime_type": "image/png", "extras": {"width_px": 1, "height_px": 1}},
        {"type": "image", "file_id": "0" * 64, "mime_type": "image/png"},
    ],
)
def test_a_block_that_is_no_reference_is_refused(block: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="image_block"):
        image_refs([HumanMessage([block])])


def test_pixels_come_from_the_memory(tmp_path: Path) -> None:
    data = png(3, width_px=12, height_px=8)
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as memory:
        session = memory.sessions.create("test", {})
        with memory.sessions.acquire(session.id):
            ref = memory.blobs.put(data, session_id=session.id, media_type="image/png", width_px=12, height_px=8)
            image = open_image(ref, memory.blobs)
    assert (image.mode, image.size) == ("RGB", (12, 8))
    assert image.tobytes() == Image.open(BytesIO(data)).tobytes()


def test_what_cannot_be_opened_is_named() -> None:
    pictures = Pictures()
    text = b"no image at all"
    ref = ImageRef(sha256=sha256(text).hexdigest(), width_px=1, height_px=1)
    with pytest.raises(BadInput, match="without `images`"):
        open_image(ref, None)
    with pytest.raises(IntegrityError, match=ref.sha256):
        open_image(ref, pictures)
    pictures.blobs[ref.sha256] = text
    with pytest.raises(BadInput, match="cannot be decoded"):
        open_image(ref, pictures)
    whole = png(4)
    torn = pictures.add(whole)
    pictures.blobs[torn.sha256] = whole[: len(whole) // 2]
    with pytest.raises(BadInput, match="cannot be decoded"):
        open_image(torn, pictures)
