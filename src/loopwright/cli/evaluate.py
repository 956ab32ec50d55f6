"""`loopwright eval`: measure a loop's models and the loop itself, one JSON object a line, the last one a summary."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loopwright.cli.output import json_line, stderr, stdout

if TYPE_CHECKING:
    from loopwright.finetune.evaluate.rows import Bar, Row

app = typer.Typer(help="Measure models and loops; exit code 0 where all bars are met.", no_args_is_help=True)


@app.callback()
def _evaluate() -> None:
    pass


@app.command()
def carm(
    what: Annotated[Literal["localisation", "navigation"], typer.Option(help="What to measure.")],
    world: Annotated[Literal["phantom", "chest", "both"], typer.Option(help="On which volumes.")] = "both",
    volumes: Annotated[int, typer.Option(min=1, help="How many unseen phantoms.")] = 20,
    n: Annotated[
        int, typer.Option(min=1, help="Views of each case (localisation), or runs over all phantoms (navigation).")
    ] = 400,
    seed: Annotated[int, typer.Option(help="Of views and sub-samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Measure the C-arm's localiser, or how often the loop reaches its target."""
    from loopwright.finetune.evaluate.rows import summary

    rows: list[Row] = []
    bars: list[Bar] = []
    worlds: tuple[Literal["phantom", "chest"], ...] = ("phantom", "chest") if world == "both" else (world,)
    for one in worlds:
        found, wanted = (_localisation if what == "localisation" else _navigation)(one, volumes, n, seed)
        rows, bars = rows + found, bars + wanted
    last = summary(what, bars)
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        for row in rows:
            stdout().print(row.as_json())
        stdout().print(last)
    return 0 if last["bars_met"] else 1


def _localisation(world: str, volumes: int, n: int, seed: int) -> "tuple[list[Row], list[Bar]]":
    from loopwright.finetune.carm_network.data import seeds_of
    from loopwright.finetune.evaluate.localisation import evaluate_localisation
    from loopwright.models.carm_network import load_carm_network
    from loopwright.settings import settings
    from loopwright.tools.carm.case import open_case

    specs = ["chest"] if world == "chest" else [f"phantom:{s}" for s in seeds_of("test", volumes)]
    with _progress() as progress:
        cases = (open_case(spec) for spec in progress.track(specs, description=f"{world} views"))
        return evaluate_localisation(
            load_carm_network(), cases, n, world=world, size_px=settings().carm.image_size_px, seed=seed
        )


def _navigation(world: Literal["phantom", "chest"], volumes: int, n: int, seed: int) -> "tuple[list[Row], list[Bar]]":
    from loopwright.finetune.evaluate.navigation import evaluate_navigation

    with _progress() as progress:
        task = progress.add_task(f"{world} runs", total=72 if world == "chest" else n)
        return evaluate_navigation(world, volumes=volumes, n=n, seed=seed, on_run=lambda _: progress.advance(task))


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=stderr())
