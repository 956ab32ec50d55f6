"""A session: one durable run of a loop with a world, models, a memory and a human.

It streams the loop's graph, waits for answers, and keeps on record what happened to the process itself. Killing it at
any moment loses nothing: the checkpoint says where to resume, the record what is known, the ledger what was sent.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from loopwright.agents.feedback import is_stop
from loopwright.agents.sessions.recorder import Recorder
from loopwright.errors import BadInput, Halted, LoopwrightError, SessionBusy, Stopped
from loopwright.graphs.loop import runtime as live
from loopwright.graphs.loop.compile import initial_values, kit_state
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.forking import remember_parent
from loopwright.graphs.loop.models import Given
from loopwright.graphs.loop.serve import RECURSION_LIMIT, graph_of, open_runtime
from loopwright.memory import Memory
from loopwright.schema import Event, Stop
from loopwright.tools.actuate import STOP

WAIT_POLL_S = 0.05
ENDED = ("succeeded", "failed")


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

    @property
    def memory(self) -> Memory:
        """Where it is recorded."""
        return self._memory

    @property
    def status(self) -> str:
        """As the memory has it."""
        return self._memory.sessions.get(self.id).status

    @property
    def state(self) -> dict[str, Any]:
        """The loop's state at the last checkpoint; empty before the first step."""
        return {n: v for n, v in self._graph.get_state(self._config).values.items() if n != "kit"}

    @property
    def events(self) -> list[Event]:
        """The record, oldest first."""
        return self._memory.events.read(self.id)

    def say(self, text: str, *, author: str = "clinician") -> None:
        """Say something; it is heard between nodes and before acts, a STOP at once."""
        deliver(self._memory, self.id, text, author=author)

    def pause(self) -> None:
        """Come to rest after what is running. Thread-safe; meant for signal handlers."""
        if self._runtime is not None:
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
        with self.held() as runtime:
            try:
                yield from self._run(runtime, wait)
            except Halted as halt:
                self.halted(halt)
            except Exception as error:
                self.failed(error)
                raise
            yield from runtime.recorder.drain()

    def run(self, *, wait: bool = False) -> str:
        """`stream` to its end; the status that the session came to rest with."""
        for _ in self.stream(wait=wait):
            pass
        return self.status

    async def astream(self, *, wait: bool = False) -> AsyncIterator[Event]:
        """`stream` for async code. Cancelling it pauses the session, and waits until the running node has let go."""
        events = self.stream(wait=wait)
        threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"session-{self.id}")
        loop = asyncio.get_running_loop()
        running: asyncio.Future[Event | None] | None = None
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

    async def arun(self, *, wait: bool = False) -> str:
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
            branch = self._kit()["branch"] + 1
            self._rewind(runtime, self.observed_at(step), branch, step)
            self._memory.sessions.set_status(self.id, "paused")

    def observed_at(self, step: int) -> StateSnapshot:
        """The checkpoint right after the first node of `step`, of the newest branch that has it.

        Raises:
            BadInput: the session has no such step.
        """
        return observed_at(self._graph, self._config, step)

    def adopt(self, snapshot: StateSnapshot, facts: Mapping[str, Any]) -> None:
        """Begin as a fork: take over the parent's past and state, and name the parent in the first event."""
        kit = {**snapshot.values["kit"], "branch": 0}
        values = {**snapshot.values, "kit": kit}
        with self._held() as runtime:
            payload = {**facts, **versions(self.loop, runtime), "state": values, "next": list(snapshot.next)}
            runtime.recorder.record_process("forked", payload, branch=0, step=kit["step"])
            remember_parent(self._memory, facts["parent"], self.id, kit["step"], values)
            for path in runtime.worlds:
                actuator = runtime.actuator(runtime.scopes[path])
                actuator.restore(f"{self.id}/fork/{path}", kit["snapshots"][path], step=kit["step"], by="human")
            goto = Command(update=values, goto=list(snapshot.next))
            self._graph.update_state(self._config, goto, as_node=self.loop.entry.name)
            self._memory.sessions.set_status(self.id, "paused")

    # One hold of the session

    @contextmanager
    def held(self) -> Iterator[live.Runtime]:
        """Hold the session and let it run: its nodes find it, and a STOP reaches it.

        Raises:
            SessionBusy: another live process runs this session.
            BadInput: the session has already ended.
        """
        with self._held() as runtime:
            self._begin(runtime)
            with live.watching_for_stop(runtime):
                yield runtime

    def rest(self, status: Any) -> None:
        """The graph has come to rest in `status`."""
        self._memory.sessions.set_status(self.id, status)

    def rest_as_graph(self) -> None:
        """The graph has come to its end, or waits for an answer."""
        snapshot = self._graph.get_state(self._config)
        self.rest("waiting" if snapshot.interrupts else snapshot.values["status"])

    def halted(self, halt: Halted) -> None:
        """A human has halted it."""
        runtime, kit = self._live, self._kit()
        kind: Literal["stopped", "paused"] = "stopped" if isinstance(halt, Stopped) else "paused"
        if kind == "stopped":
            if self._memory.ledger.of(self.id):
                for path in runtime.worlds:
                    runtime.actuator(runtime.scopes[path]).settle(refuse=STOP)
            record_stops(self._memory, runtime.recorder, kit["branch"], kit["step"], reason=str(halt))
            runtime.gate.withdraw()
        else:
            runtime.recorder.record_process(kind, {"reason": str(halt)}, branch=kit["branch"], step=kit["step"])
        self.rest(kind)

    def failed(self, error: Exception) -> None:
        """A node has raised; the session can be resumed. Where another process took over, that one writes."""
        if isinstance(error, SessionBusy):
            return
        kit = self._kit()
        told = {"type": type(error).__name__, "text": str(error)}
        with suppress(LoopwrightError):  # the error itself is raised, whatever the memory can still take
            self.rest("paused")
            self._live.recorder.record_process("error", told, branch=kit["branch"], step=kit["step"])

    @property
    def _live(self) -> live.Runtime:
        assert self._runtime is not None, "only a session that is held"
        return self._runtime

    @property
    def _config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": self.id}, "recursion_limit": RECURSION_LIMIT}

    @contextmanager
    def _held(self) -> Iterator[live.Runtime]:
        with self._memory.sessions.acquire(self.id) as lease:
            row = self._memory.sessions.get(self.id)
            runtime = open_runtime(self.loop, row, self._memory, lease, models=self.models, devices=self.devices)
            self._runtime = runtime
            live.register(runtime)
            try:
                yield runtime
            finally:
                runtime.wait_idle()
                live.unregister(self.id)
                self._runtime = None

    def _begin(self, runtime: live.Runtime) -> None:
        row = self._memory.sessions.get(self.id)
        if row.status in ENDED:
            raise BadInput(
                f"Session {self.id} has {row.status}. Rewind it (`loopwright sessions rewind {self.id} STEP`) or "
                "start a new one."
            )
        if not runtime.recorder.events:
            runtime.recorder.record_process("started", versions(self.loop, runtime), branch=0, step=0)
        else:
            self._settle(runtime)
            kit = self._kit()
            runtime.recorder.record_process("resumed", {"from": row.status}, branch=kit["branch"], step=kit["step"])
        self._memory.sessions.set_status(self.id, "running")

    def _settle(self, runtime: live.Runtime) -> None:
        """Bring record, ledger, worlds and checkpoint of a session together that was interrupted anywhere."""
        kit = self._kit()
        if record_stops(self._memory, runtime.recorder, kit["branch"], kit["step"]):
            runtime.gate.withdraw()
        self._memory.inbox.clear_stop(self.id)
        if self._memory.ledger.of(self.id):
            for path in runtime.worlds:
                runtime.actuator(runtime.scopes[path]).take_over(runtime.lease.token)
        self._finish_rewind(runtime)

    def _finish_rewind(self, runtime: live.Runtime) -> None:
        """A rewind that was killed is finished: a human had ordered it."""
        begun = [e for e in runtime.recorder.events if e.kind == "rewinding"]
        if begun and begun[-1].branch > self._kit()["branch"]:
            self._rewind(runtime, self.observed_at(begun[-1].payload["to"]), begun[-1].branch, begun[-1].payload["to"])

    def _rewind(self, runtime: live.Runtime, snapshot: StateSnapshot, branch: int, step: int) -> None:
        """An act like any other: written down, done to each world once, then recorded and checkpointed."""
        told = {"from": self._kit()["step"], "to": step}
        if not any(e.kind == "rewinding" and e.branch == branch for e in runtime.recorder.events):
            runtime.recorder.record_process("rewinding", told, branch=branch, step=step)
        for path in runtime.worlds:
            actuator = runtime.actuator(runtime.scopes[path])
            actuator.restore(
                f"{self.id}/rewind.{branch}/{path}", snapshot.values["kit"]["snapshots"][path], step=step, by="human"
            )
        if not any(e.kind == "rewound" and e.branch == branch for e in runtime.recorder.events):
            runtime.recorder.record_process("rewound", told, branch=branch, step=step)
        runtime.gate.withdraw()
        rewind_graph(self._graph, self.loop, snapshot, branch)

    def _run(self, runtime: live.Runtime, wait: bool) -> Iterator[Event]:
        begun = bool(self._graph.get_state(self._config).values)
        given: Any = None if begun else first_input(runtime)
        while True:
            yield from runtime.recorder.drain()
            for _ in self._graph.stream(given, self._config, stream_mode="updates", durability="sync"):
                yield from runtime.recorder.drain()
                runtime.require_active()
            yield from runtime.recorder.drain()
            snapshot = self._graph.get_state(self._config)
            if not snapshot.interrupts:
                self._memory.sessions.set_status(self.id, snapshot.values["status"])
                return
            self._memory.sessions.set_status(self.id, "waiting")
            if not wait and not runtime.has_unread():
                runtime.require_active()
                return
            while not runtime.has_unread():
                runtime.cancel.wait(WAIT_POLL_S)
                runtime.require_active()
            self._memory.sessions.set_status(self.id, "running")
            given = Command(resume={each.id: True for each in snapshot.interrupts})

    def _kit(self) -> Any:
        return self._graph.get_state(self._config).values.get("kit") or kit_state()


