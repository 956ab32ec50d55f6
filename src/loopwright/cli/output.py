"""How the command line speaks: results to stdout, everything said about them to stderr, a failure as one report.

`--json` turns results into one JSON object a line on stdout, and a failure into one more such object. Knows no command.
"""

import errno
import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from typer.exceptions import TyperException

from loopwright.errors import BadInput, DeveloperError, Halted, LoopwrightError, OperatorError
from loopwright.graphs.loop.lines import visible

EXIT_CODES = {
    0: "done",
    1: "not done: a bar was missed, a session failed, or a check found something",
    2: "the input is wrong; nothing was changed",
    3: "something has to be installed; the message says what",
    4: "a person has to look at the machine or the data",
    5: "a human said STOP",
    6: "the session waits for a human's answer",
    7: "the session does not know what it sees, or did not find what was asked for",
    70: "a defect; the message names the file with the traceback",
    130: "interrupted or paused; the message says how to resume",
}
_OPERATOR_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a failed command reports: the error's name, what it says, and the exit code."""

    kind: str
    message: str
    exit_code: int
    traceback_file: Path | None = None


def stdout() -> Console:
    """The console for results. A file or a pipe has no width: nothing is cut to fit it."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)


def table(*headers: str) -> Table:
    """A plain table whose cells fold where the terminal is narrow, and are never cut."""
    return Table(*(Column(header, overflow="fold") for header in headers), box=None, pad_edge=False)


def stderr() -> Console:
    """The console for everything that is not a result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """Anybody's text, safe to print as rich markup: markup and control characters in it are shown, not obeyed."""
    return escape(visible(text))


def plain_lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(plain(line) for line in text.split("\n"))


def json_line(value: dict[str, Any]) -> None:
    """One JSON object on one line of stdout, flushed: another program may be reading along."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def failure_of(error: BaseException, crash_dir: Path) -> Failure:
    """Classify what a command raised. What nobody raised on purpose leaves its traceback in a file."""
    kind, message = type(error).__name__, str(error)
    match error:
        case DeveloperError():
            trace = _write_traceback(error, crash_dir)
            return Failure(kind=kind, message=message, exit_code=error.exit_code, traceback_file=trace)
        case LoopwrightError():
            return Failure(kind=kind, message=message, exit_code=error.exit_code)
        case typer.Abort():
            return Failure(kind="Aborted", message="as asked.", exit_code=1)
        case TyperException():
            return Failure(kind="UsageError", message=error.format_message() or "Name a command.", exit_code=2)
        case IsADirectoryError() | FileExistsError() | NotADirectoryError() if error.filename:
            there, expected = ("folder", "file") if isinstance(error, IsADirectoryError) else ("file", "folder")
            message = f"`{error.filename}`: a {there} is there where a {expected} is expected. Correct the path."
            return Failure(kind="BadInput", message=message, exit_code=BadInput.exit_code)
        case OSError() if error.errno in _OPERATOR_ERRNOS:
            where = f"`{error.filename}`: " if error.filename else ""
            return Failure(kind=kind, message=f"{where}{error.strerror}.", exit_code=OperatorError.exit_code)
        case _:
            trace = _write_traceback(error, crash_dir)
            message = f"{message or 'no message'} (a defect of Loopwright: please report it)"
            return Failure(kind=kind, message=message, exit_code=DeveloperError.exit_code, traceback_file=trace)


def report(error: BaseException, *, as_json: bool, crash_dir: Path) -> int:
    """Say what went wrong, once, and return the exit code."""
    failure = failure_of(error, crash_dir)
    trace = failure.traceback_file
    if as_json:
        shown = {"type": failure.kind, "message": failure.message, "exit_code": failure.exit_code}
        json_line({"error": shown | ({"traceback_file": str(trace)} if trace else {})})
        return failure.exit_code
    colour = "yellow" if isinstance(error, Halted | typer.Abort) else "bold red"
    console = stderr()
    console.print(f"[{colour}]{failure.kind}[/{colour}]: {plain_lines(failure.message)}")
    if trace:
        console.print(f"The full traceback is in {plain(str(trace))}")
    return failure.exit_code


def _write_traceback(error: BaseException, crash_dir: Path) -> Path:
    name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        crash_dir.mkdir(parents=True, exist_ok=True)
        path = crash_dir / name
        path.write_text(text, encoding="utf-8")
    except OSError:  # the data folder itself may be what is broken
        path = Path(tempfile.gettempdir()) / f"loopwright-{name}"
        path.write_text(text, encoding="utf-8")
    return path
