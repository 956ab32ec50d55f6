"""A session: one durable run of a loop with a world, a memory and a human.

A session is handed its compiled graph and imports none. It streams the graph, watches for STOP, waits for answers, and
keeps in the event log what happened to the process itself. Killing it at any moment loses nothing: the graph's
checkpoint says where to resume, the journal what is known, the ledger what was sent.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateSnapshot
from pydantic import BaseModel

from loopwright.agents.feedback import is_stop
from loopwright.agents.journal import Journal, Moment, RecordEnded
from loopwright.errors import BadInput, Halted, LoopwrightError, Stopped
from loopwright.memory import Lease, Memory
from loopwright.schema import CancelToken, Event, Stop, World
from loopwright.tools.actuate import STOP, Actuator

STOP_POLL_S = 0.1
"""How often a running session looks for STOP (rule 5)."""

RECURSION_LIMIT = 10_000
"""LangGraph's own limit on nodes per run; ours are the guard's budgets, so this one only has to be out of the way."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a loop hands a session: its compiled graph and what the graph was built with."""

    graph: CompiledStateGraph[Any, Any, Any, Any]
    initial: dict[str, Any]
    world: World
    actuator: Actuator
    journal: Journal
    cancel: CancelToken
    parse: Callable[[str], BaseModel]
    observing: str = field(default="render", metadata={"why": "the node that observes"})
    observed: str = field(default="localise", metadata={"why": "the node that follows a fresh observation"})


