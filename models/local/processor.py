"""What turns a conversation into a model's inputs: a processor where the model takes images, else a tokenizer.

The stock processors of Qwen's vision-language models also build a video processor, which imports torchvision. Ours are
for images alone, differ from them in nothing else, and the folders that they save name the stock class: other software
reads them as it reads Qwen's own. Load with `load_processor`; `AutoProcessor` would take the stock class.
"""

from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
)

from loopwright.errors import BadInput


class _ImageOnly(ProcessorMixin):
    """What a Qwen processor is without its video half."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        for kind in ("image", "video"):
            token = getattr(tokenizer, f"{kind}_token", f"<|{kind}_pad|>")
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def to_dict(self) -> dict[str, Any]:
        """What is saved, under the stock class's name."""
        return {**super().to_dict(), "processor_class": type(self).__mro__[2].__name__}


class ImageOnlyQwen2VLProcessor(_ImageOnly, Qwen2VLProcessor):
    """`Qwen2VLProcessor` without videos."""


class ImageOnlyQwen25VLProcessor(_ImageOnly, Qwen2_5_VLProcessor):
    """`Qwen2_5_VLProcessor` without videos: chat text and images to `input_ids`, `pixel_values`, `image_grid_thw`."""


class ImageOnlyQwen3VLProcessor(_ImageOnly, Qwen3VLProcessor):
    """`Qwen3VLProcessor` without videos."""


_IMAGE_ONLY: dict[str, type[ProcessorMixin]] = {
    "qwen2_vl": ImageOnlyQwen2VLProcessor,
    "qwen2_5_vl": ImageOnlyQwen25VLProcessor,
    "qwen3_vl": ImageOnlyQwen3VLProcessor,
}
"""By the model type of a configuration."""


def takes_images(config: PreTrainedConfig) -> bool:
    """Whether a model of this architecture takes images beside text."""
    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def load_processor(base: str | Path, config: PreTrainedConfig) -> ProcessorMixin | PreTrainedTokenizerFast:
    """What is saved at `base` (folder or cached hub id) for the model that `config` describes.

    Raises:
        BadInput: it has no chat template.
        OSError, ValueError: a file is missing or malformed.
    """
    kind: Any = _IMAGE_ONLY.get(config.model_type, AutoProcessor) if takes_images(config) else AutoTokenizer
    processor: ProcessorMixin | PreTrainedTokenizerFast = kind.from_pretrained(
        base, local_files_only=True, trust_remote_code=False
    )
    if not processor.chat_template:
        raise BadInput(
            f"`{base}` has no chat template, so it was not trained to chat, and a template that it does not know would "
            "spoil its answers. Take the model's instruct version, or put a `chat_template.jinja` beside its weights."
        )
    return processor


def tokenizer_of(processor: ProcessorMixin | PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer of a processor; a tokenizer is its own."""
    part: Any = processor
    tokenizer: PreTrainedTokenizerFast = getattr(part, "tokenizer", part)
    return tokenizer
