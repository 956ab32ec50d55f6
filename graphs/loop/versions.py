"""What a session's record says of the code and the models that ran it."""

import hashlib
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.runtime import Runtime


def versions(loop: Declaration, runtime: Runtime) -> dict[str, Any]:
    """For the record's first event."""
    return {
        "loop": loop.name,
        "version": loop.version,
        "code": code_digest(loop),
        "nodes": [[each.name for each in layer] for layer in loop.layers],
        "loopwright": version("loopwright"),
        "models": {role: runtime.model(role).facts for role in runtime.roles},
    }


def code_digest(loop: Declaration) -> str:
    """A digest of the source files of a loop's nodes, tools, guards and feedback types, prompts among them."""
    files = {file for part in _parts(loop) if (file := _source_of(part)) is not None}
    return hashlib.sha256(b"\0".join(sorted(file.read_bytes() for file in files))).hexdigest()[:16]


def _parts(loop: Declaration) -> list[Any]:
    inner = [part for nested in loop.nested.values() for part in _parts(nested)]
    nodes = [each.run for each in loop.all_nodes.values() if not isinstance(each.run, Declaration)]
    return [*inner, *nodes, *(tool.function for tool in loop.tools), *loop.guards, *loop.feedback]


def _source_of(part: Any) -> Path | None:
    """None for what was typed into a notebook or a terminal."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(part))
    except (TypeError, OSError):
        return None
    return Path(file) if file and Path(file).is_file() else None
