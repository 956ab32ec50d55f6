"""`loopwright feedback SESSION stop`, without the imports of the whole command line.

Done here is what is usual: a STOP, in the configured memory, to a session that a live process runs. Whatever else was
meant, or does not work, is left to the whole command, which does it or says what is wrong.
"""

import json
import sys
from collections.abc import Sequence

from loopwright.agents.feedback import is_stop
from loopwright.errors import LoopwrightError
from loopwright.memory.direct import put_stop
from loopwright.settings import settings


def stop_at_once(arguments: Sequence[str]) -> int | None:
    """What `loopwright feedback` with these arguments returns, where it delivers a STOP; None: nothing was done."""
    plain, author = [each for each in arguments if each != "--json"], "clinician"
    match plain:
        case [session, message, "--author", author] | ["--author", author, session, message]:
            pass
        case [session, message]:
            pass
        case _:
            return None
    if any(each.startswith("-") for each in (session, message, author)) or not is_stop(message):
        return None
    try:
        memory = settings()
    except LoopwrightError:
        return None
    status = put_stop(memory.memory_url, session, message, author=author, timeout_s=memory.memory.busy_timeout_s)
    if status is None:
        return None
    if len(plain) < len(arguments):
        said = json.dumps({"session": session, "status": status, "understood": {"kind": "stop"}}, ensure_ascii=False)
    else:
        said = "Understood: stop."
    sys.stdout.write(f"{said}\n")
    return 0
