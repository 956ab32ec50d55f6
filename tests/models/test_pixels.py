"""The one opener of pictures: 16-bit grey is scaled, what states no range is refused, and everybody uses it."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from PIL import Image
from tests.models.tiny import Pictures, png

import loopwright
from loopwright.errors import BadInput
from loopwright.finetune.data.files import check_file
from loopwright.finetune.sft.data import load_rows
from loopwright.models.images import image_block, open_image, with_pixels
from loopwright.models.pixels import open_picture
from loopwright.schema import ImageRef

RAMP = np.linspace(0, 65535, 64 * 48).round().astype(np.uint16).reshape(48, 64)
TO_8_BIT = (RAMP / 257).round().astype(np.uint8)


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, format=form, **options)
    return out.getvalue()


def sent_to_a_foreign_model(pictures: Pictures, ref: ImageRef) -> bytes:
    block = with_pixels([HumanMessage([image_block(ref)])], pictures)[0].content[0]
    assert isinstance(block, dict) and block["mime_type"] == "image/png"
    return base64.b64decode(block["base64"])


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_is_scaled_and_never_clipped(form: str) -> None:
    opened = open_picture(encoded(RAMP, form))
    assert opened.mode == "L"
    np.testing.assert_array_equal(np.asarray(opened), TO_8_BIT)


def test_inference_training_check_and_tools_show_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(RAMP)
    (tmp_path / "x.png").write_bytes(data)
    row = {
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A carina."}]},
        ],
        "images": ["x.png"],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert check_file(tmp_path / "a.jsonl").problems == ()
    pictures = Pictures()
    ref = pictures.add(data)
    sent = Image.open(BytesIO(sent_to_a_foreign_model(pictures, ref)))
    trained = load_rows(tmp_path / "a.jsonl").dataset[0]["images"][0]
    for shown in (open_image(ref, pictures), trained, sent.convert("RGB")):
        np.testing.assert_array_equal(np.asarray(shown)[..., 0], TO_8_BIT)
    np.testing.assert_array_equal(np.array(open_picture(data)), TO_8_BIT)


def test_8_bit_pictures_are_sent_as_they_are() -> None:
    pictures = Pictures()
    data = png(1)
    assert sent_to_a_foreign_model(pictures, pictures.add(data)) == data


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", "L"), ("L", "L"), ("LA", "L"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGB")]
)
def test_8_bit_pictures_stay_as_pillow_has_them(mode: str, expected: str) -> None:
    out = BytesIO()
    picture = Image.open(BytesIO(png(2))).convert(mode)
    picture.save(out, format="PNG")
    opened = open_picture(out.getvalue())
    assert opened.mode == expected
    assert opened.convert("RGB").tobytes() == picture.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encoded(RAMP // 16), r"no value above 4095; expected values up to 65535.*multiply them by 16"),
        (encoded(RAMP.astype(np.int32), "TIFF"), r"TIFF of mode 'I'; expected 8 bits"),
        (encoded(RAMP.astype(np.float32), "TIFF"), r"TIFF of mode 'F'; expected 8 bits"),
        (encoded(RAMP, "TIFF", tiffinfo={262: 0}), r"expected 8 bits a channel, or grey whose 16 bits .* black at 0"),
        (png(3)[:900], r"cannot be decoded: .*whole"),
        (b"", "cannot be decoded"),
        (png(3, 20_000, 1)[:16] + bytes.fromhex("00004e2000004e20") + png(3, 20_000, 1)[24:], "decoded"),
    ],
    ids=["12 bits in 16", "32 bits", "floats", "white at 0", "cut short", "empty", "400 million pixels"],
)
def test_what_would_be_shown_wrongly_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(BadInput, match=rf"x\.png` .*{said}"):
        open_picture(tmp_path / "x.png")


def test_black_is_black_in_16_bits_too() -> None:
    assert np.asarray(open_picture(encoded(np.zeros((4, 4), np.uint16)))).tolist() == [[0] * 4] * 4


def test_nobody_else_opens_pictures() -> None:
    root = Path(loopwright.__file__).parent
    sources = [
        path for part in ("agents", "finetune", "graphs", "models", "tools") for path in (root / part).rglob("*.py")
    ]
    assert len(sources) > 50
    opening = {str(p.relative_to(root)) for p in sources if re.search(r"\bImage\.open\(", p.read_text("utf-8"))}
    assert opening == {"models/pixels.py"}
