"""Processes that may be killed: a program imports what they need once, and forks one for each line of its input.

`forking` starts such a program, whose main function is `serve`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Processes:
    """A program that forks: does orders in processes of their own."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self._running = running

    def obey(self, order: Any) -> dict[str, Any] | None:
        """What a process said, None where SIGKILL ended it."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        print(json.dumps(order), file=self._running.stdin, flush=True)
        answer = self._running.stdout.readline()
        assert answer, "the process that forks has ended; see its standard error"
        said: dict[str, Any] | None = json.loads(answer)
        return said

    def wake(self, pid: int) -> dict[str, Any] | None:
        """What a process says that had suspended itself."""
        return self.obey({"wake": pid})


@contextmanager
def forking(module: str) -> Iterator[Processes]:
    """The program `module`, running."""
    program = [sys.executable, "-m", module]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield Processes(running)
        running.stdin.close()  # type: ignore[union-attr]


def serve(obey: Callable[[Any], dict[str, Any]]) -> None:
    """Answer each line of standard input, JSON, with a line: what `obey` said of it in a process of its own.

    One that suspends itself (SIGSTOP) is answered for with `{"suspended": PID}`, and goes on at the order
    `{"wake": PID}`.
    """
    readers: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, dict) and "wake" in order:
            pid = order["wake"]
            os.kill(pid, signal.SIGCONT)
        else:
            pid, readers[pid] = _fork(obey, order)
        sys.stdout.write(json.dumps(_said(pid, readers)) + "\n")
        sys.stdout.flush()


def _fork(obey: Callable[[Any], dict[str, Any]], order: Any) -> tuple[int, int]:
    """A process that obeys, and where it is read."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(obey(order)).encode())
        os._exit(0)
    os.close(writer)
    return pid, reader


def _said(pid: int, readers: dict[int, int]) -> dict[str, Any] | None:
    """What a process says, None where SIGKILL ended it. It says less than a pipe holds."""
    waited = os.waitpid(pid, os.WUNTRACED)[1]
    if os.WIFSTOPPED(waited):
        return {"suspended": pid}
    with os.fdopen(readers.pop(pid), "rb") as said:
        text = said.read()
    status = os.waitstatus_to_exitcode(waited)
    if status == -signal.SIGKILL:
        return None
    if status != 0:
        raise SystemExit(f"A process ended with {status}; see its standard error.")
    answer: dict[str, Any] = json.loads(text)
    return answer
