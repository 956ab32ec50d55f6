"""Encoded pictures to 8-bit pixels: the one opener of training, inference and tools. Knows no message and no store.

Pillow turns 16-bit grey into RGB by cutting everything above 255 down to white. Here its full range, 0 to 65535, is
scaled to 0 to 255, and what states no range (32-bit and floating-point pictures) is refused.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from loopwright.errors import BadInput

_GREY = ("1", "L", "LA", "La")
_DARK = 4096
"""16-bit pictures that stay beneath it show as black; 12-bit values that nobody scaled look like this."""
_TIFF_BITS, _TIFF_PHOTOMETRIC, _BLACK_IS_ZERO = 258, 262, 1


def open_picture(source: Path | bytes, name: str = "") -> Image.Image:
    """The picture in a file or in encoded bytes, decoded: `L` where it is grey, else `RGB`.

    Args:
        source: a file, or what stands in one.
        name: what messages call it; the file's path or the number of bytes where nothing is given.

    Raises:
        BadInput: there is no such file, it cannot be decoded, or its range of values is not known.
    """
    name = name or (f"`{source}`" if isinstance(source, Path) else f"A picture of {len(source)} bytes")
    try:
        with Image.open(source if isinstance(source, Path) else BytesIO(source)) as image:
            image.load()
            if _is_wide(image):
                return _narrowed(image, name)
            return image.convert("L" if image.mode in _GREY else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:  # by the kind of damage
        raise BadInput(f"{name} cannot be decoded: {str(error).rstrip('.')}. Store PNG or JPEG, whole.") from error


def eight_bit(data: bytes, name: str) -> bytes:
    """Encoded bytes that any program shows rightly: a PNG in place of 16-bit grey, all others as they are.

    Raises:
        BadInput: as `open_picture`, for a picture of more than 8 bits.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            wide = _is_wide(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return data  # whoever decodes it will say what is wrong
    if not wide:
        return data
    out = BytesIO()
    open_picture(data, name).save(out, format="PNG")
    return out.getvalue()


def _is_wide(image: Image.Image) -> bool:
    return image.mode[0] in "IF"


def _narrowed(image: Image.Image, name: str) -> Image.Image:
    if not _fills_16_bits(image):
        raise BadInput(
            f"{name} is a {image.format} of mode {image.mode!r}; expected 8 bits a channel, or grey whose 16 bits are "
            "all in use, black at 0. Scale it to 0-255 and store it as PNG."
        )
    values = np.asarray(image).astype(np.uint32)
    if 0 < (brightest := int(values.max())) < _DARK:
        raise BadInput(
            f"{name} has 16 bits and no value above {brightest}; expected values up to 65535, as this one would show "
            "as black. If it holds 12-bit values, multiply them by 16; else store it with 8 bits."
        )
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _fills_16_bits(image: Image.Image) -> bool:
    """Whether the format itself says that values go from 0, black, to 65535. `I` is how older Pillows read 16 bits."""
    if image.format in ("PNG", "PPM"):
        return image.mode.startswith("I")
    tags = getattr(image, "tag_v2", {_TIFF_BITS: (16,), _TIFF_PHOTOMETRIC: _BLACK_IS_ZERO})
    stated = tags.get(_TIFF_BITS) == (16,) and tags.get(_TIFF_PHOTOMETRIC) == _BLACK_IS_ZERO
    return image.mode.startswith("I;16") and stated
