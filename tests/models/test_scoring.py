"""Scored choices equal the plain way: one full forward pass for each choice, token by token, end included."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from tests.models.templates import CHATML_SPECIALS
from tests.models.tiny import FAMILIES, VISION_FAMILIES, folder_of, tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, ProcessorMixin

from loopwright.errors import BadInput
from loopwright.models.local.batch import collate
from loopwright.models.local.loading import auto_model, load_config
from loopwright.models.local.processor import load_processor, tokenizer_of
from loopwright.models.scoring import score_batch, score_choices

CHOICES = ["T1", "T12", "T", "Carina", "Right humeral head", "Left hemidiaphragm", "[1: Skull]", "\n\n é"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Model and processor, read back from a folder."""
    config = load_config(folder_of(request.param))
    model = auto_model(config).from_pretrained(folder_of(request.param), dtype=torch.float32).eval()
    return model, load_processor(folder_of(request.param), config)


def prompt(processor: Any, *, n_images: int, words: str = "Which landmark is nearest to the centre?") -> dict[str, Any]:
    """A text-only model is shown no images."""
    if not isinstance(processor, ProcessorMixin):
        text = processor.apply_chat_template([{"role": "user", "content": words}], tokenize=False)
        return dict(processor(text, return_tensors="pt", return_token_type_ids=False))
    rng = np.random.default_rng(n_images)
    images = [Image.fromarray(rng.integers(0, 256, (56, 84, 3), dtype=np.uint8)) for _ in range(n_images)]
    content: Any = [*({"type": "image"} for _ in images), {"type": "text", "text": words}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return dict(processor(text=[text], images=[images] if images else None, return_tensors="pt"))


def with_images(*numbers: int) -> pytest.MarkDecorator:
    """Each family with each of these numbers of pictures, as far as it takes them."""
    cases = [(family, n) for family in FAMILIES for n in numbers if family in VISION_FAMILIES or n == 0]
    return pytest.mark.parametrize(("family", "n_images"), cases, indirect=["family"])


@torch.no_grad()
def one_by_one(model: Any, processor: Any, inputs: dict[str, Any], choice: str, ends: list[int]) -> float:
    """The reference: prompt and choice in one forward pass without a cache."""
    ids = tokenizer_of(processor)(choice, add_special_tokens=False)["input_ids"]
    whole = dict(inputs)
    for name, filler in {"input_ids": ids, "attention_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0}.items():
        if name in inputs:
            more = torch.tensor([ids]) if name == "input_ids" else torch.full((1, len(ids)), filler)
            whole[name] = torch.cat([inputs[name], more.to(inputs[name].dtype)], dim=1)
    log_probs = model(**whole, use_cache=False).logits[0].double().log_softmax(-1)[-len(ids) - 1 :]
    return sum(float(log_probs[i, token]) for i, token in enumerate(ids)) + float(log_probs[-1, ends].logsumexp(-1))


@with_images(0, 1, 2)
def test_scores_equal_one_full_pass_for_each_choice(family: tuple[Any, Any], n_images: int) -> None:
    model, processor = family
    inputs = prompt(processor, n_images=n_images)
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    expected = [one_by_one(model, processor, inputs, choice, ends) for choice in CHOICES]
    scores = score_choices(model, processor, inputs, CHOICES)
    assert np.abs(scores.log_probs - expected).max() < 1e-4
    assert scores.probabilities == pytest.approx(softmax(expected), abs=1e-4)
    assert scores.probabilities.sum() == pytest.approx(1)


def test_a_prompt_leaves_nothing_behind_for_the_next(family: tuple[Any, Any]) -> None:
    model, processor = family
    plain = prompt(processor, n_images=0)
    before = score_choices(model, processor, plain, CHOICES).log_probs
    score_choices(model, processor, prompt(processor, n_images=1), CHOICES)
    assert score_choices(model, processor, plain, CHOICES).log_probs == pytest.approx(before, abs=1e-5)


def test_a_choice_does_not_depend_on_the_others(family: tuple[Any, Any]) -> None:
    model, processor = family
    inputs = prompt(processor, n_images=1)
    together = score_choices(model, processor, inputs, CHOICES).log_probs
    alone = [score_choices(model, processor, inputs, [choice]) for choice in CHOICES]
    assert together == pytest.approx([scores.log_probs[0] for scores in alone], abs=1e-4)
    assert [scores.probabilities.tolist() for scores in alone] == [[1.0]] * len(CHOICES)


@with_images(0, 1)
def test_prompts_that_are_scored_together_get_the_scores_they_get_alone(family: tuple[Any, Any], n_images: int) -> None:
    model, processor = family
    words = ("Which?", "Which landmark is nearest to the centre of this view of the chest?", "Which is it?")
    prompts = [prompt(processor, n_images=n_images, words=word) for word in words]
    together = score_batch(model, processor, collate(prompts, tokenizer_of(processor).pad_token_id), CHOICES)
    alone = [score_choices(model, processor, inputs, CHOICES) for inputs in prompts]
    assert together.log_probs == pytest.approx(np.stack([scores.log_probs for scores in alone]), abs=1e-4)
    assert together.probabilities.sum(axis=1) == pytest.approx(1)
    assert np.ptp(together.log_probs, axis=0).max() > 1e-3  # or the prompts would not matter


def test_padding_does_not_count_where_positions_are_learned() -> None:
    words = tokenizer(CHATML_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    torch.manual_seed(0)
    settings = GPT2Config(vocab_size=len(words), n_positions=128, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2)
    model = GPT2LMHeadModel(settings).eval()
    prompts = [
        dict(words(text, return_tensors="pt", return_token_type_ids=False)) for text in ("Which?", "Which is it?")
    ]
    together = score_batch(model, words, collate(prompts, words.pad_token_id), CHOICES, end_ids=[words.eos_token_id])
    alone = [score_choices(model, words, inputs, CHOICES, end_ids=[words.eos_token_id]).log_probs for inputs in prompts]
    assert np.abs(together.log_probs - alone).max() < 1e-4


def test_every_end_token_ends_a_choice(family: tuple[Any, Any]) -> None:
    model, processor = family
    inputs, ends = (
        prompt(processor, n_images=1),
        [tokenizer_of(processor).eos_token_id, tokenizer_of(processor).pad_token_id],
    )
    expected = [one_by_one(model, processor, inputs, choice, ends) for choice in CHOICES]
    assert score_choices(model, processor, inputs, CHOICES, end_ids=ends).log_probs == pytest.approx(expected, abs=1e-4)


def test_temperature_flattens_and_keeps_the_order(family: tuple[Any, Any]) -> None:
    model, processor = family
    inputs = prompt(processor, n_images=1)
    cold, hot = (score_choices(model, processor, inputs, CHOICES, temperature=t) for t in (1.0, 50.0))
    assert hot.log_probs == pytest.approx(cold.log_probs)
    assert hot.probabilities == pytest.approx(softmax(cold.log_probs / 50))
    assert np.argsort(hot.probabilities).tolist() == np.argsort(cold.log_probs).tolist()


def test_bad_choices_are_refused(family: tuple[Any, Any]) -> None:
    model, processor = family
    inputs = prompt(processor, n_images=0)
    for choices, said in (
        ([], "`choices` is empty"),
        (["T1", ""], "holds '', which has no tokens"),
        (["T1", "T12", "T1"], "'T1' and 'T1', which are the same reply"),
    ):
        with pytest.raises(BadInput, match=said):
            score_choices(model, processor, inputs, choices)
    with pytest.raises(BadInput, match="`temperature` is 0"):
        score_choices(model, processor, inputs, ["T1"], temperature=0)
    with pytest.raises(BadInput, match="holds 2 prompts"):
        score_choices(model, processor, {"input_ids": inputs["input_ids"].repeat(2, 1)}, ["T1"])
