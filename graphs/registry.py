"""The loops that exist: one line each, imported when asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from loopwright.errors import UnknownName

if TYPE_CHECKING:
    from loopwright.graphs.state import Loop

LOOPS: Mapping[str, str] = {
    "carm": "loopwright.graphs.carm.run",
    "surgery": "loopwright.graphs.surgery.run",
}
"""Loop name to the module whose `LOOP` it is."""


def get_loop(name: str) -> "Loop":
    """The loop registered under `name`.

    Raises:
        UnknownName: with the nearest names.
    """
    if name not in LOOPS:
        raise UnknownName("loop", name, LOOPS)
    loop: Loop = import_module(LOOPS[name]).LOOP
    return loop
