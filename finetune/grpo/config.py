"""A run of GRPO as one value, the same in YAML. Rewards and learning rate default to the recipe paper's."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.runs.settings import RunSettings
from loopwright.finetune.sft.config import BaseModelConfig, LoraSettings
from loopwright.schema import Frozen


class RowsConfig(Frozen):
    """Single answers: messages JSONL, as for supervised fine-tuning; the last answer is the truth, for the rewards."""

    train: Path
    format: str | None = Field(
        default=None, description="`module:attribute` of the `AnswerFormat` that the loop asks for; None: free text"
    )
    only: str = Field(default="", description="a pattern that a row's answer begins with; others are left out")
    loop: str = Field(default="", description="whose rewards are known beside the general ones")


class EpisodesConfig(Frozen):
    """Sessions of a loop: JSONL, each line the settings of one run, as `Loop.start` takes them."""

    loop: str = Field(description="name, `module:attribute` or YAML file")
    role: str = Field(description="whose model is trained; in it, the loop asks the model that is trained")
    train: Path
    models: dict[str, str] = Field(default={}, description="cards of the other roles")


class RewardConfig(Frozen):
    """One component of the reward: its weight, and the settings that its function takes."""

    weight: float = 1.0
    settings: dict[str, object] = Field(default={})


class DrawingConfig(Frozen):
    """How candidates are drawn. Top-k and top-p are not for training: what they leave out has no probability."""

    candidates: int = Field(default=8, ge=2, description="of each prompt: the group that a candidate is measured in")
    prompts: int = Field(default=4, ge=1, description="of each step")
    shuffled: bool = Field(default=True, description="False: the rows in the order of their file, again and again")
    temperature: float = Field(default=1.0, gt=0)
    under_grammar: bool = Field(default=True, description="False: free text, in the format or not")
    max_tokens: int = Field(default=512, ge=1, description="longest reply that is drawn free")
    at_once: int = Field(default=16, ge=1, description="episodes under way together, and replies drawn together")


class OptimiserConfig(Frozen):
    """AdamW under a linear warm-up and half a cosine down to zero, on the clipped objective with a KL term."""

    name: Literal["adamw", "adamw_8bit"] = Field(default="adamw", description="adamw_8bit: bitsandbytes, CUDA alone")
    steps: int = Field(ge=1)
    lr: float = Field(default=5e-6, gt=0)
    warm_up: float = Field(default=0.05, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1, description="parts in which a step's replies go through the model")
    iterations: int = Field(default=1, ge=1, description="steps on the same candidates")
    kl: float = Field(default=0.04, ge=0, description="weight of the divergence from the model that the run began with")
    clip: float = Field(default=0.2, gt=0, description="how far a ratio of probabilities may be from 1")
    loss: Literal["dapo", "grpo", "dr_grpo"] = Field(
        default="dapo", description="dapo: each token counts alike; grpo: each reply; dr_grpo: no length in it"
    )
    masks_visual: bool = Field(default=False, description="leave visual tokens out of the loss, as an ablation")
    gradient_checkpointing: bool = Field(default=False, description="less memory, about a third more time")


class GrpoConfig(RunSettings):
    """All that a run depends on, beside the code. `*_every` count steps of the optimiser."""

    seed: int = Field(default=0, ge=0)
    model: BaseModelConfig
    start_from: Path | None = Field(
        default=None, description="the adapter to go on from, and to stay near; its folder or its run's"
    )
    lora: LoraSettings = LoraSettings()
    rows: RowsConfig | None = None
    episodes: EpisodesConfig | None = None
    rewards: dict[str, RewardConfig] = Field(min_length=1, description="name -> weight and settings")
    credit: Literal["episode", "turn"] = Field(
        default="episode",
        description="episode: each reply of an episode counts for all of it; turn: for what came from that turn on",
    )
    scale: Literal["group", "none"] = Field(
        default="group", description="group: advantages in standard deviations of the group's rewards"
    )
    drawing: DrawingConfig = DrawingConfig()
    optimiser: OptimiserConfig
    log_every: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=20, ge=1, description="what a kill can cost")
    keep_checkpoints: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.rows is None) == (self.episodes is None):
            raise ValueError("set either `rows` (single answers) or `episodes` (sessions of a loop)")
        if self.drawing.prompts * self.drawing.candidates < self.optimiser.accumulate:
            raise ValueError("`optimiser.accumulate` is more than a step has candidates")
        return self

    def without(self, reward: str) -> Self:
        """The same but for one component of the reward.

        Raises:
            UnknownName: it has no such component.
            BadInput: it has no other.
        """
        if reward not in self.rewards:
            raise UnknownName("reward of the config", reward, self.rewards)
        if len(self.rewards) == 1:
            raise BadInput(f"Without {reward!r} nothing would be rewarded.")
        return self.model_copy(update={"rewards": {n: c for n, c in self.rewards.items() if n != reward}})

    @property
    def train_file(self) -> Path:
        """The rows or runs to train on."""
        source = self.rows or self.episodes
        assert source is not None, "the validator lets none pass that has neither"
        return source.train
