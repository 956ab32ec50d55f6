"""Which layers an adapter touches: towers and parts by name, as one expression that peft stores with the adapter."""

import re
from collections.abc import Sequence

from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel

from loopwright.errors import BadInput
from loopwright.finetune.sft.config import LoraSettings
from loopwright.models.local.vocabulary import embeddings

VISION = r"(?:.*\.)?(?:visual|vision_tower|vision_model)\."
"""Where the vision tower begins: Qwen's name for it, and that of LLaVA and Gemma."""
BLOCK = r"(?:.*\.)?(?:blocks|layers)\.\d+\."
"""A transformer block of either tower: pooling heads and projectors are none."""
PARTS = {
    "attention": r"(?:self_attn|attn)\.(?:qkv|proj|[qkvo]_proj|out_proj)",
    "mlp": r"mlp\.(?:gate_proj|up_proj|down_proj|fc1|fc2|linear_fc1|linear_fc2)",
}


def target_pattern(settings: LoraSettings) -> str:
    """The expression that full names of the chosen linear layers match, and no others'."""
    tower = "" if settings.vision and settings.language else VISION if settings.vision else f"(?!{VISION})"
    return f"{tower}{BLOCK}(?:{'|'.join(PARTS[part] for part in PARTS if getattr(settings, part))})"


def lora_config(settings: LoraSettings, model: PreTrainedModel, tokens: Sequence[int] = ()) -> LoraConfig:
    """The adapter that `settings` describe, for `model`; the rows of `tokens` in its embeddings are trained with it.

    Raises:
        BadInput: a tower or a part that is asked for has no layer in this model.
    """
    for part, found in _parts_of(model).items():
        if getattr(settings, part) and not found:
            raise BadInput(
                f"`lora.{part}` = True, but `{type(model).__name__}` has no linear layer that is known as such. "
                f"Set `lora.{part}: false`, or add the layer's name to `finetune/sft/lora.py`."
            )
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=target_pattern(settings),
        bias="none",
        trainable_token_indices={name: list(tokens) for name in embeddings(model)} if tokens else None,
    )


def _parts_of(model: nn.Module) -> dict[str, bool]:
    """Which towers and parts have linear layers that an adapter can go to."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    reached = [name for name in names if re.fullmatch(target_pattern(LoraSettings(mlp=True)), name)]
    in_vision = [bool(re.match(VISION, name)) for name in reached]
    parts = {part: any(re.search(expression, name) for name in reached) for part, expression in PARTS.items()}
    return {"vision": any(in_vision), "language": not all(in_vision)} | parts
