"""A session's pictures: encoded so that equal ones have equal bytes, and kept in the memory by reference (rule 1)."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loopwright.models.pixels import open_picture
from loopwright.schema import BlobReader, ImageRef

if TYPE_CHECKING:
    from loopwright.memory import Memory


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 3) uint8 to PNG bytes, the same bytes for the same picture."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def keep_picture(memory: "Memory", session_id: str, image: NDArray[np.uint8]) -> ImageRef:
    """Store a picture as `encode_png` has it."""
    return memory.blobs.put(
        encode_png(image),
        session_id=session_id,
        media_type="image/png",
        width_px=image.shape[1],
        height_px=image.shape[0],
    )


def stored_picture(blobs: BlobReader, ref: ImageRef) -> Image.Image:
    """A stored picture. Raises `BadInput` as `open_picture`."""
    return open_picture(blobs.read(ref), f"Image `{ref.sha256}`")


def read_picture(blobs: BlobReader, ref: ImageRef) -> NDArray[np.uint8]:
    """A stored picture's pixels, (H, W) or (H, W, 3) uint8."""
    return np.array(stored_picture(blobs, ref))
