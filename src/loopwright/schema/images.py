"""Images by reference: what state, messages and checkpoints carry instead of pixels (rule 1)."""

from typing import Protocol

from pydantic import Field

from loopwright.schema.base import Frozen


class ImageRef(Frozen):
    """A content-addressed image: the SHA-256 of its encoded bytes, and what is needed to lay it out."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", max_length=64)
    media_type: str = Field(default="image/png", max_length=40)
    width_px: int = Field(gt=0, description="px")
    height_px: int = Field(gt=0, description="px")


class BlobReader(Protocol):
    """Whatever can turn a reference back into bytes. The memory is one; models are handed it."""

    def read(self, ref: ImageRef) -> bytes:
        """Encoded bytes of `ref`, checked against its hash. Raises `IntegrityError`."""
        ...