class Session:
    """One durable run. Made by `loopwright.graphs.start_session` and `resume_session`."""

    def __init__(self, memory: Memory, session_id: str, runtime: Runtime) -> None:
        self.id = session_id
        self._memory = memory
        self._runtime = runtime
        self._config: RunnableConfig = {
            "configurable": {"thread_id": session_id},
            "recursion_limit": RECURSION_LIMIT,
        }

    @property
    def status(self) -> str:
        """The session's status as the memory has it."""
        return self._memory.sessions.get(self.id).status

    @property
    def loop(self) -> str:
        """The name of the loop that it runs."""
        return self._memory.sessions.get(self.id).loop

    @property
    def world(self) -> World:
        """The world that this session acts on."""
        return self._runtime.world

    @property
    def state(self) -> dict[str, Any]:
        """The loop's state at the last checkpoint; empty before the first step."""
        return dict(self._runtime.graph.get_state(self._config).values)

    def say(self, text: str, *, author: str = "clinician") -> None:
        """Put a message into the inbox; it is heard between nodes, a STOP at once."""
        self._memory.inbox.put(self.id, text, author=author, is_stop=is_stop(text))

    def pause(self) -> None:
        """Come to rest after the node that is running. Thread-safe; meant for signal handlers."""
        self._runtime.cancel.pause("paused by the user")

    def stream(self, *, wait: bool = False) -> Generator[Event, None, None]:
        """Run until the loop ends, a human halts it, or (without `wait`) it needs an answer; yield events as written.

        Args:
            wait: stay when the loop asks something, until an answer lies in the inbox.

        Raises:
            SessionBusy: another live process runs this session.
            BadInput: the session has already ended.
            LoopwrightError: what a node raised; the session can be resumed.
        """
        with self._memory.sessions.acquire(self.id) as lease:
            self._begin(lease)  # a STOP that is acknowledged here must not be seen by the watcher any more
            with self._watching_for_stop():
                try:
                    yield from self._run(lease, wait)
                except Halted as halt:
                    self._halt(halt)
                except LoopwrightError as error:
                    self._memory.sessions.set_status(self.id, "paused")
                    self._runtime.journal.process(
                        self._moment(), "error", {"type": type(error).__name__, "text": str(error)}
                    )
                    raise
                yield from self._runtime.journal.drain()

    def run(self, *, wait: bool = False) -> str:
        """`stream` to its end; the status that the session came to rest with."""
        for _ in self.stream(wait=wait):
            pass
        return self.status

    def rewind(self, step: int) -> None:
        """Go back to the observation of `step`: nothing is deleted, a new branch begins, the world returns.

        Radiation is not undone: the exposures that were taken stay counted.
        """
        with self._memory.sessions.acquire(self.id) as lease:
            self._runtime.actuator.take_over(lease.token)
            self._acknowledge_stops()
            self._rewind(step, self._moment().branch + 1)
            self._memory.sessions.set_status(self.id, "paused")

    def observed_at(self, step: int) -> StateSnapshot:
        """The newest checkpoint that stands right after the observation of `step`.

        Raises:
            BadInput: the session has no such step.
        """
        for snapshot in self._runtime.graph.get_state_history(self._config):
            if snapshot.values.get("step") == step and snapshot.next == (self._runtime.observed,):
                return snapshot
        raise BadInput(f"`step` {step} was not observed in session {self.id}. It stands at step {self._moment().step}.")

    def adopt(self, values: dict[str, Any], parent: dict[str, Any]) -> None:
        """Begin as a fork, held by this process: take over the parent's state and name it in the first event."""
        moment = Moment(values["branch"], values["step"])
        self._runtime.journal.process(moment, "forked", {**parent, "state": values})
        self._restore(f"{self.id}/fork", values["observation"]["snapshot"], values["step"])
        self._runtime.graph.update_state(self._config, values, as_node=self._runtime.observing)
        self._memory.sessions.set_status(self.id, "paused")

    def _begin(self, lease: Lease) -> None:
        row = self._memory.sessions.get(self.id)
        if row.status in ("succeeded", "failed"):
            raise BadInput(
                f"Session {self.id} has {row.status}. Rewind it (`loopwright sessions rewind {self.id} STEP`) or "
                "start a new one."
            )
        if row.status != "created":
            self._runtime.actuator.take_over(lease.token)
            self._acknowledge_stops()
            self._runtime.journal.process(self._moment(), "resumed", {"from": row.status})
        self._memory.sessions.set_status(self.id, "running")

    def _run(self, lease: Lease, wait: bool) -> Iterator[Event]:
        graph, journal, cancel = self._runtime.graph, self._runtime.journal, self._runtime.cancel
        given: Any = None if graph.get_state(self._config).values else self._runtime.initial
        while True:
            yield from journal.drain()
            for _ in graph.stream(given, self._config, stream_mode="updates", durability="sync"):
                yield from journal.drain()
                cancel.raise_if_set()
                lease.check()
            yield from journal.drain()
            snapshot = graph.get_state(self._config)
            if not snapshot.next:
                self._memory.sessions.set_status(self.id, snapshot.values["status"])
                return
            self._memory.sessions.set_status(self.id, "waiting")
            if not wait and not self._memory.inbox.unread(self.id):
                return  # a STOP is unread until the session is resumed
            self._await_answer()
            self._memory.sessions.set_status(self.id, "running")
            given = Command(resume=True)

    def _await_answer(self) -> None:
        """Return when there is one; a STOP is none, and sets the cancel token within a moment."""
        while not (unread := self._memory.inbox.unread(self.id)) or any(message.is_stop for message in unread):
            self._runtime.cancel.wait(STOP_POLL_S)
            self._runtime.cancel.raise_if_set()

    def _halt(self, halt: Halted) -> None:
        if isinstance(halt, RecordEnded):
            raise halt
        kind: Literal["stopped", "paused"] = "stopped" if isinstance(halt, Stopped) else "paused"
        # What was sent before the STOP is settled and reported; what was only intended is refused.
        self._runtime.actuator.settle(refuse=STOP if isinstance(halt, Stopped) else None)
        done = [e for e in self._memory.ledger.of(self.id) if e.outcome is not None and e.outcome.status == "done"]
        last = done[-1].act.model_dump(mode="json") if done else None
        payload = {"reason": str(halt), "acts_sent": len(done), "last_act_sent": last}
        self._runtime.journal.process(self._moment(), kind, payload)
        self._memory.sessions.set_status(self.id, kind)

    def _acknowledge_stops(self) -> None:
        """A human resumes: what was stopped may go on, and the STOP is no longer news."""
        self._memory.inbox.clear_stop(self.id)
        for message in self._memory.inbox.unread(self.id):
            if message.is_stop:
                self._memory.inbox.mark_read(message.id, Stop().model_dump(mode="json"), self._moment().step)

    def _rewind(self, step: int, branch: int) -> None:
        snapshot = self.observed_at(step)
        before = self._moment()
        self._runtime.journal.process(Moment(branch, step), "rewound", {"from": before.step, "to": step})
        self._restore(f"{self.id}/{branch}/{step}/restore", snapshot.values["observation"]["snapshot"], step)
        self._runtime.graph.update_state(
            snapshot.config, {"branch": branch, "visit": 0}, as_node=self._runtime.observing
        )

    def _restore(self, key: str, snapshot: dict[str, Any], step: int) -> None:
        outcome = self._runtime.actuator.restore(key, snapshot, step=step, by="human")
        if outcome.status != "done":
            raise BadInput(f"The world of session {self.id} cannot go back to step {step}: {outcome.reason}")

    def _moment(self) -> Moment:
        state = self.state
        return Moment(state.get("branch", 0), state.get("step", 0))

    @contextmanager
    def _watching_for_stop(self) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(STOP_POLL_S):
                stop = self._memory.inbox.active_stop(self.id)
                if stop is not None:
                    self._runtime.cancel.stop(f"{stop.author}: {stop.text}")

        watcher = threading.Thread(target=watch, name=f"stop-watch-{self.id}", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
