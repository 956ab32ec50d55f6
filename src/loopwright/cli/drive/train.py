"""`loopwright train drive-tokens`, the image tokenizer of the drive loop, and `train drive-policy`, its baselines."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.tools.drive.scenarios import ScenarioName


def train_tokens(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs/drive/tokens.yaml.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")] = Path(
        "runs/drive_tokens"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train the image tokenizer: views of simulated drives, which are drawn first, to 64 codes and back."""
    from loopwright.finetune.networks.drive.train import DriveTokensConfig, train

    result = train(DriveTokensConfig.load(config), out, lambda line: stderr().print(line))
    if as_json:
        json_line(result.model_dump(mode="json"))
    else:
        stdout().print(
            f"{result.steps} steps; validation views: car IoU {result.car_iou:.3f}, road users within 2 m "
            f"{result.found:.3f}, {result.codes_used} codes used, perplexity {result.perplexity:.0f}: {result.weights}",
            markup=False,
        )


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
