"""`loopwright run LOOP`: one command per registered loop, its options made from the loop's `RunConfig`."""

import inspect
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from loopwright.cli.run_session import drive, opened_memory
from loopwright.errors import BadInput
from loopwright.graphs.registry import LOOPS, get_loop
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.agents.session import Session
    from loopwright.graphs.state import Loop, RunConfig


_INTERACTIVE = typer.Option(
    "--interactive",
    help="Answer questions and speak at any moment; means --approval human --on-uncertain ask unless they are set.",
)
_JSON = typer.Option("--json", help="One JSON object a line: every event as it happens.")


class LoopGroup(TyperGroup):
    """Builds a loop's command when it is asked for, so that `loopwright --help` imports no loop."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The registered loops."""
        return list(LOOPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one loop, None where there is no such loop."""
        if cmd_name not in LOOPS:
            return None
        single = typer.Typer(add_completion=False)
        loop = get_loop(cmd_name)
        single.command(name=cmd_name, help=f"Run the {cmd_name} loop: {loop.summary}.")(_command(loop))
        command = typer.main.get_command(single)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LoopGroup, help="Run a loop in a new session.", no_args_is_help=True)


@app.callback()
def _run() -> None:
    pass


def _command(loop: "Loop") -> Callable[..., int]:
    """A function whose signature is the loop's configuration plus `--interactive` and `--json`."""

    def run(interactive: bool = False, as_json: bool = False, **values: Any) -> int:
        config = _configured(loop, values, interactive)
        from loopwright.graphs.sessions import start_session

        with opened_memory() as memory:
            session = start_session(memory, loop.name, config, settings().data_dir / "devices")
            if interactive:
                listen_to_keyboard(session)
            return drive(session, wait=interactive, as_json=as_json)

    flags = {"interactive": Annotated[bool, _INTERACTIVE], "as_json": Annotated[bool, _JSON]}
    options = [_parameter(name, field) for name, field in loop.config.model_fields.items()]
    options += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in flags.items()
    ]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in options}
    return run


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = field.annotation
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    flag = "--" + name.replace("_", "-")
    default = field.default
    if field.is_required():
        option = typer.Option(..., flag, help=field.description)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], default=...)
    # None stands for "not given", so that --interactive can tell a default from a wish.
    words = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    shown = False if default is None else words
    option = typer.Option(flag, help=field.description, show_default=shown)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind | None, option], default=None
    )


def _configured(loop: "Loop", values: dict[str, Any], interactive: bool) -> "RunConfig":
    given = {name: value for name, value in values.items() if value is not None}
    if interactive:
        given = {"approval": "human", "on_uncertain": "ask"} | given
    try:
        return loop.config.model_validate(given)
    except ValidationError as error:
        lines = [
            f"`--{'-'.join(str(p) for p in e['loc'][:1]).replace('_', '-')}` {e.get('input')!r}: {e['msg']}"
            for e in error.errors()
        ]
        raise BadInput("; ".join(lines)) from error


def listen_to_keyboard(session: "Session") -> None:
    """Every line that is typed goes into the session's inbox, whatever the loop is doing."""

    def listen() -> None:
        for line in sys.stdin:
            if line.strip():
                session.say(line.strip())

    threading.Thread(target=listen, name="keyboard", daemon=True).start()


__all__ = ["app"]
