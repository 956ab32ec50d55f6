"""The loops that exist: one name each, imported when asked for.

The loop called NAME is `LOOP` of the package `loopwright.graphs.NAME`. By the same name the other parts find what it
brings: its commands (`loopwright.cli.NAME`), what its world teaches (`loopwright.finetune.data.NAME.base_tasks`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from loopwright.errors import UnknownName

if TYPE_CHECKING:
    from loopwright.graphs.state import Loop

LOOPS: tuple[str, ...] = (
    "carm",
    "surgery",
)


def get_loop(name: str) -> "Loop":
    """The loop registered under `name`.

    Raises:
        UnknownName: with the nearest names.
    """
    if name not in LOOPS:
        raise UnknownName("loop", name, LOOPS)
    loop: Loop = import_module(f"loopwright.graphs.{name}").LOOP
    return loop
