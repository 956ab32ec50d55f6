"""A live session: its lease, record, gate, worlds and models, found by the nodes of the loop's graph by session id.

The graph is compiled once for a loop; what belongs to one session is here. Opened by a `Session`, or by the first node
where the graph is run without one (by a LangGraph server); without a lease nothing acts. A replay has no lease and no
world.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage

from loopwright.agents.feedback import is_stop
from loopwright.agents.sessions.gate import FeedbackGate
from loopwright.agents.sessions.interpreting import Interpreter
from loopwright.agents.sessions.recorder import Place, RecordEnded, Recorder, ReplayRecorder
from loopwright.errors import BadInput, OperatorError, UnknownName
from loopwright.graphs.loop.budget import BudgetKeeper
from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.human import message_of
from loopwright.graphs.loop.models import INTERPRETER, ModelHandle, find_model
from loopwright.log import get_logger
from loopwright.memory import Lease, Memory
from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import ask
from loopwright.models.background import until_halted
from loopwright.schema import Act, CancelToken, Outcome, Verdict, World
from loopwright.tools.actuate import Actuator
from loopwright.tools.contract import ToolContext

_log = get_logger(__name__)


class Visit(NamedTuple):
    """One visit of a node. `path` leads to it through outer loops, `tick` counts the node visits before it."""

    branch: int
    step: int
    path: str
    node: str
    visit: int
    tick: int

    @property
    def key(self) -> str:
        """What the keys of its entries begin with."""
        return f"{self.branch}/{self.path}{self.node}.{self.visit}"


class LateWorld:
    """A world that is opened when it is first needed; whoever is halted by `cancel` does not wait for it."""

    def __init__(self, open_: Callable[[], World]) -> None:
        self.cancel = CancelToken()
        self._open = open_
        self._lock = threading.Lock()
        self._world: World | None = None

    @property
    def opened(self) -> World:
        """The world itself."""
        with self._lock:
            if self._world is None:
                self._world = until_halted(self._open, self.cancel)
            return self._world

    def __getattr__(self, name: str) -> Any:
        return getattr(self.opened, name)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One loop of a session: the outer one, or a nested one, with its configuration and its world."""

    loop: Declaration
    path: str
    config: RunConfig
    prepared: dict[str, Any]
    world: Any = None

    @property
    def judges(self) -> bool:
        """Whether the world has a guard of its own, or counts; known without opening it, if it is a class."""
        world = self.loop.world
        return not isinstance(world, type) or hasattr(world, "check") or hasattr(world, "spent")

    def check(self, act: Act) -> tuple[Verdict, dict[str, float]]:
        """What the world's own guard says of an act, and what the world counts."""
        if self.world is None:
            return Verdict(ok=False, rule="world", reason=f"the loop {self.loop.name!r} has no world to act on"), {}
        world = self.world.opened
        verdict = world.check(act) if hasattr(world, "check") else Verdict(ok=True)
        return verdict, dict(world.spent()) if hasattr(world, "spent") else {}

    @property
    def examples(self) -> tuple[str, ...]:
        """What can be said to it, in its own types."""
        return tuple(example for each in self.loop.feedback for example in each.examples[:1])


