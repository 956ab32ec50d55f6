"""Has sessions run by processes of their own, which outlive the server (`loopwright.web.worker`)."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from loopwright.tools.files import disk_errors
from loopwright.web.refusal import Refusal
from loopwright.web.worker import Order


class Workers:
    """Workers on demand. `loops` are imported before the first begins."""

    def __init__(self, folder: Path, loops: Sequence[str]) -> None:
        self._log = folder / "workers.log"
        self._loops = loops
        self._lock = threading.Lock()
        self._forker: tuple[socket.socket, subprocess.Popen[bytes]] | None = None

    def warm_up(self) -> None:
        """Start the process that forks workers before the first is asked for: it imports what they need."""
        with self._lock:
            self._door()

    def obey(self, order: Order) -> str:
        """Have a process of its own do this; returns the session's id when the process has the session.

        Raises:
            Refusal: the process says why not, or said nothing.
        """
        given, giving = os.pipe()
        answered, answering = os.pipe()
        try:
            self._send([given, answering])
        finally:
            os.close(given)
            os.close(answering)
        with os.fdopen(giving, "w") as ordering:
            ordering.write(order.model_dump_json())
        with os.fdopen(answered) as answers:
            line = answers.readline()
        if not line:
            raise Refusal(f"The worker ended without an answer; `{self._log}` says why.", 500)
        answer = json.loads(line)
        if "error" in answer:
            raise Refusal(answer["error"], answer["status"])
        return str(answer["session"])

    def _send(self, pipes: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._door(), [b"!"], pipes)

    def _door(self) -> socket.socket:
        """The door to the forker, which is started where none runs: at first, or because somebody ended it."""
        if self._forker is None or self._forker[1].poll() is not None:
            if self._forker is not None:
                self._forker[0].close()
            self._forker = self._started()
        return self._forker[0]

    def _started(self) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
        """The process that forks workers, and the door to it; it ends when the door is closed."""
        ours, theirs = socket.socketpair()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, disk_errors(self._log), self._log.open("a") as log:
            forker = subprocess.Popen(
                [sys.executable, "-m", "loopwright.web.worker", str(theirs.fileno()), *self._loops],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the server's terminal is not for the sessions
            )
        return ours, forker
