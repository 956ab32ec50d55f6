"""Beginning, resuming, forking and replaying sessions of a loop."""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from loopwright.agents.sessions.recorder import RecordEnded, ReplayRecorder
from loopwright.agents.sessions.replay import first_difference, first_state_difference
from loopwright.errors import BadInput
from loopwright.graphs.loop import runtime as live
from loopwright.graphs.loop.config import RunConfig, problems
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.models import Given, kept_models
from loopwright.graphs.loop.rewinding import fork_graph, observed_at, rewind_graph
from loopwright.graphs.loop.serve import RECURSION_LIMIT, default_memory, graph_of, open_runtime
from loopwright.graphs.loop.session import Session, first_input
from loopwright.memory import Memory, open_memory
from loopwright.schema import Event

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class Replay(NamedTuple):
    """`difference` is None where every replayed payload hashed equal; `n` counts the events of the record."""

    n: int
    difference: str | None


def start(
    loop: Declaration, memory: Memory | None, *, models: Given | None, devices: Path | None, config: Mapping[str, Any]
) -> Session:
    """See `Loop.start`."""
    kept = prepared(loop, configured(loop, config), models)
    memory = memory or default_memory()
    row = memory.sessions.create(loop.name, kept)
    return Session(loop, memory, row.id, models=models, devices=devices)


def resume(
    loop: Declaration, session_id: str, memory: Memory | None, *, models: Given | None, devices: Path | None
) -> Session:
    """See `Loop.resume`."""
    memory = memory or default_memory()
    row = memory.sessions.get(session_id)
    if row.loop != loop.name:
        raise BadInput(f"Session {session_id} is of the loop {row.loop!r}, not of {loop.name!r}.")
    return Session(loop, memory, session_id, models=models, devices=devices)


def configured(loop: Declaration, values: Mapping[str, Any]) -> RunConfig:
    """A run's configuration.

    Raises:
        BadInput: naming each value that will not do.
    """
    try:
        return loop.config.model_validate(dict(values))
    except ValidationError as error:
        raise BadInput(
            f"{problems(error)}. Settings of {loop.name!r}: {', '.join(loop.config.model_fields)}."
        ) from error


def prepared(loop: Declaration, config: RunConfig, models: Given | None) -> dict[str, Any]:
    """What a session keeps: the configuration of each loop in it, what was prepared for it, and the models' cards."""
    scopes: dict[str, Any] = {}

    def add(each: Declaration, path: str, own: RunConfig) -> None:
        made = each.prepare(own) if each.prepare else {}
        scopes[path] = {"config": own.model_dump(mode="json"), "prepared": made}
        for name, inner in each.nested.items():
            shared = {"approval": config.approval, "on_uncertain": config.on_uncertain}
            add(inner, f"{path}/{name}".strip("/"), configured(inner, shared))

    add(loop, "", config)
    return {"scopes": scopes, "models": kept_models(all_roles(loop, config), models)}


def all_roles(loop: Declaration, config: RunConfig) -> dict[str, Any]:
    """The roles of a loop and of those nested in it."""
    roles = dict(loop.roles_of(config))
    for inner in loop.nested.values():
        roles |= all_roles(inner, configured(inner, {}))
    return roles


def fork(session: Session, step: int) -> Session:
    """A new session that begins where `session` stood after observing `step`; the parent is left as it is."""
    memory, loop = session.memory, session.loop
    snapshot = session.observed_at(step)
    head, row = memory.events.head(session.id), memory.sessions.get(session.id)
    child = memory.sessions.create(row.loop, row.config, parent=session.id)
    forked = Session(loop, memory, child.id, models=session.models, devices=session.devices)
    forked.adopt(session.id, head, snapshot)
    return forked


def replay(loop: Declaration, memory: Memory, session_id: str) -> Replay:
    """Run a session's loop again from its record, without model, world or human, and compare every payload."""
    record = memory.events.read(session_id)
    with (
        tempfile.TemporaryDirectory(prefix="loopwright-replay-") as folder,
        open_memory(f"sqlite:///{Path(folder) / 'replay.sqlite'}") as scratch,
    ):
        row = scratch.sessions.create(loop.name, memory.sessions.get(session_id).config)
        with scratch.sessions.acquire(row.id) as lease:
            recorder = ReplayRecorder(scratch, row.id, record)
            runtime = open_runtime(loop, row, scratch, lease, devices=Path(folder), recorder=recorder)
            with live.registered(runtime):
                _run_again(loop, runtime, record)
        states = _states(loop, memory, session_id), _states(loop, scratch, row.id)
        found = first_state_difference(record, *states), first_difference(record, scratch.events.read(row.id))
    return Replay(len(record), "; ".join(filter(None, found)) or None)


def _states(loop: Declaration, memory: Memory, session_id: str) -> dict[tuple[int, int], dict[str, Any]]:
    """The state after the nodes of each (branch, tick): of several checkpoints the oldest, as `observed_at` has it."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for saved in memory.checkpointer().list({"configurable": {"thread_id": session_id, "checkpoint_ns": ""}}):
        values = saved.checkpoint["channel_values"]
        if kit := values.get("kit"):
            found[kit["branch"], kit["tick"]] = {n: v for n, v in values.items() if n in loop.written_keys}
    return found


def _run_again(loop: Declaration, runtime: live.Runtime, record: list[Event]) -> None:
    """Drive the graph through the record, and rewind it where the record was rewound."""
    graph = graph_of(loop, runtime.memory)
    config: RunnableConfig = {
        "configurable": {"thread_id": runtime.session_id},
        "recursion_limit": RECURSION_LIMIT,
    }
    begun_with: dict[str, Any] = next((e.payload["state"] for e in record if e.kind == "input"), {})
    given: Any = {**first_input(runtime), **begun_with}
    first = record[0] if record else None
    if first is not None and first.kind == "forked":
        fork_graph(graph, loop, config, first)
        given = None
    rewinds = [e for e in record if e.kind == "rewound"]
    failures = {(e.payload["type"], e.payload["text"]) for e in record if e.kind == "error"}
    while True:
        _run_on(graph, given, config, failures)
        runtime.recorder.flush()
        if not rewinds:
            return
        to = rewinds.pop(0)
        runtime.gate.withdraw()
        try:
            snapshot = observed_at(graph, config, to.payload["to"])
        except BadInput:  # the replay left the record before that step: the comparison says where
            return
        rewind_graph(graph, loop, snapshot, to.branch)
        given = None


def _run_on(graph: Any, given: Any, config: "RunnableConfig", failures: Collection[tuple[str, str]]) -> None:
    """Run to the end of the graph or of the record, or to where a node raises what one raised then."""
    try:
        graph.invoke(given, config, durability="sync")
    except RecordEnded:
        return
    except Exception as error:
        if (type(error).__name__, str(error)) in failures:
            return
        raise
