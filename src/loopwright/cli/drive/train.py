"""`loopwright train drive-policy`: DQN and PPO as baselines of the closed loop."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.output import stdout
from loopwright.tools.drive.scenarios import ScenarioName


def train_policy(
    algorithm: Annotated[Literal["dqn", "ppo"], typer.Option(help="Of stable-baselines3.")],
    scenario: Annotated[ScenarioName, typer.Option(help="Simulated road.")],
    steps: Annotated[int, typer.Option(min=64, help="Budget, in steps of 0.5 s.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the policy, `ALGORITHM-SCENARIO.zip`.")] = Path(
        "runs/drive_policies"
    ),
) -> None:
    """Train a baseline that chooses among the planner's candidates; `eval drive --policy` drives by it."""
    from loopwright.finetune.networks.drive.policy import train

    stdout().print(str(train(algorithm, scenario, out, steps, seed=seed)), markup=False)
