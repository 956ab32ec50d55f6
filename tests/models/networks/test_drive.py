"""The image tokenizer: codes of patches, pictures of codes, and files that are whole."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from loopwright.errors import BadInput
from loopwright.models.networks.drive import (
    BUNDLED,
    GRID,
    SIZE_PX,
    DriveTokenizer,
    ImageTokenizer,
    TokenizerConfig,
    TokenNetwork,
    bundled_tokenizer,
    load_network,
    prepare,
    save_network,
)

PATCH_PX = SIZE_PX // GRID


def made(codes: int = 6) -> DriveTokenizer:
    torch.manual_seed(0)
    network = TokenNetwork(TokenizerConfig(codes=codes, width=16))
    looks = network.looks(prepare(pictures(seed=1))).flatten(0, 1)
    network.get_buffer("codebook").copy_(looks[:codes])
    return DriveTokenizer(network, {})


def pictures(seed: int, count: int = 2) -> np.ndarray:
    """Of patches of one colour each."""
    colours = np.random.default_rng(seed).integers(0, 256, (count, GRID, GRID, 3), dtype=np.uint8)
    return colours.repeat(PATCH_PX, axis=1).repeat(PATCH_PX, axis=2)


def test_a_patch_has_the_same_code_wherever_it_stands() -> None:
    tokenizer: ImageTokenizer = made()
    one = pictures(seed=1)
    moved = np.roll(one, PATCH_PX, axis=2)
    codes = tokenizer.encode(one).reshape(-1, GRID, GRID)
    assert np.array_equal(tokenizer.encode(moved).reshape(-1, GRID, GRID), np.roll(codes, 1, axis=2))
    assert codes[0, 0, :6].tolist() == [0, 1, 2, 3, 4, 5]  # the patches that the codebook was made of


def test_codes_become_a_picture_and_others_are_refused() -> None:
    tokenizer = made()
    picture = tokenizer.decode(tokenizer.encode(pictures(seed=1)))
    assert picture.shape == (2, SIZE_PX, SIZE_PX, 3) and picture.dtype == np.uint8
    for wrong in (np.full((1, 64), 6), np.full((1, 64), -1), np.zeros((1, 63), np.int64)):
        with pytest.raises(BadInput, match="from 0 to 5"):
            tokenizer.decode(wrong)
    with pytest.raises(BadInput, match=r"\(1, 64, 64, 3\)"):
        tokenizer.encode(np.zeros((1, 64, 64, 3), np.uint8))


def test_weights_are_kept_and_damage_is_named(tmp_path: Path) -> None:
    tokenizer, path = made(), tmp_path / "tokenizer.safetensors"
    save_network(path, tokenizer.network, {"seed": "0"})
    again = load_network(path)
    codes = tokenizer.encode(pictures(seed=2))
    assert np.array_equal(again.encode(pictures(seed=2)), codes)
    assert np.abs(again.decode(codes).astype(int) - tokenizer.decode(codes)).max() <= 1  # matrices in fp16
    assert again.metadata["seed"] == "0"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="no whole network"):
        load_network(path)
    with pytest.raises(BadInput, match="is not there"):
        load_network(tmp_path / "missing.safetensors")


def test_the_card_is_of_these_weights() -> None:
    card = yaml.safe_load(BUNDLED.with_name("drive_tokens.card.yaml").read_text(encoding="utf-8"))
    data = BUNDLED.read_bytes()
    assert (card["weights_sha256"], card["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert len(data) < 6e6 and card["codes"] == bundled_tokenizer().n_codes


def test_the_bundled_tokenizer_draws_what_it_was_shown() -> None:
    from loopwright.finetune.networks.drive.fidelity import fidelity, total
    from loopwright.tools.drive.scene import Agent, Box, Scene
    from loopwright.tools.drive.views import top_view

    tokenizer = bundled_tokenizer()
    found = []
    for k in range(8):
        places = ((-4.0, 12.0 + 3.3 * k), (4.0, 30.0 - 3.1 * k))
        agents = tuple(Agent(id=str(y), box=Box(x_m=x, y_m=y), vx_mps=20.0) for y, x in places)
        scene = Scene(source="test", token=str(k), speed_mps=20, history=((0, 0),) * 5, agents=agents)
        truth = top_view(scene)
        again = tokenizer.decode(tokenizer.encode(truth[None]))[0]
        found.append(fidelity(again, truth, scene))
    counts = total(found)
    assert counts.there >= 12 and counts.found >= 0.8 * counts.there
