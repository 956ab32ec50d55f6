"""Work in the background: jobs on daemon threads, and one event loop for all that is asynchronous in this process.

Whoever waits for such work under a cancel token leaves it when the token is set; its result is then dropped.

A job that hangs holds up neither other jobs nor the end of the process. Knows no model.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

from loopwright.errors import DeveloperError
from loopwright.schema import CancelToken

T = TypeVar("T")

POLL_S = 0.02
"""How soon a set token reaches who waits, s."""


def until_halted(work: Callable[[], T], cancel: CancelToken) -> T:
    """What `work` returns, done on a daemon thread: what cannot be interrupted, such as loading, is left.

    Raises:
        Halted: the token's `Stopped` or `Paused`, as soon as it is set.
    """
    return awaited(on_daemon_thread(work), cancel)


def awaited(coming: Future[T], cancel: CancelToken) -> T:
    """What is coming, or what it raises.

    Raises:
        Halted: the token's `Stopped` or `Paused`, as soon as it is set.
    """
    wait_for(coming, cancel)
    return coming.result()


def wait_for(coming: "Future[Any]", cancel: CancelToken) -> None:
    """Return when what is coming has come, be it an error.

    Raises:
        Halted: the token's `Stopped` or `Paused`, as soon as it is set.
    """
    while not wait([coming], timeout=POLL_S).done:
        cancel.raise_if_set()
    cancel.raise_if_set()


async def in_thread(work: Callable[[CancelToken], T], cancel: CancelToken | None = None) -> T:
    """What `work(token)` returns, done on a daemon thread. Cancelling the task that awaits it sets the token."""
    token = (cancel or CancelToken()).child()
    try:
        return await asyncio.wrap_future(on_daemon_thread(lambda: work(token)))
    except asyncio.CancelledError:
        token.stop("the call was cancelled")
        raise


def on_daemon_thread(work: Callable[[], T]) -> Future[T]:
    """Do `work` on a daemon thread of its own, in a copy of the caller's context."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from here on it cannot be cancelled: nobody can end a thread

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # carried to whoever waits, whatever it is
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return done


def on_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `work` on the event loop, in a copy of the caller's context. Cancelling the future cancels it there.

    Raises:
        DeveloperError: called on the event loop itself, where waiting for `work` would never end.
    """
    if _loops.is_current():
        work.close()
        raise DeveloperError(
            "A coroutine on the background event loop called a model synchronously, which would wait for itself for "
            "ever. Await the model's `ainvoke` or `astream` there."
        )
    return asyncio.run_coroutine_threadsafe(work, _loops.running())


class _DaemonThreads(ThreadPoolExecutor):
    """An executor whose jobs do not wait for one another. The pool's own threads, joined at exit, never start."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` on a daemon thread."""
        return on_daemon_thread(lambda: fn(*args, **kwargs))


class _Loops:
    """The one event loop, started when it is first asked for: once, whoever asks at the same time."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As if none had been started: threads do not survive a fork, nor are the locks let go that they held."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        """The one loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(_DaemonThreads())
                self._thread = threading.Thread(target=self._loop.run_forever, name="loopwright-loop", daemon=True)
                self._thread.start()
            return self._loop

    def is_current(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.current_thread() is self._thread


_loops = _Loops()
os.register_at_fork(after_in_child=_loops.forget)
