"""A store of pictures in memory, from which the models under evaluation open them."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import IntegrityError
from loopwright.schema import ImageRef
from loopwright.tools.pictures import encode_png


class PngStore:
    """A `BlobReader` over pictures that are kept in memory, encoded."""

    def __init__(self) -> None:
        self._png: dict[str, bytes] = {}

    def add(self, image: NDArray[np.uint8]) -> ImageRef:
        """Keep an (H, W) uint8 picture."""
        png = encode_png(image)
        ref = ImageRef(sha256=hashlib.sha256(png).hexdigest(), width_px=image.shape[1], height_px=image.shape[0])
        self._png[ref.sha256] = png
        return ref

    def read(self, ref: ImageRef) -> bytes:
        """See `BlobReader`."""
        if ref.sha256 not in self._png:
            raise IntegrityError(f"Image `{ref.sha256}` is not among the pictures of this evaluation.")
        return self._png[ref.sha256]
