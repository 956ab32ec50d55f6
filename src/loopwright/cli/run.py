"""`loopwright run LOOP`: one command per loop, its options made from the loop's `RunConfig`."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from loopwright.cli.run_session import (
    Interactive,
    Json,
    ModelOf,
    listen_to_keyboard,
    models_of,
    opened_memory,
    run_to_rest,
)
from loopwright.errors import BadInput, LoopwrightError
from loopwright.graphs.registry import get_loop, is_location, loop_names
from loopwright.schema.json_text import parse_json

if TYPE_CHECKING:
    from loopwright.graphs.loop.loop import Loop

_FLAGS: dict[str, tuple[Any, Any]] = {
    "model_of": (ModelOf, None),
    "interactive": (Interactive, False),
    "as_json": (Json, False),
}
"""What every loop's command has beside its configuration: annotation and default."""


class LoopGroup(TyperGroup):
    """Builds a loop's command when it is asked for, so that `loopwright --help` imports no loop."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The loops that are installed."""
        return loop_names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one loop, by its name or location; None where there is no loop of that name."""
        if cmd_name not in loop_names() and not is_location(cmd_name):
            return None
        single = typer.Typer(add_completion=False)
        try:
            loop = get_loop(cmd_name)
        except LoopwrightError as error:
            if is_location(cmd_name):
                raise
            return _broken(cmd_name, error)
        summary = f": {loop.summary}" if loop.summary else ""
        single.command(name=cmd_name, help=f"Run the {loop.name} loop{summary}.")(_command(cmd_name, loop))
        command = typer.main.get_command(single)
        command.name = cmd_name
        return command


def _broken(name: str, error: LoopwrightError) -> Any:
    """The command of an installed loop that cannot be loaded: others go on, and whoever runs it reads why."""
    single = typer.Typer(add_completion=False)

    def run() -> None:
        raise error

    single.command(name=name, help=f"Cannot be loaded: {error}")(run)
    command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LoopGroup,
    help="Run a loop in a new session. One that is not installed is named by its `module:attribute` or YAML file.",
    no_args_is_help=True,
)


@app.callback()
def _run() -> None:
    pass


def _command(named: str, loop: "Loop") -> Callable[..., int]:
    """A function whose signature is the loop's configuration, and what every loop's command has."""

    def run(interactive: bool = False, as_json: bool = False, model_of: list[str] | None = None, **values: Any) -> int:
        config = _configured(loop, values, interactive)
        with opened_memory() as memory:
            session = loop.start(memory, models=models_of(model_of), **config)
            wait = listen_to_keyboard(session) if interactive else False
            return run_to_rest(session, wait=wait, as_json=as_json, named=named)

    options = [_parameter(name, field) for name, field in loop.config.model_fields.items()]
    options += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _FLAGS.items()
    ]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in options}
    return run


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = field.annotation
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        each = get_args(kind)[0]  # typer has no list of a closed set: the configuration checks what it is given
        kind = list[each] if isinstance(each, type) else list[str]  # type: ignore[valid-type]
    elif not _fits_an_option(kind):
        kind = str  # read as JSON
    flag = "--" + name.replace("_", "-")
    if field.is_required():
        option = typer.Option(..., flag, help=field.description)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], default=...)
    # None stands for "not given", so that --interactive can tell a default from a wish.
    default = field.get_default() if field.default_factory is None else None
    words = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    option = typer.Option(flag, help=field.description, show_default=False if default is None else words)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind | None, option], default=None
    )


def _fits_an_option(kind: Any) -> bool:
    """Whether a type is one that a command's option can have."""
    if get_origin(kind) in (Union, UnionType):
        return all(_fits_an_option(each) for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        return _fits_an_option(get_args(kind)[0])
    return get_origin(kind) is Literal or kind in (str, int, float, bool, Path)


def _configured(loop: "Loop", values: dict[str, Any], interactive: bool) -> dict[str, Any]:
    """The settings that were given, after a look at whether they will do: a message names the option."""
    fields = loop.config.model_fields
    given = {n: _read_json(n, v, fields[n].annotation) for n, v in values.items() if v is not None}
    if interactive:
        given = {"approval": "human", "on_uncertain": "ask"} | given
    try:
        loop.config.model_validate(given)
    except ValidationError as error:
        lines = [
            f"`{_flag(str(e['loc'][0]) if e['loc'] else '')}` {e.get('input')!r}: {e['msg']}" for e in error.errors()
        ]
        raise BadInput("; ".join(lines)) from error
    return given


def _read_json(name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, str) or _fits_an_option(kind):
        return value
    try:
        return parse_json(value)
    except json.JSONDecodeError as error:
        raise BadInput(f"`{_flag(name)}` {value!r}: expected JSON ({error}).") from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


__all__ = ["app"]
