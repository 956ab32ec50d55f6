"""The base's training run as one value, the same in YAML: every field written out, none unknown."""

from typing import Literal, Self

from pydantic import Field, model_validator

from loopwright.finetune.base.worlds import Worlds
from loopwright.finetune.runs.schedule import OptimiserConfig
from loopwright.finetune.runs.settings import RunSettings
from loopwright.schema import Frozen


class ModelConfig(Frozen):
    """Sizes of the network and of its picture."""

    vocab_size: int = Field(ge=270, le=65_536, description="most tokens; fewer where the texts give fewer")
    context: int = Field(default=4096, ge=256, description="longest prompt and reply together, tokens")
    hidden: int = Field(ge=16)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    intermediate: int = Field(ge=16)
    vision_hidden: int = Field(ge=16)
    vision_depth: int = Field(ge=1)
    vision_heads: int = Field(ge=1)
    vision_intermediate: int = Field(ge=16)
    image_px: int = Field(default=128, ge=16, description="edge of the square that pictures are scaled to")
    patch_px: int = Field(default=16, ge=2)
    merge: int = Field(default=1, ge=1, description="visual tokens are merge x merge patches")

    @property
    def tokens_across(self) -> int:
        """Visual tokens along one edge of the picture."""
        return self.image_px // (self.patch_px * self.merge)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.image_px % (self.patch_px * self.merge):
            raise ValueError(f"`image_px` must be a multiple of `patch_px` x `merge` = {self.patch_px * self.merge}")
        if self.hidden % (16 * self.heads) or self.heads % self.kv_heads:
            raise ValueError("`hidden` must be a multiple of 16 x `heads`, and `heads` of `kv_heads`")
        if self.vision_hidden % (4 * self.vision_heads):
            raise ValueError("`vision_hidden` must be a multiple of 4 x `vision_heads`")
        return self


class LossConfig(Frozen):
    """Weights of the loss's parts, relative to the cross-entropy of the answers' tokens."""

    digit: float = Field(default=5.0, gt=0, description="weight of a digit's token, 1 elsewhere")
    seen: float = Field(default=1.0, ge=0, description="regression from the visual tokens")
    known: float = Field(default=1.0, ge=0, description="regression from the language model at the picture's end")
    found: float = Field(default=0.5, ge=0, description="which visual tokens lie over what has a place")


class BaseConfig(RunSettings):
    """All that a training run depends on, beside the code.

    It has four stages, each under a one-cycle schedule of its own: `look` trains the eye alone, by regression, at some
    times the speed; `talk` trains everything on questions about pictures; `write` goes on with that, and has texts in
    the forms of the worlds' roles repeated; `read` goes on with both, and asks about texts what they themselves say.
    Without these two no adapter could do either. One leaves the tokens' embeddings as they are, and a token that was
    never to be said stays improbable; and a role's long answers say little about whether its prompt was read.
    """

    seed: int = 0
    model: ModelConfig
    worlds: Worlds
    look: OptimiserConfig
    talk: OptimiserConfig
    write: OptimiserConfig
    read: OptimiserConfig
    texts_per_step: int = Field(default=8, ge=1, description="to be repeated, in `write` and `read`")
    readings_per_step: int = Field(default=24, ge=1, description="texts that are asked about, in `read`")
    loss: LossConfig = LossConfig()
    system_share: float = Field(default=0.25, ge=0, le=1, description="batches that open with the system prompt")
    probes_per_kind: int = Field(default=100, ge=1, description="held-out questions at each validation")
    validate_every: int = Field(default=1000, ge=1, description="steps")
    checkpoint_every: int = Field(default=250, ge=1, description="steps; what a kill can cost")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0, description="torch threads; 0: torch's own choice")

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def stages(self) -> tuple[OptimiserConfig, ...]:
        """In order."""
        return self.look, self.talk, self.write, self.read
