"""Looks for a STOP that another process delivers to a session that this one runs; its own needs no look.

Whatever the watcher meets it goes on looking. While it cannot look no act is authorised either: the ledger looks for a
STOP in the transaction that authorises, so it fails with the same database.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
        except Exception as error:  # a thread that ended here would let every later STOP pass
            if pause_s <= STOP_POLL_S:
                _log.warning("cannot look for a STOP, trying again", session=runtime.session_id, error=str(error))
            return min(2 * pause_s, MAX_RETRY_S)
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
