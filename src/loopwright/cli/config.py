"""`loopwright config`: every setting, its value, and where the value came from."""

import re
from typing import Annotated, Any

import typer

from loopwright.cli.output import json_line, plain, stdout, table
from loopwright.settings import config_file, origins

app = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True)


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, one line a setting.")] = False,
) -> None:
    """Print every setting, its value and where it came from: default, the TOML file, or a variable."""
    rows = table("setting", "value", "from")
    for row in origins():
        value = _without_password(row.value)
        if as_json:
            json_line({"name": row.name, "value": value, "origin": row.origin})
        style = None if row.origin == "default" else "bold"
        rows.add_row(row.name, plain('""' if value == "" else str(value)), plain(row.origin), style=style)
    if not as_json:
        stdout().print(rows)


@app.command()
def path() -> None:
    """Print the path of the TOML file in force; nothing and exit code 1 where there is none."""
    found = config_file()
    if found is None:
        raise typer.Exit(1)
    typer.echo(found.absolute())


def _without_password(value: Any) -> Any:
    """A URL's password is not for the screen, nor for a bug report."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", value) if isinstance(value, str) else value
