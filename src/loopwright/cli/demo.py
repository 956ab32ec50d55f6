"""`loopwright demo [LOOP]`: a loop on what comes with it, with one human correction on the way, and its report."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from loopwright.cli.output import stdout
from loopwright.cli.run_session import opened_memory, run_to_rest

if TYPE_CHECKING:
    from loopwright.schema import Event

Out = Annotated[
    Path | None, typer.Option(help="The HTML report to write; default: runs/demo-LOOP.html.", show_default=False)
]

app = typer.Typer(help="Show a loop on what comes with it, corrected once on the way; without a name, the first one.")


class Demo(NamedTuple):
    """What is shown: a run by its settings, and what a human says when an event of a kind goes by at a step."""

    introduction: str
    settings: Mapping[str, Any]
    at: tuple[str, int]
    words: str


@app.callback(invoke_without_command=True)
def _demo(context: typer.Context) -> Any:
    if context.invoked_subcommand is None:
        group: Any = context.command
        first = group.list_commands(context)[0]
        return group.get_command(context, first).main([], prog_name=f"loopwright demo {first}", standalone_mode=False)
    return None


def show(loop: str, demo: Demo, out: Path | None) -> int:
    """Run a demo of `loop`, write its report, and return the exit code."""
    from loopwright.graphs.registry import get_loop
    from loopwright.graphs.sessions import report_session

    console = stdout()
    console.print(demo.introduction)
    with opened_memory() as memory:
        session = get_loop(loop).start(memory, **demo.settings)

        def human(event: "Event") -> None:
            if (event.kind, event.step) == demo.at:
                session.say(demo.words)

        code = run_to_rest(session, wait=False, as_json=False, on_event=human)
        report = report_session(memory, session.id, out or Path(f"runs/demo-{loop}.html"), session.loop)
    console.print(f"\nThe report, with every picture, decision and event: [bold]{report.resolve()}[/bold]")
    return code
