"""A fine-tuning run as one value, the same in YAML. The defaults are the seed's, where it names any (facts: C-arm)."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from loopwright.errors import BadInput
from loopwright.finetune.runs.augmentation import AugmentConfig
from loopwright.finetune.runs.settings import RunSettings
from loopwright.schema import Frozen


class BaseModelConfig(Frozen):
    """Which base, and how it is held. A folder is written `./...`, `../...`, `~/...` or absolute, as in model cards."""

    base: str = Field(min_length=1, description="folder or hub id")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(default="auto", description="auto: float32 on a CPU")
    quantisation: Literal["nf4"] | None = Field(default=None, description="of the frozen base; nf4 makes it QLoRA")
    image_size_px: int | None = Field(default=None, ge=1, description="edge that pictures are resized to; None: as is")
    visual_tokens: int = Field(
        default=0, ge=0, le=100_000, description="tokens `<|v0|>`, ... that are added and trained with the adapter"
    )

    @property
    def folder(self) -> Path | None:
        """The folder that `base` names, None where it is a hub id."""
        return Path(self.base).expanduser() if self.base.startswith((".", "/", "~")) else None


class DataConfig(Frozen):
    """Messages JSONL; images by paths relative to the file. Relative paths here start at the working directory."""

    train: Path
    validation: Path | None = None
    workers: int = Field(default=0, ge=0, description="processes that read and prepare pictures; 0: the trainer's own")
    augment: AugmentConfig | None = Field(
        default=None, description="how pictures are varied in training, each row's in its own way; never in validation"
    )

    def of_folder(self, folder: Path) -> Self:
        """The same for the files in `folder` that `loopwright data build` wrote; validation where it is there.

        Raises:
            BadInput: nothing to train on lies there.
        """
        train, validation = (folder / f"{part}.messages.jsonl" for part in ("train", "validation"))
        if not train.is_file():
            raise BadInput(f"`{folder}` holds no `{train.name}`. Build it: `loopwright data build`.")
        return self.model_copy(update={"train": train, "validation": validation if validation.is_file() else None})


class LoraSettings(Frozen):
    """Low-rank adapters (Hu et al. 2021) on the linear layers of the chosen towers and parts."""

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1, description="the update is scaled by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    vision: bool = True
    language: bool = True
    attention: bool = True
    mlp: bool = False

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if not (self.vision or self.language) or not (self.attention or self.mlp):
            raise ValueError("nothing would be trained; set `vision` or `language`, and `attention` or `mlp`")
        return self


class EmphasisConfig(Frozen):
    """Where a long answer decides. There its tokens count for more in the loss of training, not of validation."""

    pattern: str = Field(description="regular expression; what its groups match in an answer is emphasised")
    weight: float = Field(gt=0, description="of such a token; any other counts 1")

    @field_validator("pattern")
    @classmethod
    def _groups(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from error
        if groups == 0:
            raise ValueError("it has no group; put what is to be emphasised in brackets")
        return pattern


class OptimiserConfig(Frozen):
    """AdamW under a linear warm-up and half a cosine down to zero."""

    name: Literal["adamw", "adamw_8bit"] = Field(default="adamw", description="adamw_8bit: bitsandbytes, CUDA alone")
    epochs: float = Field(default=3.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="overrules `epochs`")
    batch: int = Field(default=8, ge=1, description="rows that go through the model at once")
    accumulate: int = Field(default=1, ge=1, description="such batches for each step")
    lr: float = Field(default=1e-4, gt=0, description="at the end of the warm-up")
    warm_up: float = Field(default=0.03, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=0.3, gt=0)
    gradient_checkpointing: bool = Field(default=False, description="less memory, about a third more time")


class SftConfig(RunSettings):
    """All that a fine-tuning run depends on, beside the code. `*_every` count steps of the optimiser."""

    seed: int = Field(default=0, ge=0)
    model: BaseModelConfig
    data: DataConfig
    lora: LoraSettings = LoraSettings()
    start_from: Path | None = Field(
        default=None, description="an adapter of the same base and shape to go on from: its folder or its run's"
    )
    emphasis: EmphasisConfig | None = None
    optimiser: OptimiserConfig = OptimiserConfig()
    log_every: int = Field(default=10, ge=1)
    validate_every: int = Field(default=200, ge=1)
    checkpoint_every: int = Field(default=200, ge=1, description="what a kill can cost")
    keep_checkpoints: int = Field(default=2, ge=1)
