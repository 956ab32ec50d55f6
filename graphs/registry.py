"""The loops that exist, by name, imported when asked for.

The loop called NAME is `LOOP` of the package `loopwright.graphs.NAME`. By the same name the other parts find what it
brings: its commands (`loopwright.cli.NAME`), what its world teaches (`loopwright.finetune.data.NAME.base_tasks`).
A loop of another package is an entry point of the group `loopwright.loops`: its name is the loop's, its value
`module:attribute`. One that is not installed is named by `module:attribute` itself, or by its YAML file.
"""

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.errors import DeveloperError, UnknownName
from loopwright.graphs.resolve import find_modules_in, resolve

if TYPE_CHECKING:
    from loopwright.graphs.loop.loop import Loop

LOOPS: tuple[str, ...] = (
    "carm",
    "drive",
    "recipe",
    "surgery",
)
CHAT = "chat"
"""A loop over all others, which has a command of its own."""
GROUP = "loopwright.loops"
SUFFIX = "-agent"
"""`NAME-agent` is the world and tools of the loop NAME in the hands of an agent (`loopwright.graphs.loop.by_agent`)."""


def loop_names() -> list[str]:
    """The loops that come with the package, then those of other packages."""
    return [*LOOPS, *(name for name in _installed() if name not in LOOPS)]


def get_loop(name: str) -> "Loop":
    """The loop called `name`, at `module:attribute`, or in a YAML file.

    Modules in the working folder are found as by `python -m`.

    Raises:
        UnknownName: with the nearest names.
        BadInput: there is nothing at `module:attribute`, or the file will not do.
        DeveloperError: what is there is no loop, or has another name than its entry point.
    """
    if _is_file(name):
        from loopwright.graphs.loop.loop import Loop

        return Loop.from_yaml(Path(name))
    if ":" in name:
        find_modules_in(Path.cwd())
        return _loaded(name)
    if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in loop_names():
        from loopwright.graphs.loop.by_agent import by_agent

        return by_agent(get_loop(name.removesuffix(SUFFIX)), name)
    if name in (*LOOPS, CHAT):
        return _loaded(f"loopwright.graphs.{name}:LOOP")
    installed = _installed()
    if name not in installed:
        raise UnknownName("loop", name, loop_names())
    loop = _loaded(installed[name])
    if loop.name != name:
        raise DeveloperError(
            f"The entry point {name!r} of {GROUP!r} is `{installed[name]}`, the loop {loop.name!r}. Give both one "
            "name: sessions find their loop by it."
        )
    return loop


def is_location(name: str) -> bool:
    """Whether it says where a loop is, in a module or a YAML file, and not how it is called."""
    return ":" in name or _is_file(name)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


class Loops:
    """The loops by name, each imported when it is asked for: `loops.NAME`, or `loops["NAME"]`."""

    def __getattr__(self, name: str) -> "Loop":
        if name.startswith("__") or name not in loop_names():
            raise AttributeError(f"There is no loop {name!r}. Known: {', '.join(loop_names())}.")
        return get_loop(name)

    def __getitem__(self, name: str) -> "Loop":
        return get_loop(name)

    def __iter__(self) -> Iterator[str]:
        return iter(loop_names())

    def __dir__(self) -> list[str]:
        return loop_names()

    def __repr__(self) -> str:
        return f"<loops: {', '.join(loop_names())}>"


loops = Loops()


def _installed() -> dict[str, str]:
    return {each.name: each.value for each in entry_points(group=GROUP)}


def _loaded(where: str) -> "Loop":
    from loopwright.graphs.loop.loop import Loop

    loop = resolve(where)
    if not isinstance(loop, Loop):
        raise DeveloperError(f"`{where}` is {loop!r}; expected a `Loop`.")
    return loop
