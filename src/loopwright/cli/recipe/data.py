"""`loopwright data build recipe`: conversations about simulated dishes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.output import json_line, stderr, stdout

Format = Annotated[
    Literal["messages", "sharegpt", "both"], typer.Option("--format", help="For TRL, for LLaMA-Factory, or both.")
]


def build(
    out: Annotated[Path, typer.Option(help="The folder to write; its settings cannot change.")],
    dishes: Annotated[int, typer.Option(min=2, help="Simulated dishes to train on.")] = 4000,
    validation: Annotated[int, typer.Option(min=0, help="Simulated dishes to choose by.")] = 60,
    label_every: Annotated[int, typer.Option(min=1, help="Of so many dishes one is asked for its labels.")] = 4,
    one_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of those that are asked for one label of each set, too.")
    ] = 0.3,
    write_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of dishes whose instructions are asked for.")
    ] = 1.0,
    form: Format = "both",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write pictures of simulated dishes, and conversations about their labels and instructions."""
    from loopwright.finetune.data.recipe.build import RecipeChat
    from loopwright.finetune.data.recipe.build import build as build_chat
    from loopwright.finetune.data.recipe.tasks import TaskSettings
    from loopwright.finetune.data.rows import FORMATS

    asked = TaskSettings(label_every=label_every, one_share=one_share, write_share=write_share)
    chat = RecipeChat(seed=seed, dishes=dishes, validation=validation, asked=asked)
    formats = tuple(FORMATS) if form == "both" else (form,)
    console = stderr()
    for path, n_rows in build_chat(out, chat, formats=formats, on_progress=console.print).items():
        if as_json:
            json_line({"file": str(path), "rows": n_rows})
        else:
            stdout().print(f"{n_rows} conversations in {path}", markup=False)
