"""The cancel token that every node, tool and model call is given (rule 5)."""

import threading

from loopwright.errors import Halted, Paused, Stopped


class CancelToken:
    """Set by STOP or a pause, read everywhere. Thread-safe; the first reason wins, but STOP overrides a pause."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._halt: Halted | None = None

    def stop(self, reason: str = "STOP") -> None:
        """A human said STOP: nothing further is to be sent."""
        self._halt = Stopped(reason)
        self._event.set()

    def pause(self, reason: str = "pause") -> None:
        """Come to rest between nodes."""
        if self._halt is None:
            self._halt = Paused(reason)
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether anybody asked to halt."""
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep up to `timeout_s` seconds; True at once when the token is set."""
        return self._event.wait(timeout_s)

    def raise_if_set(self) -> None:
        """Raise the `Stopped` or `Paused` that the token was set with."""
        if self._halt is not None:
            raise type(self._halt)(*self._halt.args)
