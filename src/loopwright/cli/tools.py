"""`loopwright tools list`: the tools that agents may call."""

from typing import Annotated

import typer

from loopwright.cli.output import json_line, stdout, table

app = typer.Typer(help="The tools that agents may call.", no_args_is_help=True)


@app.callback()
def _tools() -> None:
    pass


@app.command("list")
def list_tools(
    as_json: Annotated[bool, typer.Option("--json", help="One OpenAI function schema a line.")] = False,
) -> None:
    """Every registered tool: its effect on the world, its time limit, what it does."""
    from loopwright.tools.registry import TOOLS

    if as_json:
        for tool in TOOLS:
            json_line(tool.openai_schema())
        return
    shown = table("tool", "effect", "timeout", "what it does")
    for tool in TOOLS:
        shown.add_row(tool.name, tool.effect, f"{tool.timeout_s:g} s", tool.description.splitlines()[0])
    stdout().print(shown)
