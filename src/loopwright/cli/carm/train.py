"""`loopwright train carm-network`: the localiser."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, stderr, stdout


def train_network(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs/carm/network.yaml.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")] = Path(
        "runs/carm_network"
    ),
    release: Annotated[
        Path | None,
        typer.Option(help="Also calibrate, measure and write weights and card here, as NAME.safetensors."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train the C-arm localiser on the phantom population; views are rendered once and kept in the cache."""
    from loopwright.finetune.evaluate.carm.network_release import release as release_weights
    from loopwright.finetune.networks.carm.config import TrainConfig
    from loopwright.finetune.networks.carm.train import train

    def on_progress(line: str) -> None:
        stderr().print(line)

    result = train(TrainConfig.load(config), out, on_progress)
    command = f"loopwright train carm-network --config {config}"
    weights = result.weights
    if release:
        release_weights(out, release, command, on_progress)
        weights = release
    if as_json:
        json_line(result.model_dump(mode="json") | {"weights": str(weights)})
    else:
        stdout().print(f"Best of {result.steps} steps at {result.best_step}: {weights}")
        stdout().print(result.validation)
