"""`loopwright graph`: the loops that are installed, and how each one's graph looks."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, plain, stdout, table
from loopwright.cli.run_session import Json
from loopwright.errors import LoopwrightError

app = typer.Typer(help="The loops that are installed, and their graphs.", no_args_is_help=True)


@app.command("list")
def list_graphs(as_json: Json = False) -> None:
    """Every loop: those that come with Loopwright, and those of other packages."""
    from loopwright.graphs.registry import get_loop, loop_names

    rows: list[tuple[str, str, list[str]]] = []
    for name in loop_names():
        try:
            loop = get_loop(name)
        except LoopwrightError as error:  # one package's mistake hides no other loop
            rows.append((name, f"cannot be loaded: {error}", []))
        else:
            rows.append((name, loop.summary, list(loop.all_nodes)))
    if as_json:
        for name, summary, nodes in rows:
            json_line({"loop": name, "summary": summary, "nodes": nodes})
        return
    shown = table("loop", "what it does", "nodes")
    for name, summary, nodes in rows:
        shown.add_row(name, plain(summary), ", ".join(nodes))
    stdout().print(shown)


@app.command()
def show(
    loop: Annotated[str, typer.Argument(metavar="LOOP", help="Its name, `module:attribute` or YAML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Draw a picture into this file, `.svg` or `.png`, in place of text.")
    ] = None,
) -> None:
    """A loop's graph as Mermaid text, or as a picture that is drawn here."""
    from loopwright.graphs.drawing import write_picture
    from loopwright.graphs.registry import get_loop

    graph = get_loop(loop).graph.get_graph()
    if out is None:
        typer.echo(graph.draw_mermaid())
    else:
        stdout().print(f"Graph: {write_picture(graph, out)}", markup=False)
