"""Processes that may be killed or suspended: a program imports what they need once, and forks one for each input line.

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
        """What a process said, None where SIGKILL ended it, `{"suspended": PID}` where SIGSTOP suspended it."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        print(json.dumps(order), file=self._running.stdin, flush=True)
        answer = self._running.stdout.readline()
        assert answer, "the process that forks has ended; see its standard error"
        said: dict[str, Any] | None = json.loads(answer)
        return said

    def wake(self, pid: int) -> dict[str, Any] | None:
        """What a suspended process says when it goes on."""
        return self.obey({"wake": pid})


@contextmanager
def forking(module: str) -> Iterator[Processes]:
    """The program `module`, running."""
    program = [sys.executable, "-m", module]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield Processes(running)
        running.stdin.close()  # type: ignore[union-attr]


def serve(obey: Callable[[Any], dict[str, Any]]) -> None:
    """Answer each line of standard input, JSON, with a line: what `obey` said of it in a process of its own."""
    said_by: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wake" in order:
            os.kill(pid := order["wake"], signal.SIGCONT)
        else:
            pid, reader = _forked(obey, order)
            said_by[pid] = reader
        sys.stdout.write(json.dumps(_heard(pid, said_by, order)) + "\n")
        sys.stdout.flush()


def _forked(obey: Callable[[Any], dict[str, Any]], order: Any) -> tuple[int, int]:
    """A process of its own, and where to read what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(obey(order)).encode())
        os._exit(0)
    os.close(writer)
    return pid, reader


def _heard(pid: int, said_by: dict[int, int], order: Any) -> dict[str, Any] | None:
    """What a process said before it ended or was suspended; short enough to lie in the pipe until then."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"suspended": pid}
    with os.fdopen(said_by.pop(pid), "rb") as said:
        text = said.read()
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return None
    if code != 0:
        raise SystemExit(f"The process for {order} ended with {code}.")
    answer: dict[str, Any] = json.loads(text)
    return answer
