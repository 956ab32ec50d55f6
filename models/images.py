"""Images in chat messages: a content block that refers to a blob, read back as references, opened through a reader.

The block is LangChain's standard image block with `file_id` naming the blob's SHA-256, so messages stay small and equal
images give equal messages. Knows no store: pixels come from the `BlobReader` that the session injects.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from PIL import Image
from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.models.pixels import eight_bit, open_picture
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
        BadInput: there is no reader, or as `open_picture`.
        IntegrityError: the reader does not hold the image, or holds something else.
    """
    data = reader_for(ref, images).read(ref)
    return open_picture(data, f"Image `{ref.sha256}` ({ref.media_type}, {len(data)} bytes)").convert("RGB")


def base64_image(ref: ImageRef, images: BlobReader | None) -> tuple[str, str]:
    """The pixels of `ref` for a program that decodes them itself: the media type, and the encoded bytes in base64.

    Raises:
        BadInput: there is no reader, or as `eight_bit`.
        IntegrityError: as `open_image`.
    """
    kept = reader_for(ref, images).read(ref)
    data = eight_bit(kept, f"Image `{ref.sha256}`")
    return ref.media_type if data is kept else "image/png", base64.b64encode(data).decode()


def with_pixels(messages: Sequence[BaseMessage], images: BlobReader | None) -> list[BaseMessage]:
    """`messages` with each referred image as LangChain's block with pixels, for models that know no references.

    Raises:
        BadInput: there is an image, and no reader.
        IntegrityError: the reader does not hold an image.
    """
    return [_with_pixels(message, images) for message in messages]


def _with_pixels(message: BaseMessage, images: BlobReader | None) -> BaseMessage:
    if not any(block.get("type") == "image" and "file_id" in block for block in _blocks(message)):
        return message
    blocks = [_pixels(block, images) if isinstance(block, dict) else block for block in message.content]
    return message.model_copy(update={"content": blocks})


def _pixels(block: dict[str, Any], images: BlobReader | None) -> dict[str, Any]:
    if block.get("type") != "image" or "file_id" not in block:
        return block
    media_type, encoded = base64_image(ref_of(block), images)
    return {"type": "image", "base64": encoded, "mime_type": media_type}


def reader_for(ref: ImageRef, images: BlobReader | None) -> BlobReader:
    """`images`, which has to be there to open `ref`. Raises `BadInput` where it is not."""
    if images is None:
        raise BadInput(
            f"A message refers to image `{ref.sha256}`, but the model was given it without `images`. Pass a reader: "
            "`open_model(card, images=memory.blobs)`, or `ask(..., images=memory.blobs)` for a model object."
        )
    return images


def _blocks(message: BaseMessage) -> Iterable[dict[str, Any]]:
    """The blocks of a message's content; plain text has none."""
    return (block for block in message.content if isinstance(block, dict))
