"""`loopwright train`: train the models behind the loops."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli import grpo, sft
from loopwright.cli.output import json_line, stderr, stdout

app = typer.Typer(help="Train the models behind the loops.", no_args_is_help=True)
app.command("sft")(sft.sft)
app.command("grpo")(grpo.grpo)
app.command("merge")(sft.merge)
app.command("export")(sft.export)


@app.callback()
def _train() -> None:
    from loopwright.finetune.runs.allocator import keep_freed_memory

    keep_freed_memory()


@app.command()
def base(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs/base.yaml.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")] = Path(
        "runs/base"
    ),
    release: Annotated[
        Path | None,
        typer.Option(help="Also measure on test cases and write the model to this folder, its card beside it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train the small base, a vision-language model, on what our worlds render; views are kept in the cache."""
    from loopwright.finetune.base.config import BaseConfig
    from loopwright.finetune.base.release import check_folder
    from loopwright.finetune.base.release import release as release_model
    from loopwright.finetune.base.train import train

    def on_progress(line: str) -> None:
        stderr().print(line)

    if release:
        check_folder(release)  # two hours before it is written
    result = train(BaseConfig.load(config), out, on_progress)
    folder = result.model
    if release:
        release_model(out, release, f"loopwright train base --config {config}", on_progress)
        folder = release
    if as_json:
        json_line(result.model_dump(mode="json") | {"model": str(folder)})
    else:
        stdout().print(f"{result.steps} steps: {folder}")
        stdout().print(result.validation)
