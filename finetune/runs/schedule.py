"""AdamW under a one-cycle schedule: its settings, and the learning rate at each step."""

import math

from pydantic import Field

from loopwright.schema import Frozen


class OptimiserConfig(Frozen):
    """AdamW under a one-cycle schedule; the weights are fp32."""

    steps: int = Field(ge=1)
    batch: int = Field(default=64, ge=2)
    max_lr: float = Field(default=2e-3, gt=0)
    warm_up: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.02, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)


def one_cycle(step: int, config: OptimiserConfig) -> float:
    """Learning rate at `step`: up along half a cosine, then down to a thousandth (Smith and Topin 2018)."""
    warm = max(1, round(config.warm_up * config.steps))
    if step < warm:
        return config.max_lr * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / warm)))
    done = (step - warm) / max(1, config.steps - warm)
    return config.max_lr * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * done)))
