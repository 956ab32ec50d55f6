"""Processors of Qwen's vision-language models for images alone, so that they work without torchvision.

The stock ones also build a video processor, which imports torchvision. Ours differ from them in nothing else, and the
folders that they save name the stock class: other software reads them as it reads Qwen's own. Load a processor with
`load_processor`; `AutoProcessor` would take the stock class for these folders.
"""

from pathlib import Path
from typing import Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin, Qwen2_5_VLProcessor, Qwen3VLProcessor


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


class ImageOnlyQwen25VLProcessor(_ImageOnly, Qwen2_5_VLProcessor):
    """`Qwen2_5_VLProcessor` without videos: chat text and images to `input_ids`, `pixel_values`, `image_grid_thw`."""


class ImageOnlyQwen3VLProcessor(_ImageOnly, Qwen3VLProcessor):
    """`Qwen3VLProcessor` without videos."""


_IMAGE_ONLY: dict[str, type[ProcessorMixin]] = {
    "qwen2_5_vl": ImageOnlyQwen25VLProcessor,
    "qwen3_vl": ImageOnlyQwen3VLProcessor,
}
"""By the model type of a configuration."""


def load_processor(base: str | Path, config: PreTrainedConfig) -> ProcessorMixin:
    """The processor saved at `base` (folder or cached hub id) for the model that `config` describes.

    Raises:
        OSError, ValueError: a file is missing or malformed.
    """
    known = _IMAGE_ONLY.get(config.model_type, AutoProcessor)
    processor: ProcessorMixin = known.from_pretrained(base, local_files_only=True)
    return processor
