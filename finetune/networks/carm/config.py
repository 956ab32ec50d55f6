"""The localiser's training run as one value, the same in YAML: every field written out, none unknown."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from loopwright.finetune.data.carm.rendered import DataConfig
from loopwright.finetune.runs.augmentation import AugmentConfig
from loopwright.finetune.runs.schedule import OptimiserConfig
from loopwright.finetune.runs.settings import RunSettings
from loopwright.models.networks.carm import NetworkConfig
from loopwright.schema import Frozen


class DeformConfig(Frozen):
    """How far the person of a view is turned, stretched and sheared in the coronal plane, picture and truth."""

    rotation_sd_deg: float = Field(default=0.0, ge=0, description="in the picture's plane: patients lie askew")
    scale_sd: float = Field(default=0.0, ge=0, le=0.3, description="of the log size, along each axis of its own")
    shear_sd: float = Field(default=0.0, ge=0, le=0.3, description="patients lean")


class LossConfig(Frozen):
    """Weights of the loss's parts."""

    nearest: float = Field(default=0.5, ge=0, description="Plackett-Luce over the three nearest")
    heat: float = Field(default=0.2, ge=0, description="heat map of the landmarks in view")
    centring: float = Field(default=2.0, ge=0, description="plain distance to the landmarks in view")
    in_view: float = Field(default=2.0, ge=0, description="weight of a landmark in view, 1 elsewhere")


class TrainConfig(RunSettings):
    """All that a training run depends on, beside the code."""

    seed: int = 0
    initial_weights: Path | None = Field(default=None, description="start from these instead of from noise")
    network: NetworkConfig = NetworkConfig()
    data: DataConfig
    deform: DeformConfig = DeformConfig()
    augment: AugmentConfig = AugmentConfig()
    optimiser: OptimiserConfig
    loss: LossConfig = LossConfig()
    validate_every: int = Field(default=500, ge=1, description="steps")
    checkpoint_every: int = Field(default=250, ge=1, description="steps; what a kill can cost")
    threads: int = Field(default=0, ge=0, description="torch threads; 0: torch's own choice")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="of training's activations; bf16 is faster where the CPU has AMX, else far slower"
    )
