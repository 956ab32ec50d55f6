"""`loopwright data`: fetch real volumes, render data sets."""

from typing import Annotated

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import UnknownName
from loopwright.settings import settings

app = typer.Typer(help="Fetch real volumes and render data sets.", no_args_is_help=True)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="What to fetch: `chest` (LIDC-IDRI-0001, 34 MB, CC BY 3.0).")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Fetch a public volume into the cache folder, checked by hash. Already there: nothing is downloaded."""
    from loopwright.tools.carm.chest import fetch_chest

    if name != "chest":
        raise UnknownName("data set", name, ["chest"])
    console = stderr()
    folder = fetch_chest(settings().cache_dir, lambda message: console.print(message))
    if as_json:
        json_line({"name": name, "path": str(folder)})
    else:
        stdout().print(f"The chest CT is in {folder}")
