"""Processes that run sessions: `python -m loopwright.web.worker` imports what they need once, and forks one for each.

A worker does one `Order`. It answers with one line of JSON once the session is its own: the session's id, or why not.
Then it runs the session and waits for answers, until the loop ends or a human halts it. It needs nobody after its
answer, so it outlives the server that asked for it; what it does is on record.
"""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.session import Session
from loopwright.graphs.registry import get_loop
from loopwright.log import configure_logging
from loopwright.memory import Memory, open_memory
from loopwright.schema import Frozen
from loopwright.settings import settings
from loopwright.web.pausing import pausing
from loopwright.web.refusal import status_of
from loopwright.web.tokens import TokenWriter, token_file

Answer = Callable[[dict[str, Any]], None]


class Order(Frozen):
    """What to do. `loop` is its name or location; `models` are cards by role, for a session that begins or goes on."""

    do: Literal["start", "resume", "rewind", "fork"]
    loop: str
    folder: Path
    session: str = ""
    step: int = 0
    config: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)


def obey(order: Order, memory: Memory, answer: Answer) -> None:
    """Do it, and answer when the session is held."""
    loop = get_loop(order.loop)
    if order.do == "start":
        run(loop.start(memory, models=order.models, **order.config), order.folder, answer)
        return
    session = loop.resume(order.session, memory, models=order.models)
    match order.do:
        case "rewind":
            session.rewind(order.step)
            answer({"session": session.id})
        case "fork":
            answer({"session": loop.fork(session, order.step).id})
        case _:
            session.require_models()
            run(session, order.folder, answer)


def run(session: Session, folder: Path, answer: Answer) -> None:
    """Run a session to its rest, waiting for answers."""
    hears = TokenWriter(token_file(folder, session.id))
    with closing(session.stream(wait=True, callbacks=[hears])) as events:
        next(events, None)  # a session that runs elsewhere is refused here
        answer({"session": session.id})
        with pausing(folder, session.id, session.pause):
            for _ in events:
                pass


def work(order_fd: int, answer_fd: int) -> int:
    """Read an order from one pipe, obey it, answer on the other; the exit code."""
    with os.fdopen(order_fd) as given:
        order = Order.model_validate_json(given.read())
    said = os.fdopen(answer_fd, "w")

    def answer(what: dict[str, Any]) -> None:
        with said:
            said.write(json.dumps(what) + "\n")

    try:
        with open_memory(settings().memory_url, busy_timeout_s=settings().memory.busy_timeout_s) as memory:
            obey(order, memory, answer)
    except LoopwrightError as error:
        if said.closed:
            raise
        answer({"error": str(error), "status": status_of(error)})
    return 0


def main() -> None:
    """Fork a worker for each pair of pipes that comes through the socket, until its other end is closed."""
    door = socket.socket(fileno=int(sys.argv[1]))
    configure_logging(settings().log.level, "json")
    for name in sys.argv[2:]:
        with suppress(LoopwrightError):  # whoever asks for it is told
            get_loop(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers, and none stays as a zombie
    while pipes := socket.recv_fds(door, 1, 2)[1]:
        if os.fork() == 0:
            _be_worker(door, *pipes)
        for each in pipes:
            os.close(each)


def _be_worker(door: socket.socket, order_fd: int, answer_fd: int) -> NoReturn:
    """What a forked process does, and nothing after it."""
    code = 1
    try:
        door.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = work(order_fd, answer_fd)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
