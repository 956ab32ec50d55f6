"""`module:attribute`: how configuration names what is written in Python."""

import sys
from importlib import import_module
from pathlib import Path

from loopwright.errors import BadInput


def find_modules_in(folder: Path) -> None:
    """Let modules of `folder` be imported, as `python -m` does for the working folder."""
    if (here := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, here)


def resolve(where: str) -> object:
    """The object at `module:attribute`.

    Raises:
        BadInput: there is nothing.
    """
    module, _, attribute = where.partition(":")
    if not (module and attribute):
        raise BadInput(f"`{where}`: expected `module:attribute`, such as `my_package.loops:thermostat`.")
    try:
        holder = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        raise BadInput(f"`{where}`: there is no module `{error.name}`. Install it, or correct the name.") from error
    if not hasattr(holder, attribute):
        raise BadInput(f"`{where}`: the module `{module}` has no `{attribute}`.")
    found: object = getattr(holder, attribute)
    return found
