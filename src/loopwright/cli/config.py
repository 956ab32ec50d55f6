"""`loopwright config`: every setting, its value, and where the value came from."""

from typing import Annotated

import typer
from rich.table import Table

from loopwright.cli.output import json_line, stdout
from loopwright.settings import config_file, origins

app = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True)


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, one line a setting.")] = False,
) -> None:
    """Print every setting, its value and where it came from: default, the TOML file, or a variable."""
    rows = origins()
    if as_json:
        for row in rows:
            json_line({"name": row.name, "value": row.value, "origin": row.origin})
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        style = None if row.origin == "default" else "bold"
        table.add_row(row.name, str(row.value), row.origin, style=style)
    stdout().print(table)


@app.command()
def path() -> None:
    """Print the path of the TOML file in force; nothing and exit code 1 where there is none."""
    found = config_file()
    if found is None:
        raise typer.Exit(1)
    typer.echo(found.resolve())
