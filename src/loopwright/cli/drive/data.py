"""`loopwright data build drive`: conversations about simulated drives."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.output import json_line, stderr, stdout

Format = Annotated[
    Literal["messages", "sharegpt", "both"], typer.Option("--format", help="For TRL, for LLaMA-Factory, or both.")
]


def build(
    out: Annotated[Path, typer.Option(help="The folder to write; its settings cannot change.")],
    stage: Annotated[
        Literal["pretrain", "sft"],
        typer.Option(help="`pretrain`: a future frame alone, of a named view; `sft`: the driver's six-part answers."),
    ] = "pretrain",
    drives: Annotated[int, typer.Option(min=1, help="Simulated drives to train on.")] = 120,
    validation: Annotated[int, typer.Option(min=0, help="Simulated drives to choose by.")] = 2,
    without: Annotated[
        Literal["mixed"] | None,
        typer.Option(help="`mixed`: leave out the rows of stage `sft` that ask for perception, reasoning or a frame."),
    ] = None,
    top: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of frames from above (pretrain); others are a camera's, which the bundled "
            "tokenizer does not know.",
        ),
    ] = 1.0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Weights of the image tokenizer; by default the bundled one.")
    ] = None,
    form: Format = "both",
    seed: Annotated[int, typer.Option(min=0, help="Seed of horizons, views and tasks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write conversations about simulated drives, their frames as codes of the image tokenizer."""
    from loopwright.finetune.data.drive.build import DriveRows
    from loopwright.finetune.data.drive.build import build as build_rows
    from loopwright.finetune.data.rows import FORMATS
    from loopwright.models.networks.drive import load_network

    rows = DriveRows(stage=stage, seed=seed, drives=drives, validation=validation, top=top)
    if without == "mixed":
        rows = rows.model_copy(update={"mixed": 0.0})
    formats = tuple(FORMATS) if form == "both" else (form,)
    console = stderr()
    written = build_rows(out, rows, load_network(tokenizer), formats=formats, on_progress=console.print)
    for path, n_rows in written.items():
        if as_json:
            json_line({"file": str(path), "rows": n_rows})
        else:
            stdout().print(f"{n_rows} conversations in {path}", markup=False)
