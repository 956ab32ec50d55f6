"""A pause that is asked for in the console: a file beside the memory, which the session's worker takes away.

Nothing is withdrawn by it, unlike a STOP: what runs is ended first, and what was asked stays asked.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loopwright.tools.files import write_whole
from loopwright.web.refusal import Refusal
from loopwright.web.tokens import session_file

POLL_S = 0.1
TAKEN_S = 3.0
"""How long a worker of ours may take to see it."""


def ask_for_pause(folder: Path, session_id: str, author: str) -> None:
    """Have the worker of a session pause it; returns when the worker knows.

    Raises:
        Refusal: nobody took the request: the session is run by a process that the console did not start.
    """
    request = _request(folder, session_id)
    request.parent.mkdir(parents=True, exist_ok=True)
    write_whole(request, author.encode())
    until = time.monotonic() + TAKEN_S
    while request.exists():
        if time.monotonic() > until:
            request.unlink(missing_ok=True)
            raise Refusal(
                f"Session {session_id} is run by a process that the console did not start. Pause it there, with "
                "Ctrl-C; a STOP reaches it from here too.",
                409,
            )
        time.sleep(POLL_S / 2)


@contextmanager
def pausing(folder: Path, session_id: str, pause: Callable[[str], None]) -> Iterator[None]:
    """Call `pause` with the reason when a pause is asked for; what was asked for before is over."""
    request, done = _request(folder, session_id), threading.Event()
    request.unlink(missing_ok=True)

    def watch() -> None:
        while not done.wait(POLL_S):
            with suppress(FileNotFoundError):
                author = request.read_text()
                pause(f"paused by {author}")
                request.unlink()

    watcher = threading.Thread(target=watch, name=f"pause-watch-{session_id}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _request(folder: Path, session_id: str) -> Path:
    return session_file(folder / "pausing", session_id)
