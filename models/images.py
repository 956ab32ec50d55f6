"""Images in chat messages: a content block that refers to a blob, read back as references, opened through a reader.

The block is LangChain's standard image block with `file_id` naming the blob's SHA-256, so messages stay small and equal
images give equal messages. Knows no store: pixels come from the `BlobReader` that the session injects.
"""

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

from langchain_core.messages import BaseMessage
from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.schema import BlobReader, ImageRef


def image_block(ref: ImageRef) -> dict[str, Any]:
    """The content block that stands for `ref` in a message."""
    return {
        "type": "image",
        "file_id": ref.sha256,
        "mime_type": ref.media_type,
        "extras": {"width_px": ref.width_px, "height_px": ref.height_px},
    }


def image_refs(messages: Sequence[BaseMessage]) -> list[ImageRef]:
    """Every image that `messages` refer to, in order, repeated ones repeated.

    Raises:
        BadInput: an image block that is no reference, such as one that carries its pixels or a URL.
    """
    return [ref_of(block) for message in messages for block in _blocks(message) if block.get("type") == "image"]


def ref_of(block: dict[str, Any]) -> ImageRef:
    """The reference in one image block.

    Raises:
        BadInput: as `image_refs`.
    """
    try:
        return ImageRef.model_validate(
            {"sha256": block["file_id"], "media_type": block["mime_type"], **block.get("extras", {})}
        )
    except (KeyError, ValidationError) as error:
        keys = ", ".join(f"`{key}`" for key in block)
        raise BadInput(
            f"An image block with {keys} is no reference to a stored image ({error}). Store the image in the memory "
            "and build the block with `image_block(ref)`: messages carry references, never pixels or links."
        ) from error


def open_image(ref: ImageRef, images: BlobReader | None) -> Image.Image:
    """The pixels of `ref` as RGB.

    Raises:
        BadInput: there is no reader, or the bytes are no image that Pillow can decode.
        IntegrityError: the reader does not hold the image, or holds something else.
    """
    if images is None:
        raise BadInput(
            f"A message refers to image `{ref.sha256}`, but this model was opened without `images`. "
            "Pass a blob reader: `open_model(card, images=memory.blobs)`."
        )
    data = images.read(ref)
    try:
        return Image.open(BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise BadInput(
            f"Image `{ref.sha256}` ({ref.media_type}, {len(data)} bytes) cannot be decoded: {error}. "
            "Store PNG or JPEG, whole."
        ) from error


def _blocks(message: BaseMessage) -> Iterable[dict[str, Any]]:
    """The blocks of a message's content; plain text has none."""
    return (block for block in message.content if isinstance(block, dict))