class Runtime:
    """What the nodes of one session share. Thread-safe."""

    def __init__(
        self,
        memory: Memory,
        session_id: str,
        recorder: Recorder,
        scopes: Mapping[str, Scope],
        models: Mapping[str, ModelHandle],
        *,
        lease: Lease,
    ) -> None:
        self.memory, self.session_id, self.recorder = memory, session_id, recorder
        self.scopes, self.lease = scopes, lease
        self.cancel = CancelToken()
        self.is_checkpointed = False
        self._idle, self._n_running = threading.Condition(), 0
        self.acting = threading.RLock()
        self.stopping = threading.Lock()
        """Held from when a STOP of this process halts the session until the inbox has it."""
        language = scopes[""].loop.language
        interpreter = Interpreter(language, self._interpret) if INTERPRETER in models else None
        self.gate = FeedbackGate(memory, recorder, language, self.cancel, interpreter)
        self.budget = BudgetKeeper(scopes[""].loop.budget_of(scopes[""].config), recorder)
        self._ticks: dict[tuple[int, str], int] = {}
        for event in recorder.events:
            if event.kind == "node":
                self.note_tick(event.branch, event.payload["path"], event.payload["tick"])
        for world in self.worlds.values():
            world.cancel = self.cancel
        self._models = models
        self._begun_s = time.monotonic()

    def _interpret(self, prompt: Sequence[BaseMessage], answer: AnswerFormat[dict[str, Any]]) -> dict[str, Any] | None:
        """What the model makes of a message that rules do not understand; None where it has no answer."""
        try:
            return ask(self.model(INTERPRETER).opened(self.cancel), prompt, answer, cancel=self.cancel, retries=0).value
        except (OperatorError, BadInput) as error:
            _log.warning("the interpreter has no answer", said=str(error))
            return None

    @property
    def is_replay(self) -> bool:
        """Whether a record is run again: nothing is asked, and nothing acts."""
        return isinstance(self.recorder, ReplayRecorder)

    @property
    def running_s(self) -> float:
        """How long the session runs, since it was begun or resumed, s."""
        return time.monotonic() - self._begun_s

    @contextmanager
    def running_node(self) -> Iterator[None]:
        """Count a node that runs, so that nobody lets the session go under it."""
        with self._idle:
            self._n_running += 1
        try:
            yield
        finally:
            with self._idle:
                self._n_running -= 1
                self._idle.notify_all()

    def wait_idle(self) -> None:
        """Wait until no node runs; the cancel token makes that soon."""
        with self._idle:
            self._idle.wait_for(lambda: self._n_running == 0)

    def require_active(self) -> None:
        """Raise what halts the session, or that another process holds it."""
        self.cancel.raise_if_set()
        self.lease.check()

    def require_live(self, key: str) -> None:
        """Raise `RecordEnded` where a replay comes to what is not on record."""
        if self.is_replay:
            raise RecordEnded(f"The record holds no {key!r}.")

    def note_tick(self, branch: int, path: str, tick: int) -> None:
        """A node of this tick has begun."""
        self._ticks[branch, path] = max(tick, self.newest_tick(branch, path))

    def newest_tick(self, branch: int, path: str) -> int:
        """Of the nodes that have begun, 0 where none has."""
        return self._ticks.get((branch, path), 0)

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom the loop asks."""
        return tuple(self._models)

    def model(self, role: str) -> ModelHandle:
        """The model in `role`."""
        return find_model(self._models, role)

    def tool_context(self, scope: Scope, visit: Visit, key: str) -> ToolContext:
        """What a tool is handed: nothing that acts."""
        return ToolContext(
            session_id=self.session_id,
            step=visit.step,
            branch=visit.branch,
            call_id=key,
            world=scope.world,
            memory=self.memory,
            cancel=self.cancel,
        )

    def acting_context(
        self, scope: Scope, visit: Visit, key: str, by: Literal["guard", "human"], approved_at: datetime | None
    ) -> ToolContext:
        """What a tool is handed whose act was judged, and approved at that time (None: now)."""
        actuator = self.actuator(scope)

        def send(ledger_key: str, act: Act, timeout_s: float) -> Outcome:
            return actuator.act_anew(
                ledger_key, act, step=visit.step, by=by, approved_at=approved_at, timeout_s=timeout_s
            )

        return replace(self.tool_context(scope, visit, key), send=send)

    def refuse(self, scope: Scope, visit: Visit, key: str, tool: str, act: Act, reason: str) -> None:
        """Put on the ledger that an act is not to be sent."""
        ledger_key = self.tool_context(scope, visit, key).key(tool)
        self.actuator(scope).refuse_anew(ledger_key, act, step=visit.step, reason=reason)

    def settle(self, refuse: str, *, keep: str = "") -> None:
        """Learn from every world what became of open acts, and refuse what none of them knows, for this reason.

        Acts whose keys begin with `keep`, where it is given, stay open.
        """
        ledger = self.memory.ledger
        if ledger.unsettled(self.session_id):
            for path, world in self.worlds.items():
                world.cancel = CancelToken()  # it has to be asked, however long it takes to open
                self.actuator(self.scopes[path]).settle()
        for entry in ledger.unsettled(self.session_id):
            if not keep or not entry.key.startswith(keep):
                ledger.refuse(entry.key, refuse)

    def was_sent(self, visit: Visit, key: str, tool: str) -> bool:
        """Whether the act of an entry has an outcome; the takeover has asked the world for what was open."""
        ledger_key = self.tool_context(self.scopes[""], visit, key).key(tool)
        of = self.memory.ledger.of(self.session_id)
        return any(e.outcome is not None and e.key.rpartition(".")[0] == ledger_key for e in of)

    def actuator(self, scope: Scope) -> Actuator:
        """The only door to a scope's world."""
        return Actuator(scope.world, self.memory.ledger, self.session_id, self.cancel)

    @cached_property
    def worlds(self) -> dict[str, Any]:
        """Every world once, by the path of the first scope that has it."""
        found: dict[str, Any] = {}
        for path, scope in self.scopes.items():
            if scope.world is not None and all(scope.world is not other for other in found.values()):
                found[path] = scope.world
        return found

    def snapshots(self) -> dict[str, Any]:
        """The state of every world, by path."""
        return {} if self.is_replay else {path: world.snapshot() for path, world in self.worlds.items()}

    def has_unread(self) -> bool:
        """Whether anything waits to be heard."""
        return self.memory.inbox.has_news(self.session_id)

    def deliver(self, place: Place, value: Any) -> None:
        """A value that the graph was resumed with enters the inbox, once, like any message."""
        text, author = (value, "clinician") if isinstance(value, str) else _message_of(value)

        self.recorder.record_external(place, "resumed_with", lambda: {"value": value})
        since = self.recorder.written_at(place.key)
        put = (m for m in self.memory.inbox.since(self.session_id, 0) if m.received_at >= since)
        if not any((m.text, m.author) == (text.strip(), author) for m in put):  # recorded, and killed before it was put
            say(self.memory, self.session_id, text, author=author)
        self.require_active()

    def recall(self, read: str, step: int, arguments: Mapping[str, Any]) -> Any:
        """A named read of the memory. See `Context.recall`."""
        steps = self.memory.steps
        match read:
            case "history":
                past = steps.near_history(self.session_id, before_step=step, **arguments)
                return past.model_dump(mode="json")
            case "similar":
                loop = self.scopes[""].loop.name
                return [row.model_dump(mode="json") for row in steps.similar(loop, **arguments)]
            case "corrections":
                found = self.memory.events.corrections(self.scopes[""].loop.name)
                wanted = dict(arguments.get("where", {})).items()
                earlier = [e.payload for e in found if e.session_id != self.session_id and wanted <= e.payload.items()]
                return earlier[-arguments.get("n", 20) :]
        raise UnknownName("read of the memory", read, ("history", "similar", "corrections"))


