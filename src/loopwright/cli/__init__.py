"""The command line: `loopwright`.

One sub-application a module, one registry line below for each. Modules here import what they need inside their
commands, so that `loopwright --help` loads no torch, langgraph, numba or SQLAlchemy. `main` is the one place that
turns an error into a message and an exit code.
"""

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from loopwright import __version__
from loopwright.cli import config, data, demo, doctor, evaluate, models, run, sessions, tools, train
from loopwright.cli.output import EXIT_CODES, report
from loopwright.cli.surgery import plan
from loopwright.errors import LoopwrightError
from loopwright.log import configure_logging
from loopwright.settings import settings

_EPILOG = "\n".join(["Exit codes:", *(f"{code:>4}  {escape(what)}" for code, what in EXIT_CODES.items())])

app = typer.Typer(
    name="loopwright",
    help="Closed perception-action loops run by agents. Research software, not a medical device.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(run.app, name="run")
app.add_typer(plan.app, name="plan")
app.command("feedback")(sessions.feedback)
app.add_typer(sessions.app, name="sessions")
app.add_typer(tools.app, name="tools")
app.add_typer(models.app, name="models")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="eval")
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loopwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    log = settings().log
    configure_logging(log.level, log.format)
    # peft and trl still ask transformers by this name; who runs a command can do nothing about it
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (130 after Ctrl-C). The console script passes it to `sys.exit`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="loopwright", standalone_mode=False)
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

    walk(typer.main.get_command(app), ())
    return found
