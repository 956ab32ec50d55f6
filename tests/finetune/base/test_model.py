"""The base's parts: patches are the processor's, the loss looks only where it should, replies come by the real path."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from loopwright.finetune.base.batch import IGNORED, ask, encode, encode_texts, repetition
from loopwright.finetune.base.config import LossConfig, ModelConfig
from loopwright.finetune.base.evaluate import word_f1
from loopwright.finetune.base.loss import Pictures, answer_loss, digit_weights, losses, regression_loss, spot_loss
from loopwright.finetune.base.model import ReadingHeads, make_model, make_processor, patches
from loopwright.finetune.base.tokenizer import token_id, train_tokenizer
from loopwright.finetune.data.corpus import Turn

SIZES = ModelConfig(
    vocab_size=300, hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32,
    vision_hidden=16, vision_depth=1, vision_heads=2, vision_intermediate=16, image_px=64, patch_px=16,
)  # fmt: skip
WORDS = train_tokenizer(["Where is the carina? left 35 mm, down 110 mm"] * 5, 300)
TURNS = (Turn(("where",), "Where is the carina?", "left 35 mm"), Turn(("yes",), "Sure?", "yes"))


@pytest.mark.parametrize("merge", [1, 2])
def test_training_patches_are_the_processors(merge: int) -> None:
    sizes = SIZES.model_copy(update={"merge": merge})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    images = [Image.fromarray(p).convert("RGB") for p in pixels]
    expected = make_processor(sizes, WORDS).image_processor(images, return_tensors="pt")
    found = patches(torch.from_numpy(pixels)[:, None].float() / 255, sizes)
    torch.testing.assert_close(found, expected["pixel_values"], atol=1e-5, rtol=0)
    assert expected["image_grid_thw"].tolist() == [[1, 4, 4]] * 2


def test_a_picture_of_any_size_becomes_as_many_tokens_as_in_training() -> None:
    processor = make_processor(SIZES, WORDS)
    for width, height in ((256, 256), (32, 32), (100, 100)):
        grid = processor.image_processor(Image.new("RGB", (width, height)), return_tensors="pt")["image_grid_thw"]
        assert grid.tolist() == [[1, 4, 4]]


def test_training_tokens_are_those_of_the_processor() -> None:
    """The prompt that a model is trained to answer is the one that it is asked."""
    processor: Any = make_processor(SIZES, WORDS)
    [message] = ask(TURNS[0].question)
    message["content"][0]["image"] = Image.new("RGB", (64, 64))
    asked = processor.apply_chat_template(
        [message], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    text = encode([TURNS[:1]], [""], WORDS, SIZES)
    prompt = asked["input_ids"].shape[1]
    assert text.input_ids[0, :prompt].tolist() == asked["input_ids"][0].tolist()
    assert text.kinds[0, :prompt].tolist() == asked["mm_token_type_ids"][0].tolist()
    assert WORDS.decode(text.labels[0][text.labels[0] != IGNORED]) == "left 35 mm<|im_end|>"
    assert (text.labels[0, :prompt] == IGNORED).all()


def test_shorter_lessons_are_padded_and_padding_changes_nothing() -> None:
    text = encode([TURNS, TURNS[:1]], ["Be brief.", ""], WORDS, SIZES)
    alone = encode([TURNS[:1]], [""], WORDS, SIZES)
    length = alone.input_ids.shape[1]
    assert text.attention_mask.sum(1).tolist() == [text.input_ids.shape[1], length]
    assert WORDS.decode(text.labels[0][text.labels[0] != IGNORED]) == "left 35 mm<|im_end|>yes<|im_end|>"
    torch.manual_seed(0)
    model = make_model(SIZES, WORDS).eval()
    heads = nn.ModuleDict({"carm": ReadingHeads(SIZES.hidden, 2, 1, SIZES.tokens_across)})
    weights = digit_weights(WORDS, len(WORDS), 5.0)
    images, targets = torch.rand(2, 1, 64, 64), torch.tensor([[0.5, float("nan")]] * 2)

    def loss_of(rows: list[int], tokens: object) -> float:
        own = {"carm": torch.arange(len(rows))}
        pictures = Pictures(images[rows], own, {"carm": targets[rows]}, {"carm": targets[rows][:, None]})
        found = losses(model, heads, pictures, tokens, weights, SIZES, LossConfig())  # type: ignore[arg-type]
        return found.answer.item()

    shorter = text._replace(labels=text.labels.index_fill(0, torch.tensor([0]), IGNORED))
    assert loss_of([0, 1], shorter) == pytest.approx(loss_of([1], alone), abs=1e-5)


def test_a_text_is_to_be_repeated_exactly_and_costs_beside_the_answers() -> None:
    said = encode_texts([repetition("left 35 mm"), repetition("yes")], WORDS)
    assert "Repeat: left 35 mm" in WORDS.decode(said.input_ids[0]) and not said.kinds.any()
    spoken = [WORDS.decode(row[row != IGNORED]) for row in said.labels]
    assert spoken == ["left 35 mm<|im_end|>", "yes<|im_end|>"]
    torch.manual_seed(0)
    model = make_model(SIZES, WORDS).eval()
    heads = nn.ModuleDict({"carm": ReadingHeads(SIZES.hidden, 2, 1, SIZES.tokens_across)})
    pictures = Pictures(
        torch.rand(1, 1, 64, 64), {"carm": torch.arange(1)}, {"carm": torch.rand(1, 2)}, {"carm": torch.rand(1, 1, 2)}
    )
    text, weights = encode([TURNS], [""], WORDS, SIZES), digit_weights(WORDS, len(WORDS), 5.0)
    without = losses(model, heads, pictures, text, weights, SIZES, LossConfig())
    found = losses(model, heads, pictures, text, weights, SIZES, LossConfig(), said)
    alone = losses(model, heads, pictures, text, weights, SIZES, LossConfig(), encode_texts([repetition("yes")], WORDS))
    assert without.repeated == 0 and found.repeated.item() == pytest.approx(math.log(len(WORDS)), rel=0.1)
    assert found.total.item() == pytest.approx(without.total.item() + found.repeated.item(), rel=1e-5)
    assert found.repeated != alone.repeated


def test_the_first_stage_trains_the_eye_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = make_model(SIZES, WORDS)
    heads = nn.ModuleDict({"carm": ReadingHeads(SIZES.hidden, 2, 1, SIZES.tokens_across)})
    pictures = Pictures(
        torch.rand(3, 1, 64, 64),
        {"carm": torch.arange(3)},
        {"carm": torch.rand(3, 2)},
        {"carm": torch.rand(3, 1, 2)},
    )
    loss = losses(model, heads, pictures, None, digit_weights(WORDS, len(WORDS), 5.0), SIZES, LossConfig())
    loss.total.backward()  # type: ignore[no-untyped-call]
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved and all(name.startswith("model.visual.") for name in moved)
    assert loss.total == loss.seen + 0.5 * loss.found and loss.answer == loss.known == 0


def test_a_digit_weighs_as_much_as_it_is_told_to() -> None:
    weights = digit_weights(WORDS, len(WORDS), 5.0)
    seven, left = token_id(WORDS, "7"), token_id(WORDS, "l")
    assert weights.sum() == len(WORDS) + 40
    assert weights[[seven, left]].tolist() == [5, 1]
    logits = torch.randn(2, len(WORDS))
    one, two = (-logits.log_softmax(-1)[row, token] for row, token in ((0, seven), (1, left)))
    torch.testing.assert_close(answer_loss(logits, torch.tensor([seven, left]), weights), (5 * one + two) / 6)


def test_targets_that_are_not_there_cost_nothing() -> None:
    nan = float("nan")
    read = torch.tensor([[1.0, 9.0], [2.0, 9.0]], requires_grad=True)
    regression_loss(read, torch.tensor([[1.0, nan], [nan, nan]])).backward()  # type: ignore[no-untyped-call]
    assert read.grad is not None and read.grad.abs().sum() == 0
    assert regression_loss(read, torch.full((2, 2), nan)) == 0
    assert regression_loss(read, torch.tensor([[0.0, nan], [nan, nan]])).item() == pytest.approx(0.95)


def test_a_token_over_a_spot_is_the_one_to_be_found() -> None:
    places = ReadingHeads(4, 2, 1, 4).get_buffer("places")
    spots = torch.tensor([[[-0.25, 0.75], [float("nan"), float("nan")]]])
    uniform, sharp = torch.zeros(1, 16, 2), torch.zeros(1, 16, 2)
    sharp[0, 4 * 3 + 1, 0] = 2  # fourth row, second column
    sharp[0, :, 1] = torch.randn(16)  # what is not there costs nothing
    assert spot_loss(uniform, spots, places).item() == pytest.approx(math.log(16))
    assert spot_loss(sharp, spots, places) < math.log(16)
    assert spot_loss(-sharp, spots, places) > math.log(16)
    assert spot_loss(sharp, torch.full((1, 2, 2), float("nan")), places) == 0


def test_the_eye_can_say_where_it_looks() -> None:
    """With its attention on one token, a head reads that token's place: x right, y down, the picture in [-1, 1]."""
    head = ReadingHeads(4, 2, 1, 4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.look.weight[:, 0] = 100
        head.place.copy_(torch.eye(2))
    visual = torch.zeros(1, 16, 4)
    visual[0, 4 * 3 + 1, 0] = 1  # fourth row, second column
    assert head(visual, torch.zeros(1, 4)).seen.tolist() == [pytest.approx([-0.25, 0.75])]
    assert head(torch.zeros(1, 16, 4), torch.zeros(1, 4)).seen.tolist() == [pytest.approx([0, 0])]


def test_the_first_stage_teaches_the_eye_to_see() -> None:
    """A bright square somewhere on grey: the eye learns where. A constant would be wrong by 0.5 an axis on average."""
    torch.manual_seed(0)
    model = make_model(SIZES, WORDS)
    heads = nn.ModuleDict({"carm": ReadingHeads(SIZES.hidden, 2, 1, SIZES.tokens_across)})
    weights = digit_weights(WORDS, len(WORDS), 5.0)
    optimiser = torch.optim.AdamW([*model.parameters(), *heads.parameters()], lr=1e-2)

    def squares(seed: int) -> Pictures:
        at = torch.randint(0, 57, (32, 2), generator=torch.Generator().manual_seed(seed))
        images = torch.full((32, 1, 64, 64), 0.5)
        for image, (x, y) in zip(images, at.tolist(), strict=True):
            image[:, y : y + 8, x : x + 8] = 1
        middle = (at + 4) / 32 - 1
        return Pictures(images, {"carm": torch.arange(32)}, {"carm": middle}, {"carm": middle[:, None]})

    for step in range(80):
        loss = losses(model, heads, squares(step), None, weights, SIZES, LossConfig())
        optimiser.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    unseen = losses(model, heads, squares(1000), None, weights, SIZES, LossConfig())
    assert unseen.seen < 0.15
    assert unseen.found < 0.7 * math.log(SIZES.tokens_across**2)


@pytest.mark.parametrize(
    "change", [{"patch_px": 14}, {"merge": 3}, {"hidden": 40}, {"kv_heads": 3}, {"vision_hidden": 18}]
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="must be a multiple"):
        ModelConfig.model_validate(SIZES.model_dump() | change)


@pytest.mark.parametrize(
    ("reply", "truth", "f1"),
    [("a b", "a b", 1), ("b a", "a b", 1), ("a", "a b", 2 / 3), ("", "a", 0), ("a a a", "a b", 0.4), ("", "", 1)],
)
def test_word_f1(reply: str, truth: str, f1: float) -> None:
    assert word_f1(reply, truth) == pytest.approx(f1)