_RUNTIMES: dict[tuple[Memory, str], Runtime] = {}
_LOCK = threading.Lock()


@contextmanager
def registered(runtime: Runtime) -> Iterator[None]:
    """Let the nodes of the session's graph find it, until no node runs any more."""
    place = runtime.memory, runtime.session_id
    with _LOCK:
        _RUNTIMES[place] = runtime
    try:
        yield
    finally:
        runtime.wait_idle()
        with _LOCK:
            del _RUNTIMES[place]


def find_runtime(memory: Memory, session_id: str) -> Runtime | None:
    """The live session of this id, None where this process runs none."""
    with _LOCK:
        return _RUNTIMES.get((memory, session_id))


def say(memory: Memory, session_id: str, text: str, *, author: str = "clinician") -> None:
    """Put a message into a session's inbox. A STOP halts the session first where this process runs it."""
    runtime = find_runtime(memory, session_id)
    if runtime is None or not is_stop(text):
        memory.inbox.put(session_id, text, author=author, is_stop=is_stop(text))
        return
    with runtime.stopping:
        runtime.cancel.stop(f"{author}: {text}")
        memory.inbox.put(session_id, text, author=author, is_stop=True)


def _message_of(value: Any) -> tuple[str, str]:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return value["text"], str(value.get("author", "clinician"))
    if isinstance(value, dict) and "decisions" in value:
        return message_of(value), "clinician"
    raise BadInput(
        f"The session was resumed with {value!r}; expected text, {{'text': ..., 'author': ...}} or "
        "{'decisions': ...}."
    )
