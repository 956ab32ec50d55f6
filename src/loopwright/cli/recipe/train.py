"""`loopwright train recipe-network`: the network that recognises dishes' labels."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, stderr, stdout


def train_network(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs/recipe/network.yaml.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")] = Path(
        "runs/recipe_network"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train the network that recognises actions and ingredients, on simulated dishes that are drawn first."""
    from loopwright.finetune.networks.recipe.train import DishNetworkConfig, train

    result = train(DishNetworkConfig.load(config), out, lambda line: stderr().print(line))
    if as_json:
        json_line(result.model_dump(mode="json"))
    else:
        scores = ", ".join(f"{what} {score:.3f}" for what, score in result.f1.items())
        stdout().print(f"{result.steps} steps, micro F1 on validation dishes: {scores}: {result.weights}", markup=False)
