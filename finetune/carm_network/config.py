"""The localiser's training run as one value, the same in YAML: every field written out, none unknown."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from loopwright.finetune.runs import RunSettings
from loopwright.models.carm_network import NetworkConfig
from loopwright.schema import Frozen
from loopwright.tools.carm.landmarks import canonical_name


class ViewSampling(Frozen):
    """How the views of one volume are drawn. What is left of the two fractions is uniform over the volume."""

    near_fraction: float = Field(default=0.4, ge=0, le=1, description="normal around a random landmark")
    near_sd_mm: float = Field(default=40.0, gt=0)
    centred_fraction: float = Field(default=0.15, ge=0, le=1, description="a landmark all but centred")
    centred_sd_mm: float = Field(default=7.0, ge=0)
    landmark_weights: dict[Annotated[str, AfterValidator(canonical_name)], Annotated[float, Field(gt=0)]] = Field(
        default={}, description="how many times as often as another a landmark is drawn; 1 where it is not named"
    )
    min_body: float = Field(default=0.06, ge=0, le=1, description="least share of the view that shows body")
    margin_mm: float = Field(default=20.0, description="how far beyond the volume a uniform isocentre may lie")
    depth_jitter_mm: float = Field(default=20.0, ge=0, description="uniform +- about the mid-coronal plane")
    angle_sd_deg: float = Field(default=2.5, ge=0, description="normal, alpha and beta")


class DataConfig(Frozen):
    """Which phantoms are rendered. Seeds of the four parts can never meet (`loopwright.finetune.carm_network.data`)."""

    train_phantoms: int = Field(ge=1, le=10_000)
    validation_phantoms: int = Field(ge=1, le=10_000)
    calibration_phantoms: int = Field(ge=1, le=10_000)
    views_per_phantom: int = Field(ge=1)
    views: ViewSampling = ViewSampling()
    workers: int = Field(default=1, ge=1, description="rendering processes")


class AugmentConfig(Frozen):
    """How far a clean DRR is bent towards what real detectors and patients do. No flips: left is not right."""

    gamma: float = Field(default=0.35, ge=0, description="exponent is exp(+-gamma)")
    window: float = Field(default=0.08, ge=0, le=0.4, description="how far black and white points move")
    shading: float = Field(default=0.12, ge=0, description="amplitude of a smooth field")
    noise_sd: float = Field(default=0.012, ge=0, description="largest; grows where little gets through")
    blur_sd_px: float = Field(default=0.8, ge=0, description="largest")
    shutter_p: float = Field(default=0.2, ge=0, le=1, description="circular or rectangular collimation")
    line_p: float = Field(default=0.2, ge=0, le=1, description="a cable or needle across the picture")


class DeformConfig(Frozen):
    """How far the person of a view is turned, stretched and sheared in the coronal plane, picture and truth."""

    rotation_sd_deg: float = Field(default=0.0, ge=0, description="in the picture's plane: patients lie askew")
    scale_sd: float = Field(default=0.0, ge=0, le=0.3, description="of the log size, along each axis of its own")
    shear_sd: float = Field(default=0.0, ge=0, le=0.3, description="patients lean")


class OptimiserConfig(Frozen):
    """AdamW under a one-cycle schedule; the weights are fp32."""

    steps: int = Field(ge=1)
    batch: int = Field(default=64, ge=2)
    max_lr: float = Field(default=2e-3, gt=0)
    warm_up: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.02, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)


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
