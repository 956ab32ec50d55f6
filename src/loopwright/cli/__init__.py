"""The command line: `loopwright`.

`main` is its door. A STOP to a session that runs takes a short way through it (`loopwright.cli.stop`), as it must not
wait for imports; all else is `loopwright.cli.application`.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (130 after Ctrl-C). The console script passes it to `sys.exit`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["feedback"]:
        from loopwright.cli.stop import stop_at_once

        if (code := stop_at_once(arguments[1:])) is not None:
            return code
    from loopwright.cli.application import execute

    return execute(arguments)
