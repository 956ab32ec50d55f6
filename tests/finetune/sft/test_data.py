"""Rows on their way into a fine-tuning run: pictures vary in training, each row's in its own way, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.finetune.sft.sft_runs import row, write_rows

from loopwright.finetune.runs.augmentation import AugmentConfig
from loopwright.finetune.sft.data import Rows, load_rows, varied_by

SOME = AugmentConfig()
OFF = AugmentConfig(gamma=0, window=0, shading=0, noise_sd=0, blur_sd_px=0, shutter_p=0, line_p=0)


def picture(rows: Rows, k: int) -> NDArray[np.uint8]:
    return np.asarray(rows.dataset[k]["images"][0])


def varied(path: Path, config: AugmentConfig = SOME, seed: int = 0) -> Rows:
    return load_rows(path, vary=varied_by(config, seed))


def test_a_row_has_pictures_of_its_own_that_are_the_same_whenever_it_is_opened(tmp_path: Path) -> None:
    path = write_rows(tmp_path)
    plain, one, again, other = load_rows(path), varied(path), varied(path), varied(path, seed=1)
    for k in (0, 5):
        assert np.array_equal(picture(one, k), picture(again, k))
        assert not np.array_equal(picture(one, k), picture(other, k))
        assert not np.array_equal(picture(one, k), picture(plain, k))
    assert one.dataset[3]["prompt"] == plain.dataset[3]["prompt"]
    assert (one.sha256, one.lengths) == (plain.sha256, plain.lengths)
    assert np.array_equal(picture(varied(path, OFF), 5), picture(plain, 5))


def test_two_questions_about_one_picture_see_it_in_two_ways(tmp_path: Path) -> None:
    path = write_rows(tmp_path)
    questions = ("Which landmark is nearest?", "What is in the centre?")
    rows = [json.dumps(row("pictures/0.png", "Skull", question)) for question in questions]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    shown = varied(path)
    assert not np.array_equal(picture(shown, 0), picture(shown, 1))


@pytest.mark.parametrize(("mode", "size"), [("L", (40, 40)), ("RGB", (48, 30))])
def test_an_x_ray_stays_grey_and_a_photograph_keeps_its_shape(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = write_rows(tmp_path)
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    pixels = np.random.default_rng(0).integers(0, 255, size=shape, dtype=np.uint8)
    Image.fromarray(pixels, mode).save(tmp_path / "pictures" / "0.png")
    shown = picture(varied(path, AugmentConfig(shutter_p=1, line_p=1)), 0)
    assert shown.shape == (*size[::-1], 3)
    assert (shown == shown[..., :1]).all() == (mode == "L")
    assert shown.std() > 5
