"""What a loop adds to the command line, and where it is found.

A loop called NAME that comes with the package brings `loopwright.cli.NAME`, a package whose `COMMANDS` is a
`LoopCommands`; one of another package an entry point of the group `loopwright.commands`, whose value is the
`module:attribute` of a `LoopCommands`. A loop without one has what every loop has: `run`, `sessions`, `feedback`,
`graph`. It is imported whenever the command line starts, so it imports what it needs inside its functions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal

import typer

from loopwright.errors import DeveloperError
from loopwright.graphs.registry import LOOPS
from loopwright.graphs.resolve import resolve

GROUP = "loopwright.commands"


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
            `loopwright.cli.application.GROUPS`. `demo NAME` is its demo.
        checks: what `loopwright doctor` also looks at.
        phrasings: by loop, the `module:attribute` of the `Phrasings` that `loopwright eval feedback` says to it.
        trials: by loop, the `module:attribute` of a short run's settings by seed, for `loopwright eval clinicians`.
        environments: what `loopwright doctor --setup NAME` can make, each a function that returns the exit code.
    """

    commands: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    checks: tuple[Callable[[], Iterable[Check]], ...] = ()
    phrasings: Mapping[str, str] = field(default_factory=dict)
    trials: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Callable[[], int]] = field(default_factory=dict)


def all_commands() -> list[LoopCommands]:
    """What each loop adds, those of other packages last.

    Raises:
        DeveloperError: another package's entry point is no `LoopCommands`.
    """
    own = [module for loop in LOOPS if find_spec(module := f"loopwright.cli.{loop}") is not None]
    installed = sorted(each.value for each in entry_points(group=GROUP))
    return [_loaded(where) for where in (*(f"{module}:COMMANDS" for module in own), *installed)]


def _loaded(where: str) -> LoopCommands:
    found = resolve(where)
    if not isinstance(found, LoopCommands):
        raise DeveloperError(f"`{where}`, an entry point of {GROUP!r}, is {found!r}; expected a `LoopCommands`.")
    return found


def group(summary: str) -> typer.Typer:
    """A group of commands that stays one when it has a single command."""
    app = typer.Typer(help=summary, no_args_is_help=True)
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    pass