def first_input(runtime: live.Runtime) -> dict[str, Any]:
    """What the graph of a new session is begun with."""
    return {**initial_values(runtime.scopes[""]), "status": "running", "reason": "", "kit": kit_state()}


def observed_at(graph: Any, config: RunnableConfig, step: int) -> StateSnapshot:
    """The checkpoint right after the first node of `step`, of the newest branch that has it.

    Raises:
        BadInput: the session has no such step.
    """
    history = list(graph.get_state_history(config))
    found = [
        each
        for each in history
        if (kit := each.values.get("kit")) and kit["step"] == step and kit["tick"] and each.next
    ]
    if not found:
        reached = max((each.values["kit"]["step"] for each in history if each.values.get("kit")), default=0)
        raise BadInput(f"`step` {step} was not reached; the session came to step {reached}.")
    newest: StateSnapshot = min(found, key=lambda each: (-each.values["kit"]["branch"], each.values["kit"]["tick"]))
    return newest


def rewind_graph(graph: Any, loop: Declaration, snapshot: StateSnapshot, branch: int) -> None:
    """Stand where `snapshot` stands, on a new branch."""
    kit = {**snapshot.values["kit"], "branch": branch}
    goto = Command(update={"kit": kit, "status": "running"}, goto=list(snapshot.next))
    graph.update_state(snapshot.config, goto, as_node=loop.entry.name)


