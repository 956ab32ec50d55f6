"""`loopwright data`: fetch real volumes, render data sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, UnknownName
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.tools.carm.case import Case

app = typer.Typer(help="Fetch real volumes and render data sets.", no_args_is_help=True)
render_app = typer.Typer(help="Render a data set for training or evaluation.", no_args_is_help=True)
app.add_typer(render_app, name="render")

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="What to fetch: `chest` (LIDC-IDRI-0001, 34 MB, CC BY 3.0).")],
    as_json: Json = False,
) -> None:
    """Fetch a public volume into the cache folder, checked by hash. Already there: nothing is downloaded."""
    from loopwright.tools.carm.chest import fetch_chest

    if name != "chest":
        raise UnknownName("data set", name, ["chest"])
    console = stderr()
    folder = fetch_chest(settings().cache_dir, lambda line: console.print(line, markup=False))
    if as_json:
        json_line({"name": name, "path": str(folder)})


@render_app.callback()
def _render() -> None:
    pass


@render_app.command("carm")
def render_carm(
    volume: Annotated[
        list[str], typer.Option(help="A NIfTI file, a DICOM folder, `phantom:SEED` or `chest`; repeat for several.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; one that was begun is completed.")],
    landmarks: Annotated[
        list[Path] | None, typer.Option(help="JSON or CSV landmarks, one for each --volume that is a file, in order.")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Isocentres per volume.")] = 1024,
    size_px: Annotated[int | None, typer.Option(min=32, help="Edge of a picture; else `carm.image_size_px`.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the isocentres.")] = 0,
    as_json: Json = False,
) -> None:
    """Write DRRs named after their isocentre, and a CSV of each one's three nearest landmarks."""
    from loopwright.tools.carm.dataset import write_dataset

    cases = _cases(volume, landmarks or [])
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=stderr()
    )
    with bar:
        table = write_dataset(cases, out, n_per_case=n, size_px=size_px, seed=seed, progress=bar)
    if as_json:
        json_line({"table": str(table), "pictures": n * len(volume)})
    else:
        stdout().print(f"{n * len(volume)} pictures, described in {table}", markup=False)


def _cases(specs: list[str], landmarks: list[Path]) -> "Iterator[Case]":
    """The cases one after the other, opened when they are needed: a hundred volumes do not fit into memory at once."""
    from loopwright.tools.carm.case import open_case

    files = [spec for spec in specs if spec != "chest" and not spec.startswith("phantom:")]
    if len(landmarks) != len(files):
        raise BadInput(
            f"{len(files)} of the volumes are files, but `--landmarks` was given {len(landmarks)} times; expected one "
            "for each, in the same order."
        )
    given = dict(zip(files, landmarks, strict=True))
    return (open_case(spec, given.get(spec)) for spec in specs)
