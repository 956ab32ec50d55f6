"""Sessions whose agent is the MCP client: each of its tool calls is the reply that a loop `NAME-agent` waits for.

They run in threads of the server's process. One whose server has ended is gone on with at the next call.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import Empty
from typing import Any

from langchain_core.messages import AIMessage

from loopwright.errors import BadInput, Halted, SessionBusy
from loopwright.graphs.loop.by_agent import AGENT
from loopwright.graphs.loop.environment import Bridge
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.session import Session
from loopwright.graphs.registry import SUFFIX
from loopwright.memory import Memory
from loopwright.models.background import on_daemon_thread

POLL_S = 0.05
CLOSE_S = 10.0
"""How long the end of the server waits for one session to let go."""


class Hand:
    """One session, in a thread of its own; `is_free`: it waits for the client's next call."""

    def __init__(self, session: Session, bridge: Bridge) -> None:
        self.session, self._bridge = session, bridge
        self.is_free = False
        self._run: Future[str] = on_daemon_thread(lambda: session.run(wait=True))

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return not self._run.done()

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        """Reply with a call.

        Raises:
            SessionBusy: the call before it is not done.
        """
        if not self.is_free:
            raise SessionBusy(
                f"Session {self.session.id} has not done your last call yet. Ask for `session_status`, then call again."
            )
        self.is_free = False
        called = {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
        self._bridge.replies.put(AIMessage("", tool_calls=[called]))

    def settle(self, until: float, asks: Callable[[], bool]) -> None:
        """Wait until it is free, `asks` a person, or rests; `until` is of `time.monotonic`.

        Raises:
            LoopwrightError: what ended the run.
        """
        while time.monotonic() < until:
            with suppress(Empty):
                self._bridge.asked.get(timeout=POLL_S)
                self.is_free = True
            if self.is_free or asks():
                return
            if not self.is_running:
                with suppress(Halted):
                    self._run.result()
                return

    def halted(self, within_s: float) -> None:
        """Wait until a STOP or a pause has ended the run."""
        wait([self._run], within_s)


class Hands:
    """The sessions of this process, by id; `find` finds a loop by name."""

    def __init__(self, memory: Memory, find: Callable[[str], Loop]) -> None:
        self._memory, self._find = memory, find
        self._lock = threading.Lock()
        self._held: dict[str, Hand] = {}

    def open(self, loop: str, config: dict[str, Any]) -> str:
        """Begin a session of `loop` in the client's hands; its id."""
        bridge = Bridge()
        session = self._find(f"{loop}{SUFFIX}").start(self._memory, models={AGENT: bridge}, **config)
        with self._lock:
            self._held[session.id] = Hand(session, bridge)
        return session.id

    def of(self, session_id: str) -> Hand:
        """The session, gone on with where it does not run.

        Raises:
            UnknownName: there is none.
            BadInput: it is in nobody's hands, or has ended.
        """
        with self._lock:
            held = self._held.get(session_id)
            if held is not None and held.is_running:
                return held
            row = self._memory.sessions.get(session_id)
            if not row.loop.endswith(SUFFIX):
                raise BadInput(
                    f"Session {session_id} is of the loop {row.loop!r}, which calls its tools itself. Open one whose "
                    f"tools you call: `open_{row.loop}`."
                )
            if row.has_ended:
                raise BadInput(f"Session {session_id} has {row.status}. Open another one.")
            bridge = Bridge()
            session = self._find(row.loop).resume(session_id, self._memory, models={AGENT: bridge})
            self._held[session_id] = Hand(session, bridge)
            return self._held[session_id]

    def held(self, session_id: str) -> Hand | None:
        """The session where it runs in this process."""
        found = self._held.get(session_id)
        return found if found is not None and found.is_running else None

    def close(self) -> None:
        """Pause every session, and let go of it: each can be gone on with."""
        running = [hand for hand in self._held.values() if hand.is_running]
        for hand in running:
            hand.session.pause()
        for hand in running:
            hand.halted(CLOSE_S)