def versions(loop: Declaration, runtime: live.Runtime) -> dict[str, Any]:
    """What the record's first event says of the code and the models that ran."""
    used = {role: runtime.model(role).facts for role in runtime.roles}
    nodes = [[each.name for each in layer] for layer in loop.layers]
    return {
        "loop": loop.name,
        "version": loop.version,
        "nodes": nodes,
        "loopwright": version("loopwright"),
        "models": used,
    }


def record_stops(memory: Memory, recorder: Recorder, branch: int, step: int, *, reason: str = "") -> int:
    """Each STOP that was delivered becomes an event, once, and withdraws what was asked for before it; their number."""
    stops = [message for message in memory.inbox.unread(recorder.session_id) if message.is_stop]
    done = [e for e in memory.ledger.of(recorder.session_id) if e.outcome is not None and e.outcome.status == "done"]
    last = done[-1].act.model_dump(mode="json") if done else None
    reasons = [f"{message.author}: {message.text}" for message in stops] or ([reason] if reason else [])
    for why in reasons:
        payload = {"reason": why, "acts_sent": len(done), "last_act_sent": last}
        recorder.record_process("stopped", payload, branch=branch, step=step)
    for message in stops:
        memory.inbox.mark_read(message.id, Stop().model_dump(mode="json"), step)
    return len(reasons)


def deliver(memory: Memory, session_id: str, text: str, *, author: str = "clinician") -> None:
    """Say something to a session of any status, from any process.

    A STOP to a session that nobody runs is recorded at once, and the session is `stopped`.

    Raises:
        BadInput: the session has ended: there is nothing to stop or to hear.
    """
    row = memory.sessions.get(session_id)
    if row.status in ENDED:
        raise BadInput(f"Session {session_id} has {row.status}; it hears nothing any more.")
    live.say(memory, session_id, text, author=author)
    if not is_stop(text) or live.find_runtime(session_id) is not None:
        return
    with suppress(SessionBusy), memory.sessions.acquire(session_id):
        events = memory.events.read(session_id)
        branch, step = (events[-1].branch, events[-1].step) if events else (0, 0)
        record_stops(memory, Recorder(memory, session_id), branch, step)
        memory.sessions.set_status(session_id, "stopped")
