"""A loop with short answers, its runs, and settings on the tiny Qwen2.5-VL, which the tests of GRPO share."""

import json
from pathlib import Path
from typing import Any

from tests.loops.thermostat import set_heater, thermostat
from tests.models import tiny

from loopwright.finetune.grpo.config import (
    DrawingConfig,
    EpisodesConfig,
    GrpoConfig,
    OptimiserConfig,
    RewardConfig,
    RowsConfig,
)
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.models.answers import one_of


def switch(state: State, ctx: Context) -> None:
    """Switch the heater as the model says, in a word."""
    said = ctx.ask("navigator", f"{state['observation']['room_c']} of {state['target_c']}", one_of(("on", "off")))
    ctx.act(set_heater, on=said == "on")


short = thermostat.replace(heat=switch).varied(name="short", budget=Budget(steps=2))
"""Two steps: two replies an episode, of which both are prompts of their own."""


def config(folder: Path, *, rows: Path | None = None, **changes: Any) -> GrpoConfig:
    """Three steps of a prompt with four candidates, on sessions of `short`, or on single answers."""
    runs = folder / "runs.jsonl"
    runs.write_text("".join(json.dumps({}) + "\n" for _ in range(4)), encoding="utf-8")
    episodes = EpisodesConfig(loop="tests.finetune.grpo.grpo_runs:short", role="navigator", train=runs)
    made = GrpoConfig(
        seed=3,
        model=BaseModelConfig(base=str(tiny.folder_of("qwen2.5-vl")), device="cpu"),
        episodes=None if rows else episodes,
        rows=RowsConfig(train=rows) if rows else None,
        rewards={"length": RewardConfig(settings={"most": 1})},
        drawing=DrawingConfig(candidates=4, prompts=1, max_tokens=6, at_once=4),
        optimiser=OptimiserConfig(steps=3, lr=1e-2, warm_up=0.0, accumulate=2),
        checkpoint_every=1,
    )
    return made.model_copy(update=changes)
