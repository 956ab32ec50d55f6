"""The cancel token that every node, tool and model call is given (rule 5)."""

import threading
from weakref import WeakSet

from loopwright.errors import Halted, Paused, Stopped


class CancelToken:
    """Set by STOP or a pause, read everywhere. Thread-safe; the first reason wins, but STOP overrides a pause."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._halt: Halted | None = None
        self._children: WeakSet[CancelToken] = WeakSet()
        self._lock = threading.Lock()

    def child(self) -> "CancelToken":
        """A token that is set with this one, and may be set without it."""
        child = CancelToken()
        with self._lock:
            self._children.add(child)
            if self._halt is not None:
                child._set(self._halt)
        return child

    def stop(self, reason: str = "STOP") -> None:
        """A human said STOP: nothing further is to be sent."""
        self._set(Stopped(reason))

    def pause(self, reason: str = "pause") -> None:
        """Come to rest between nodes."""
        self._set(Paused(reason))

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

    def _set(self, halt: Halted) -> None:
        if self._halt is None or isinstance(halt, Stopped):
            self._halt = halt
        self._event.set()
        with self._lock:
            children = list(self._children)
        for child in children:
            child._set(halt)
