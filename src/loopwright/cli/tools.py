"""`loopwright tools list`: the tools that agents may call."""

from typing import Annotated

import typer

from loopwright.cli.output import json_line, stderr, stdout, table

app = typer.Typer(help="The tools that agents may call.", no_args_is_help=True)


@app.callback()
def _tools() -> None:
    pass


@app.command("list")
def list_tools(
    as_json: Annotated[bool, typer.Option("--json", help="One OpenAI function schema a line.")] = False,
) -> None:
    """Every registered tool: its effect on the world, its time limit, what it does."""
    from loopwright.tools.foreign import foreign_tools
    from loopwright.tools.registry import TOOLS

    joined = foreign_tools()
    every = (*TOOLS, *joined.tools)
    if as_json:
        for tool in every:
            json_line(tool.openai_schema())
        return
    shown = table("tool", "effect", "timeout", "what it does")
    for tool in every:
        shown.add_row(tool.name, tool.effect, f"{tool.timeout_s:g} s", tool.description.splitlines()[0])
    stdout().print(shown)
    for reason in joined.left_out:
        stderr().print(f"Left out: {reason}.", markup=False)
