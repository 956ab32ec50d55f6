"""Every command of the command line.

One sub-application a module, one registry line below for each; a loop adds its own commands to the groups of `GROUPS`
(`loopwright.cli.plugin`). Modules here import what they need inside their commands, so that `loopwright --help` loads
no torch, langgraph, numba or SQLAlchemy. `execute` is the one place that turns an error into a message and exit code.
"""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from loopwright import __version__
from loopwright.cli import (
    chat,
    config,
    data,
    demo,
    doctor,
    evaluate,
    graph,
    mcp,
    models,
    run,
    serve,
    sessions,
    tools,
    train,
)
from loopwright.cli.output import EXIT_CODES, report
from loopwright.cli.plugin import all_commands, group
from loopwright.errors import DeveloperError, LoopwrightError
from loopwright.log import configure_logging
from loopwright.settings import settings

_EPILOG = "\n".join(["Exit codes:", *(f"{code:>4}  {escape(what)}" for code, what in EXIT_CODES.items())])

GROUPS: Mapping[str, typer.Typer] = {
    "demo": demo.app,
    "run": run.app,
    "plan": group("Plan ahead to a goal; exit code 0 where the plan reaches it."),
    "sessions": sessions.app,
    "graph": graph.app,
    "tools": tools.app,
    "models": models.app,
    "train": train.app,
    "eval": evaluate.app,
    "data": data.app,
    "data fetch": data.fetch_app,
    "data render": data.render_app,
    "data build": data.build_app,
    "data episodes": data.episodes_app,
    "data distill": data.distill_app,
    "config": config.app,
}
"""The words of each group of commands."""


@cache
def application() -> typer.Typer:
    """The whole command line.

    Raises:
        DeveloperError: a loop brings a command of a group that is not there.
    """
    app = typer.Typer(
        name="loopwright",
        help="Closed perception-action loops run by agents. Research software, not a medical device.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for words, added in GROUPS.items():
        parent, _, name = words.rpartition(" ")
        GROUPS.get(parent, app).add_typer(added, name=name)
    for words, command in ((w, c) for added in all_commands() for w, c in added.commands.items()):
        parent, _, name = words.rpartition(" ")
        if parent not in GROUPS:
            raise DeveloperError(
                f"A loop brings the command {words!r}; its group has to be one of {', '.join(GROUPS)}."
            )
        GROUPS[parent].command(name)(command)
    app.command("feedback")(sessions.feedback)
    app.command("ask")(sessions.ask)
    app.command("chat")(chat.chat)
    app.command("serve")(serve.serve)
    app.command("mcp")(mcp.mcp)
    app.command("doctor")(doctor.doctor)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loopwright {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    log = settings().log
    configure_logging(log.level, log.format)
    # peft and trl still ask transformers by this name; who runs a command can do nothing about it
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = typer.main.get_command(application()).main(arguments, prog_name="loopwright", standalone_mode=False)
    except Exception as error:
        return report(error, as_json="--json" in arguments, crash_dir=_crash_dir())
    return code if isinstance(code, int) else 0


def _crash_dir() -> Path:
    try:
        return settings().data_dir / "crashes"
    except LoopwrightError:  # the settings themselves may be what is wrong
        return Path(tempfile.gettempdir())


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command with its words, depth first, groups included: for the docs and the tests."""
    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        found.append((path, command))
        if hasattr(command, "list_commands"):
            context = typer.Context(command)
            for name in command.list_commands(context):
                walk(command.get_command(context, name), (*path, name))

    walk(typer.main.get_command(application()), ())
    return found
