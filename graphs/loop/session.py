"""A session: one durable run of a loop with a world, models, a memory and a human.

It streams the loop's graph, waits for answers, and keeps on record what happened to the process itself. Killing it at
any moment loses nothing: the checkpoint says where to resume, the record what is known, the ledger what was sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from loopwright.agents.sessions.gate import Question
from loopwright.errors import BadInput, Halted, LoopwrightError, Paused, SessionBusy, Stopped
from loopwright.graphs.loop import runtime as live
from loopwright.graphs.loop.compile import initial_values, kit_state
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.delivery import deliver, record_stops
from loopwright.graphs.loop.human import question_of
from loopwright.graphs.loop.models import Given, require_models
from loopwright.graphs.loop.rewinding import Rewinder, kit_of, observed_at, remember_parent
from loopwright.graphs.loop.serve import RECURSION_LIMIT, graph_of, open_runtime
from loopwright.graphs.loop.shown import SessionEvent, session_html
from loopwright.graphs.loop.takeover import take_over
from loopwright.graphs.loop.versions import code_digest, versions
from loopwright.graphs.loop.watching import watching_for_stop
from loopwright.graphs.sessions import report_session
from loopwright.memory import Memory
from loopwright.schema import Event
from loopwright.tools.actuate import STOP

WAIT_POLL_S = 0.05
Wait = bool | Callable[[], bool]


class Session:
    """One durable run. Made by `Loop.start` and `Loop.resume`."""

    def __init__(
        self,
        loop: Declaration,
        memory: Memory,
        session_id: str,
        *,
        models: Given | None = None,
        devices: Path | None = None,
    ) -> None:
        self.id = session_id
        self.loop = loop
        self.models, self.devices = models, devices
        self._memory = memory
        self._graph = graph_of(loop, memory)
        self._runtime: live.Runtime | None = None
        self._permitted = 0
        self._drain: Callable[[], list[Event]] = list

    @property
    def memory(self) -> Memory:
        """Where it is recorded."""
        return self._memory

    @property
    def status(self) -> str:
        """As the memory has it."""
        return self._memory.sessions.get(self.id).status

    @property
    def head(self) -> str:
        """Hash of the whole record, to be kept elsewhere: `loopwright sessions verify SESSION --head HASH`."""
        return self._memory.sessions.get(self.id).seal_hash

    @property
    def state(self) -> dict[str, Any]:
        """The loop's state at the last checkpoint; empty before the first step."""
        return {n: v for n, v in self._graph.get_state(self._config).values.items() if n != "kit"}

    @property
    def events(self) -> list[SessionEvent]:
        """The record, oldest first."""
        return self._shown(self._memory.events.read(self.id))

    def report(self, out_file: Path | str) -> Path:
        """Write what happened as one HTML page. See `report_session`."""
        return report_session(self._memory, self.id, Path(out_file), self.loop)

    def say(self, text: str, *, author: str = "clinician") -> None:
        """Say something; it is heard between nodes and before acts, a STOP at once."""
        deliver(self._memory, self.id, text, author=author, loop=lambda: self.loop, devices=self.devices)

    def require_models(self) -> None:
        """Check that every role has a model, before anything runs.

        Raises:
            BadInput: a role was begun with a model object, and no model was passed for it.
        """
        require_models(self._memory.sessions.get(self.id).config["models"], self.models)

    def pause(self, reason: str = "paused by the user") -> None:
        """Come to rest after what is running. Thread-safe; meant for signal handlers. `reason` is for the record."""
        if self._runtime is not None:
            self._runtime.cancel.pause(reason)

    @property
    def questions(self) -> list[Question]:
        """What waits for an answer, also while the session is paused or stopped."""
        return [question_of(each.value) for each in self._graph.get_state(self._config).interrupts]

    def stream(
        self, *, wait: Wait = False, callbacks: Sequence[BaseCallbackHandler] = ()
    ) -> Generator[SessionEvent, None, None]:
        """Run until the loop ends, a human halts it, or (without `wait`) it needs an answer; yield events as written.

        Args:
            wait: stay when the loop asks something, until an answer lies in the inbox; a function: as long as it says
                so.
            callbacks: LangChain's, handed to the models that nodes ask: they hear each token as it comes.

        Raises:
            SessionBusy: another live process runs this session.
            BadInput: the session has already ended.
            LoopwrightError: what a node raised; the session can be resumed.
        """
        with suppress(Halted), self.running() as runtime:
            yield from self._run(runtime, wait, {**self._config, "callbacks": list(callbacks)})
        yield from self._shown(self._drain())

    def run(self, *, wait: Wait = False) -> str:
        """`stream` to its end; the status that the session came to rest with."""
        for _ in self.stream(wait=wait):
            pass
        return self.status

    async def astream(self, *, wait: Wait = False) -> AsyncIterator[SessionEvent]:
        """`stream` for async code. Cancelling it pauses the session, and waits until the running node has let go."""
        events = self.stream(wait=wait)
        threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"session-{self.id}")
        loop = asyncio.get_running_loop()
        running: asyncio.Future[SessionEvent | None] | None = None
        try:
            while True:
                running = loop.run_in_executor(threads, next, events, None)
                event = await asyncio.shield(running)
                if event is None:
                    return
                yield event
        except asyncio.CancelledError:
            self.pause()
            with suppress(LoopwrightError):
                if running is not None:
                    await running
            raise
        finally:
            await loop.run_in_executor(threads, events.close)
            threads.shutdown(wait=False)

    async def arun(self, *, wait: Wait = False) -> str:
        """`run` for async code."""
        async for _ in self.astream(wait=wait):
            pass
        return self.status

    def rewind(self, step: int) -> None:
        """Go back to what was observed at `step`: nothing is deleted, a new branch begins, every world returns.

        What a world counts (exposures) is not undone.

        Raises:
            BadInput: the session has no such step.
        """
        with self._held() as runtime:
            self._settle(runtime)
            snapshot = self.observed_at(step)
            self._rest("paused")  # first: one that has ended, and is killed from here on, can be resumed
            self._rewinder(runtime).rewind(snapshot)

    def observed_at(self, step: int) -> StateSnapshot:
        """The checkpoint right after the first node of `step`, of the newest branch that has it.

        Raises:
            BadInput: the session has no such step.
        """
        return observed_at(self._graph, self._config, step)

    def adopt(self, parent: str, parent_head: str, snapshot: StateSnapshot) -> None:
        """Begin as a fork: take over the parent's past and state, and name the parent in the first event."""
        step = snapshot.values["kit"]["step"]
        with self._held() as runtime:
            remember_parent(self._memory, parent, self.id, step, snapshot.values)
            facts = {"parent": parent, "parent_head": parent_head, "step": step, **versions(self.loop, runtime)}
            self._rewinder(runtime).fork(snapshot, facts)
            self._rest("paused")

    # One hold of the session

    @contextmanager
    def running(self) -> Iterator[live.Runtime]:
        """Hold the session and let it run: its nodes find it, a STOP reaches it, and however it ends, it says so.

        Raises:
            SessionBusy: another live process runs this session.
            BadInput: the session has already ended.
            Halted: a human halted it; that is on record.
        """
        with self._held() as runtime:
            self._require_runnable(runtime)
            with watching_for_stop(runtime, after=self._permitted):
                try:
                    self._begin(runtime)
                    yield runtime
                except Halted as halt:
                    runtime.wait_idle()
                    self._halted(runtime, halt)
                    raise
                except Exception as error:
                    self._failed(runtime, error)
                    raise
                except BaseException:  # the reader went away, or the process is about to end
                    runtime.cancel.pause("whoever ran it went away")
                    runtime.wait_idle()
                    self._halted(runtime, Paused("whoever ran it went away"))
                    raise
                self._rest(self._graph_status())

    def _graph_status(self) -> Any:
        """The session's status by its newest checkpoint, while no node runs."""
        snapshot = self._graph.get_state(self._config)
        if snapshot.interrupts:
            return "waiting"
        status = snapshot.values.get("status", "running")
        return "paused" if status == "running" else status

    def _rest(self, status: Any) -> None:
        self._memory.sessions.set_status(self.id, status)

    def _halted(self, runtime: live.Runtime, halt: Halted) -> None:
        """A human has halted it."""
        kit = self._kit()
        if not isinstance(halt, Stopped):
            runtime.recorder.record_process("paused", {"reason": str(halt)}, branch=kit["branch"], step=kit["step"])
            self._rest("paused")
            return
        runtime.settle(STOP)
        with runtime.stopping:  # not before the inbox has it
            record_stops(self._memory, runtime.recorder, kit["branch"], kit["step"], reason=str(halt))
        runtime.gate.withdraw()
        self._rest("stopped")

    def _failed(self, runtime: live.Runtime, error: Exception) -> None:
        """A node has raised; the session can be resumed. Where another process took over, that one writes."""
        if isinstance(error, SessionBusy):
            return
        told = {"type": type(error).__name__, "text": str(error)}
        with suppress(LoopwrightError):  # the error itself is raised, whatever the memory can still take
            runtime.wait_idle()
            kit = self._kit()
            self._rest("paused")
            runtime.recorder.record_process("error", told, branch=kit["branch"], step=kit["step"])

    @property
    def _config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": self.id}, "recursion_limit": RECURSION_LIMIT}

    @contextmanager
    def _held(self) -> Iterator[live.Runtime]:
        self._permitted = self._memory.inbox.newest(self.id)  # what came before is known to whoever lets it run
        with self._memory.sessions.acquire(self.id) as lease:
            row = self._memory.sessions.get(self.id)
            runtime = open_runtime(self.loop, row, self._memory, lease, models=self.models, devices=self.devices)
            self._runtime, self._drain = runtime, runtime.recorder.drain
            try:
                with live.registered(runtime):
                    yield runtime
            finally:
                self._runtime = None

    def _require_runnable(self, runtime: live.Runtime) -> None:
        row = self._memory.sessions.get(self.id)
        row.require_going_on()
        if row.parent is not None and not any(e.kind == "forked" for e in runtime.recorder.events):
            raise BadInput(f"Session {self.id} is a fork that was not finished. Fork {row.parent} again.")

    def _begin(self, runtime: live.Runtime) -> None:
        self._settle(runtime)
        if runtime.recorder.events:
            kit, told, code = self._kit(), {"from": self.status}, code_digest(self.loop)
            if code != runtime.recorder.events[0].payload.get("code"):
                told["code"] = code
            runtime.recorder.record_process("resumed", told, branch=kit["branch"], step=kit["step"])
        else:
            runtime.recorder.record_process("started", versions(self.loop, runtime), branch=0, step=0)
        self._rest("running")

    def _settle(self, runtime: live.Runtime) -> None:
        """Bring record, ledger, worlds and checkpoint of a session together that was interrupted anywhere.

        A STOP that came before it was let run is on record, and over; a later one is still to be obeyed.
        """
        kit = self._kit()
        if record_stops(self._memory, runtime.recorder, kit["branch"], kit["step"], up_to=self._permitted):
            runtime.gate.withdraw()
        self._memory.inbox.clear_stop(self.id, up_to=self._permitted)
        if runtime.recorder.events:
            take_over(runtime)
        self._rewinder(runtime).finish()

    def _rewinder(self, runtime: live.Runtime) -> Rewinder:
        return Rewinder(self.loop, self._graph, self._config, runtime)

    def _run(self, runtime: live.Runtime, wait: Wait, config: RunnableConfig) -> Iterator[SessionEvent]:
        begun = bool(self._graph.get_state(self._config).values)
        given: Any = None if begun else first_input(runtime)
        while True:
            yield from self._shown(runtime.recorder.drain())
            n_heard = runtime.gate.n_heard
            # "values" come once a node's checkpoint is written, and its events with it
            for _ in self._graph.stream(given, config, stream_mode="values", durability="sync"):
                yield from self._shown(runtime.recorder.drain())
                runtime.require_active()
            yield from self._shown(runtime.recorder.drain())
            snapshot = self._graph.get_state(self._config)
            if not snapshot.interrupts:
                return
            self._rest("waiting")
            has_news = runtime.has_unread() or runtime.gate.n_heard > n_heard
            while not has_news:
                runtime.require_active()
                goes_on = wait() if callable(wait) else wait  # asked first: its last word may come with a message
                has_news = runtime.has_unread()
                if not has_news and not goes_on:
                    return
                if not has_news:
                    runtime.cancel.wait(WAIT_POLL_S)
            runtime.require_active()
            self._rest("running")
            given = Command(resume={each.id: True for each in snapshot.interrupts})

    def _shown(self, events: Iterable[Event]) -> list[SessionEvent]:
        return [SessionEvent.of(event, self.loop, self._memory) for event in events]

    def __repr__(self) -> str:
        return f"<session {self.id}: {self.status}>"

    def _repr_html_(self) -> str:
        return session_html(f"{self.id}: {self.status}", self.events)

    def _kit(self) -> Any:
        return kit_of(self._graph, self._config)


def first_input(runtime: live.Runtime) -> dict[str, Any]:
    """What the graph of a new session is begun with."""
    return {**initial_values(runtime.scopes[""]), "status": "running", "reason": "", "kit": kit_state()}
