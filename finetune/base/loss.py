"""The loss: what the assistant says, digits weighted, and what can be read off the model about the picture.

Plain cross-entropy teaches a small model the format in a hundred steps and no sight at all. The
regression makes the picture matter from the first step, and digits carry most of what an answer says about it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from loopwright.finetune.base.batch import IGNORED, Text
from loopwright.finetune.base.config import LossConfig, ModelConfig
from loopwright.finetune.base.model import Readings, patches
from loopwright.finetune.base.tokenizer import token_id


class Losses(NamedTuple):
    """Scalars; a world counts by its share of the pictures.

    `answer` and `known` are zero in the stage that trains the eye alone, `repeated` and `read` before theirs.
    """

    total: Tensor
    answer: Tensor
    seen: Tensor
    known: Tensor
    found: Tensor
    repeated: Tensor
    read: Tensor


class Pictures(NamedTuple):
    """B pictures (B, 3, N, N) in [0, 1]; for each world its own rows, their targets (rows, K), spots (rows, S, 2)."""

    images: Tensor
    rows: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    spots: Mapping[str, Tensor]


def digit_weights(tokenizer: PreTrainedTokenizerFast, vocab_size: int, weight: float) -> Tensor:
    """(vocab_size,) `weight` for the ten digits' tokens, 1 for all others."""
    weights = torch.ones(vocab_size)
    weights[[token_id(tokenizer, digit) for digit in "0123456789"]] = weight
    return weights


def answer_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of `labels` (n,) under `logits` (n, V), averaged with each label's weight (V,)."""
    return cross_entropy(logits.float(), labels, weight=weights)


def regression_loss(read: Tensor, targets: Tensor) -> Tensor:
    """Huber loss over the targets (B, K) that are not NaN; zero where all are."""
    there = ~targets.isnan()
    return smooth_l1_loss(read[there].float(), targets[there], beta=0.1, reduction="sum") / there.sum().clamp(min=1)


def spot_loss(logits: Tensor, spots: Tensor, places: Tensor) -> Tensor:
    """Cross-entropy between the tokens (B, V, S) and a Gaussian about each spot (B, S, 2), its sd half a token.

    `places` (V, 2) are the tokens' centres. What is not in the picture (NaN) costs nothing.
    """
    there = ~spots.isnan().any(-1)
    distance = (places[None, :, None] - spots.nan_to_num()[:, None]).square().sum(-1)
    wanted = (-0.5 * distance * len(places)).softmax(1)
    missed: Tensor = -(wanted * logits.float().log_softmax(1)).sum(1)
    mean: Tensor = (missed * there).sum() / there.sum().clamp(min=1)
    return mean


def losses(
    model: Qwen2_5_VLForConditionalGeneration,
    heads: nn.ModuleDict,
    pictures: Pictures,
    text: Text | None,
    weights: Tensor,
    sizes: ModelConfig,
    config: LossConfig,
    repetitions: Text | None = None,
    readings: Text | None = None,
) -> Losses:
    """All parts for one batch; `text` None trains the eye alone, `repetitions` and `readings` are without pictures."""
    grid = torch.tensor([[1, *2 * [sizes.image_px // sizes.patch_px]]], device=pictures.images.device)
    grid = grid.repeat(len(pictures.images), 1)
    core: Any = model.model  # its tensors are typed as `LongTensor`, which no tensor is
    eye = core.get_image_features(patches(pictures.images, sizes), grid)
    visual = torch.stack(eye.pooler_output)
    answer = known = repeated = read = visual.new_zeros(())
    end = torch.zeros_like(visual[:, 0])
    if text is not None:
        states = _states(core, text, image_grid_thw=grid, mm_encoder_outputs={"image": eye})
        answer = _said_loss(model, states, text, weights)
        end = states[text.input_ids == model.config.vision_end_token_id]
    if repetitions is not None:
        repeated = _said_loss(model, _states(core, repetitions), repetitions, torch.ones_like(weights))
    if readings is not None:
        read = _each_said_loss(model, _states(core, readings), readings)
    measured: dict[str, Readings] = {
        world: heads[world](visual[rows], end[rows]) for world, rows in pictures.rows.items()
    }
    by_world = [
        torch.stack(
            [
                regression_loss(r.seen, pictures.targets[world]),
                regression_loss(r.known, pictures.targets[world]),
                spot_loss(r.spots, pictures.spots[world], heads[world].get_buffer("places")),
            ]
        )
        * (len(pictures.rows[world]) / len(pictures.images))
        for world, r in measured.items()
    ]
    seen, known_if_told, found = torch.stack(by_world).sum(0)
    if text is not None:
        known = known_if_told
    total = answer + repeated + read + config.seen * seen + config.known * known + config.found * found
    return Losses(total, answer, seen, known, found, repeated, read)


def _states(core: Any, text: Text, **pictures: Any) -> Tensor:
    """(B, T, hidden) the language model's last states."""
    states: Tensor = core(
        input_ids=text.input_ids,
        attention_mask=text.attention_mask,
        mm_token_type_ids=text.kinds,
        use_cache=False,
        **pictures,
    ).last_hidden_state
    return states


def _said_loss(model: Qwen2_5_VLForConditionalGeneration, states: Tensor, text: Text, weights: Tensor) -> Tensor:
    """Cross-entropy of what the assistant says, from the language model's last states (B, T, hidden)."""
    bears = text.labels[:, 1:] != IGNORED
    return answer_loss(model.lm_head(states[:, :-1][bears]), text.labels[:, 1:][bears], weights)


def _each_said_loss(model: Qwen2_5_VLForConditionalGeneration, states: Tensor, text: Text) -> Tensor:
    """The same, each answer counting alike: whether a text was read shows in a few tokens, a step's form takes many."""
    bears = text.labels[:, 1:] != IGNORED
    costs = cross_entropy(model.lm_head(states[:, :-1][bears]).float(), text.labels[:, 1:][bears], reduction="none")
    shares = (bears / bears.sum(1, keepdim=True))[bears]
    loss: Tensor = (costs * shares).sum() / len(bears)
    return loss
