"""Every tool: those for any loop, one line each, and those of a loop, found by its folder.

The tools of the loop called NAME are `TOOLS` of `loopwright.tools.NAME.tools`.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from loopwright import tools
from loopwright.errors import UnknownName
from loopwright.tools.contract import Tool
from loopwright.tools.recall import leave_note, recall_history, recall_similar


def _of_loops() -> Iterator[Tool[Any, Any]]:
    for folder in iter_modules(tools.__path__, f"{tools.__name__}."):
        if folder.ispkg and find_spec(f"{folder.name}.tools") is not None:
            yield from import_module(f"{folder.name}.tools").TOOLS


FOR_ANY_LOOP: tuple[Tool[Any, Any], ...] = (
    leave_note,
    recall_history,
    recall_similar,
)
TOOLS = tuple(sorted((*FOR_ANY_LOOP, *_of_loops()), key=lambda each: each.name))


def find_tool(name: str) -> Tool[Any, Any]:
    """The tool called `name`.

    Raises:
        UnknownName: suggesting the nearest names.
    """
    for each in TOOLS:
        if each.name == name:
            return each
    raise UnknownName("tool", name, (each.name for each in TOOLS))
