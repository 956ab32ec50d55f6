"""Looks for a STOP that another process delivers to a session that this one runs; its own needs no look.

Where the database fails it goes on trying. Meanwhile no act is authorised either, as the ledger looks for a STOP in the
transaction that authorises. What is no failure of the database pauses the session.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.runtime import Runtime
from loopwright.log import get_logger

STOP_POLL_S = 0.02
"""How often a session that runs looks."""
MAX_RETRY_S = 0.25
"""How often at least it tries again where the database fails."""

_log = get_logger(__name__)


@contextmanager
def watching_for_stop(runtime: Runtime, *, after: int) -> Iterator[None]:
    """Set the cancel token when a STOP is delivered to the session, after the message `after`."""
    done = threading.Event()

    def look(pause_s: float) -> float:
        """Look, after such a pause; how long to wait until the next time, s."""
        try:
            stop = runtime.memory.inbox.active_stop(runtime.session_id)
        except (LoopwrightError, SQLAlchemyError, OSError) as error:
            if pause_s <= STOP_POLL_S:
                _log.warning("cannot look for a STOP, trying again", session=runtime.session_id, error=str(error))
            return min(2 * pause_s, MAX_RETRY_S)
        except BaseException:  # nobody would hear a STOP from now on
            runtime.cancel.pause("the session's watch for a STOP has failed")
            raise
        if stop is not None and stop.id > after:
            runtime.cancel.stop(f"{stop.author}: {stop.text}")
        return STOP_POLL_S

    def watch(pause_s: float) -> None:
        while not done.wait(pause_s):
            pause_s = look(pause_s)

    pause_s = look(STOP_POLL_S)
    watcher = threading.Thread(target=watch, args=(pause_s,), name=f"stop-watch-{runtime.session_id}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
