"""What a loop adds to the command line, and where it is found.

A loop called NAME brings `loopwright.cli.NAME`, a package whose `COMMANDS` is a `LoopCommands`; a loop without one has
what every loop has: `run`, `sessions`, `feedback`. It is imported whenever the command line starts, so it imports what
it needs inside its functions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import typer

from loopwright.graphs.registry import LOOPS

Description = Callable[[dict[str, Any]], Iterator[str]]
"""An event's payload to lines of rich markup."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one check of `loopwright doctor` found. `absent` is optional and not there; `broken` should work and does
    not; `needed` is part of the default path.
    """

    name: str
    status: Literal["ok", "absent", "broken"]
    found: str
    repair: str = ""
    needed: bool = False


@dataclass(frozen=True, kw_only=True)
class LoopCommands:
    """What one loop adds.

    Attributes:
        commands: the words of a command, such as `data build NAME`, to its function; all but the last name a group of
            `loopwright.cli.GROUPS`. `demo NAME` is its demo.
        checks: what `loopwright doctor` also looks at.
        environments: what `loopwright doctor --setup NAME` can make, each a function that returns the exit code.
        describe: the kind of an event to how it reads at a terminal; overrules what is said of it for any loop.
    """

    commands: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    checks: tuple[Callable[[], Iterable[Check]], ...] = ()
    environments: Mapping[str, Callable[[], int]] = field(default_factory=dict)
    describe: Mapping[str, Description] = field(default_factory=dict)


@cache
def commands_of(loop: str) -> LoopCommands:
    """What the loop called `loop` adds; nothing where it has no module of commands."""
    module = f"loopwright.cli.{loop}"
    if loop not in LOOPS or find_spec(module) is None:
        return LoopCommands()
    commands: LoopCommands = import_module(module).COMMANDS
    return commands


def all_commands() -> list[LoopCommands]:
    """What each registered loop adds, in the registry's order."""
    return [commands_of(loop) for loop in LOOPS]


def group(summary: str) -> typer.Typer:
    """A group of commands that stays one when it has a single command."""
    app = typer.Typer(help=summary, no_args_is_help=True)
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    pass
