"""Every error that Loopwright raises on purpose, split by who has to act on it.

    LoopwrightError                 exit code
    |-- BadInput                    2   the caller passes something else
    |   `-- UnknownName             2   ... and the nearest names are suggested
    |-- ToolError                   1   what a tool may tell a model
    |   |-- ToolRetry               1   the model may correct its call and try again
    |   `-- ToolRefused             1   the model only sees that code or a human said no
    |       `-- ApprovalExpired     1   ... or said yes too long ago
    |-- DeveloperError              70  whoever wrote the tool, loop or model must fix it
    |-- MissingDependency           3   something has to be installed; the message says what
    |-- OperatorError               4   a person has to look at the machine or the data
    |   |-- NoAnswer                4   a model gave no answer that could be read
    |   |-- MemoryUnavailable       4   database missing, locked, full, or not a database
    |   |-- MemoryVersionError      4   database older or newer than this code
    |   |-- IntegrityError          4   what was read back is not what was written
    |   |-- Diverged                4   a node that was run again did something else than what is on record
    |   |-- SessionBusy             4   another process runs this session, or took it over
    |   `-- UnsettledAct            4   a motion was sent and the world cannot say whether it happened
    `-- Halted                          an outcome, not a failure
        |-- Stopped                 5   a human said STOP
        `-- Paused                  130 a human pressed Ctrl-C or asked for a pause

A message names the thing in backticks, shows the value, says what was expected and how to repair it.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class LoopwrightError(Exception):
    """Root of the tree. `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 1


class BadInput(LoopwrightError):
    """A value from outside is wrong; nothing was changed."""

    exit_code = 2


class UnknownName(BadInput):
    """A name is not one of a closed set; the message suggests the nearest ones."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        lowered = {k.lower(): k for k in self.known}
        near = [lowered[k] for k in get_close_matches(name.lower(), lowered, n=3, cutoff=0.4)]
        hint = f"Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        listed = ", ".join(self.known) if self.known else "none"
        super().__init__(f"Unknown {what} {name!r}. {hint}{' ' if hint else ''}Known: {listed}.")


class ToolError(LoopwrightError):
    """Something that a tool reports to the model that called it."""


class ToolRetry(ToolError):
    """The call was wrong in a way that the model can correct."""


class ToolRefused(ToolError):
    """Code or a human refused the act; trying the same again is pointless."""


class ApprovalExpired(ToolRefused):
    """The act was approved too long ago to be sent; it has to be approved anew."""


class DeveloperError(LoopwrightError):
    """A tool, loop or model is written or wired wrongly."""

    exit_code = 70


class MissingDependency(LoopwrightError):
    """A package, renderer or device is not there; the message holds the command that adds it."""

    exit_code = 3


class OperatorError(LoopwrightError):
    """A person has to look at the machine or the data before work can go on."""

    exit_code = 4


class NoAnswer(OperatorError):
    """A model gave no answer, or none that could be read; that is on record, and the node may do without."""


class MemoryUnavailable(OperatorError):
    """The database cannot be opened or written: missing, locked, full or not a database."""


class MemoryVersionError(OperatorError):
    """The database's schema is older or newer than this code."""


class IntegrityError(OperatorError):
    """A hash of what was read back does not match what was written."""


class Diverged(OperatorError):
    """A node that was run again did something else than what is on record; nothing was sent."""


class SessionBusy(OperatorError):
    """Another process holds the session, or took it over: this one may not write or act for it."""


class UnsettledAct(OperatorError):
    """An act was sent and the world cannot say whether it happened; nothing further is sent."""


class Halted(LoopwrightError):
    """The session came to rest on purpose; it can be resumed."""


class Stopped(Halted):
    """A human said STOP."""

    exit_code = 5


class Paused(Halted):
    """A human asked for a pause."""

    exit_code = 130
