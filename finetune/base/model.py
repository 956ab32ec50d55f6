"""The base's architecture: Qwen2.5-VL made small, its processor, and the heads that only training uses.

The picture is 128 x 128. Patches of 16 divide it (of 14 do not), and with a merge of 1 every patch becomes one visual
token: 64 of them, each 19 mm of a C-arm view. A merge of 2 would leave 16 tokens of 39 mm and save little.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from loopwright.finetune.base.config import ModelConfig
from loopwright.finetune.base.tokenizer import CHAT_TEMPLATE, token_id
from loopwright.models.local.processor import ImageOnlyQwen25VLProcessor

_GREY = (0.5, 0.5, 0.5)
_SPREAD = (0.25, 0.25, 0.25)
"""What pixels in [0, 1] are normalised with: mean and standard deviation of a radiograph, roughly."""


def make_model(config: ModelConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    """A randomly initialised model, from torch's global generator."""
    head = config.hidden // config.heads
    spatial = 3 * head // 16
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.context,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [head // 2 - 2 * spatial, spatial, spatial],
        },
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": config.vision_depth,
        "hidden_size": config.vision_hidden,
        "intermediate_size": config.vision_intermediate,
        "num_heads": config.vision_heads,
        "out_hidden_size": config.hidden,
        "patch_size": config.patch_px,
        "spatial_merge_size": config.merge,
        "temporal_patch_size": 1,
        "window_size": config.image_px,
        "fullatt_block_indexes": list(range(config.vision_depth)),
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=token_id(tokenizer, "<|image_pad|>"),
            video_token_id=token_id(tokenizer, "<|video_pad|>"),
            vision_start_token_id=token_id(tokenizer, "<|vision_start|>"),
            vision_end_token_id=token_id(tokenizer, "<|vision_end|>"),
            tie_word_embeddings=True,
        )
    )


def make_processor(config: ModelConfig, tokenizer: PreTrainedTokenizerFast) -> ImageOnlyQwen25VLProcessor:
    """The processor that goes with `make_model`: any picture is scaled to the area the model was trained on."""
    images = Qwen2VLImageProcessorPil(
        patch_size=config.patch_px,
        merge_size=config.merge,
        temporal_patch_size=1,
        size={"shortest_edge": config.image_px**2, "longest_edge": config.image_px**2},
        image_mean=list(_GREY),
        image_std=list(_SPREAD),
    )
    return ImageOnlyQwen25VLProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE)


def patches(images: Tensor, config: ModelConfig) -> Tensor:
    """(B, C, N, N) in [0, 1], C of 1 or 3, to the processor's `pixel_values`, (B * (N / patch)^2, 3 * patch^2)."""
    size, merge = config.patch_px, config.merge
    count, _, edge, _ = images.shape
    across = edge // (size * merge)
    grey, spread = (images.new_tensor(v)[:, None, None] for v in (_GREY, _SPREAD))
    cut = ((images.expand(-1, 3, -1, -1) - grey) / spread).reshape(count, 3, across, merge, size, across, merge, size)
    return cut.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, 3 * size * size)


class Readings(NamedTuple):
    """What the heads of one world read: `seen` and `known` (B, K), and `spots` (B, V, S), a logit a visual token."""

    seen: Tensor
    known: Tensor
    spots: Tensor


class ReadingHeads(nn.Module):
    """Reads a world's K targets and S spots off the model: without them it learns the format and sees nothing.

    `seen` comes from the V visual tokens alone, by a weighted mean for each target: where to look, and what is read
    there, with the place itself as one of the inputs. Equal weights would be mean-pooling. `known` is a linear
    function of what the language model has at the end of the picture, before any question is asked. `spots` says of
    each visual token how likely a thing lies there: the one loss that reaches every token by itself.
    """

    def __init__(self, hidden: int, targets: int, spots: int, tokens_across: int) -> None:
        super().__init__()
        self.spot = nn.Linear(hidden, spots)
        self.look = nn.Linear(hidden, targets)
        self.read = nn.Linear(hidden, targets)
        self.place = nn.Parameter(torch.zeros(2, targets))
        self.know = nn.Linear(hidden, targets)
        axis = (torch.arange(tokens_across) + 0.5) * 2 / tokens_across - 1
        down, right = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("places", torch.stack([right, down], dim=-1).reshape(-1, 2), persistent=False)

    def forward(self, visual: Tensor, end: Tensor) -> Readings:
        """(B, V, hidden) visual tokens and (B, hidden) states at the picture's end."""
        places = self.get_buffer("places")
        value = self.read(visual) + places @ self.place
        return Readings((self.look(visual).softmax(1) * value).sum(1), self.know(end), self.spot(visual))
