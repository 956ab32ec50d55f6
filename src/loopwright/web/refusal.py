"""What the console answers where it refuses: a text for a person, and the HTTP status that says whose turn it is."""

from loopwright.errors import (
    BadInput,
    LoopwrightError,
    MissingDependency,
    OperatorError,
    SessionBusy,
    ToolRetry,
    UnknownName,
)

_STATUS: dict[type[LoopwrightError], int] = {
    UnknownName: 404,
    SessionBusy: 409,
    BadInput: 400,
    ToolRetry: 400,
    MissingDependency: 501,
    OperatorError: 503,
}
"""The first class that an error is of counts."""


class Refusal(LoopwrightError):
    """A request that is refused; `status` is the HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def status_of(error: LoopwrightError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refusal):
        return error.status
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
