"""Replaying a session from its log: what came from outside is read, what code derived is computed anew and compared."""

from collections.abc import Sequence

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from loopwright.agents.journal import RecordEnded, ReplayJournal
from loopwright.agents.session import RECURSION_LIMIT, Runtime
from loopwright.schema import Event


def run_again(runtime: Runtime, journal: ReplayJournal, thread_id: str) -> None:
    """Drive the graph through the record: interrupts are answered from it, rewinds are made where it made them."""
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}, "recursion_limit": RECURSION_LIMIT}
    given: object = runtime.initial
    forked = [e for e in journal.copy_process_events() if e.kind == "forked"]
    if forked:
        runtime.graph.update_state(config, forked[0].payload["state"], as_node=runtime.observing)
        given = None
    while True:
        try:
            runtime.graph.invoke(given, config, durability="sync")
            ended = not runtime.graph.get_state(config).next
            given = Command(resume=True)
        except RecordEnded:
            ended = True
        if not ended:
            continue
        rewinds = [e for e in journal.copy_process_events() if e.kind == "rewound"]
        if not rewinds:
            return
        to = rewinds[-1]
        snapshot = next(
            s
            for s in runtime.graph.get_state_history(config)
            if s.values.get("step") == to.payload["to"] and s.next == (runtime.observed,)
        )
        runtime.graph.update_state(snapshot.config, {"branch": to.branch, "visit": 0}, as_node=runtime.observing)
        given = None


def first_difference(record: Sequence[Event], replayed: Sequence[Event]) -> str | None:
    """The first event whose reproducible part differs, in words; None where all hash equal."""
    for recorded, again in zip(record, replayed, strict=False):
        if recorded.payload_hash != again.payload_hash:
            return (
                f"event {recorded.seq} ({recorded.kind}, step {recorded.step}): recorded {recorded.payload!r}, "
                f"replayed {again.kind} {again.payload!r}"
            )
    if len(record) != len(replayed):
        return f"{len(record)} events were recorded, {len(replayed)} replayed"
    return None
