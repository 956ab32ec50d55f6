"""`loopwright train carm-network` and `train carm-gate`: the localiser, and when it does not know what it sees."""

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


def calibrate_gate(
    weights: Annotated[
        Path | None, typer.Option(help="The network's .safetensors file, its calibration beside it; by default ours.")
    ] = None,
    phantoms: Annotated[int, typer.Option(min=1, help="Calibration phantoms; at least 2 / rate.")] = 100,
    walks: Annotated[int, typer.Option(min=1, help="Walks over each phantom.")] = 8,
    false_alarm_rate: Annotated[
        float,
        typer.Option("--rate", min=0.001, max=0.5, help="Share of a person's views that may be called unknown."),
    ] = 0.02,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Calibrate when the C-arm says that it does not know what it sees, and write that beside the network's weights."""
    from loopwright.finetune.evaluate.carm.gate import calibrate_gate as calibrate
    from loopwright.models.networks.carm import BUNDLED, calibration_path

    of = weights or BUNDLED
    found = calibrate(
        of, phantoms=phantoms, walks=walks, false_alarm_rate=false_alarm_rate,
        on_progress=lambda line: stderr().print(line, markup=False),
    )  # fmt: skip
    if as_json:
        json_line({"calibration": str(calibration_path(of)), "gate": found.model_dump(mode="json")})
    else:
        stdout().print(f"Wrote {calibration_path(of)}", markup=False)
        stdout().print(found.model_dump_json(indent=2), markup=False)
