"""Going back to a step, and beginning as a fork: acts like any other, which a process may die in the middle of.

Each is an event first, then an act of every world through the ledger, then a checkpoint. Whoever resumes the session
finishes what was begun: a human had ordered it.
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from loopwright.agents.sessions.export import image_refs
from loopwright.errors import BadInput
from loopwright.graphs.loop.compile import kit_state
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.runtime import Runtime
from loopwright.memory import Memory
from loopwright.schema import Event


class Rewinder:
    """Moves one session's graph and worlds to where they stood before."""

    def __init__(self, loop: Declaration, graph: Any, config: RunnableConfig, runtime: Runtime) -> None:
        self._loop, self._graph, self._config, self._runtime = loop, graph, config, runtime

    def rewind(self, snapshot: StateSnapshot) -> None:
        """Go back to `snapshot`, on a new branch."""
        branch = kit_of(self._graph, self._config)["branch"] + 1
        self._rewind(snapshot, branch, snapshot.values["kit"]["step"])

    def fork(self, snapshot: StateSnapshot, facts: Mapping[str, Any]) -> None:
        """Begin as a fork that stands at `snapshot` of its parent; `facts` go into its first event."""
        state = {**snapshot.values, "kit": {**snapshot.values["kit"], "branch": 0}}
        payload = {**facts, "state": state, "next": list(snapshot.next)}
        step = state["kit"]["step"]
        self._begin_fork(self._runtime.recorder.record_process("forked", payload, branch=0, step=step))

    def finish(self) -> None:
        """Finish a fork or a rewind that was killed."""
        events, kit = self._runtime.recorder.events, kit_of(self._graph, self._config)
        if events and events[0].kind == "forked" and not kit["tick"]:
            self._begin_fork(events[0])
        begun = [e for e in events if e.kind == "rewinding"]
        if begun and begun[-1].branch > kit["branch"]:
            step = begun[-1].payload["to"]
            self._rewind(observed_at(self._graph, self._config, step), begun[-1].branch, step)

    def _rewind(self, snapshot: StateSnapshot, branch: int, step: int) -> None:
        runtime, told = self._runtime, {"from": kit_of(self._graph, self._config)["step"], "to": step}
        self._record_once("rewinding", told, branch, step)
        runtime.settle("REWOUND", keep=f"{runtime.session_id}/rewind.")  # what was left behind is not asked for again
        self._restore_worlds(f"rewind.{branch}", snapshot.values["kit"]["snapshots"], step)
        self._record_once("rewound", told, branch, step)
        runtime.gate.withdraw()
        rewind_graph(self._graph, self._loop, snapshot, branch)

    def _begin_fork(self, forked: Event) -> None:
        state = forked.payload["state"]
        self._restore_worlds("fork", state["kit"]["snapshots"], state["kit"]["step"])
        fork_graph(self._graph, self._loop, self._config, forked)

    def _restore_worlds(self, name: str, snapshots: Mapping[str, Any], step: int) -> None:
        runtime = self._runtime
        for path in runtime.worlds:
            key = f"{runtime.session_id}/{name}/{path}"
            runtime.actuator(runtime.scopes[path]).restore(key, snapshots[path], step=step, by="human")

    def _record_once(self, kind: str, payload: dict[str, Any], branch: int, step: int) -> None:
        recorder = self._runtime.recorder
        if not any(e.kind == kind and e.branch == branch for e in recorder.events):
            recorder.record_process(kind, payload, branch=branch, step=step)


def kit_of(graph: Any, config: RunnableConfig) -> Any:
    """The kit's channel at the newest checkpoint."""
    return graph.get_state(config).values.get("kit") or kit_state()


def observed_at(graph: Any, config: RunnableConfig, step: int) -> StateSnapshot:
    """The checkpoint right after the first node of `step`, of the newest branch that has it.

    Of several the oldest: what somebody else changed there by LangGraph's `update_state` is left out.

    Raises:
        BadInput: the session has no such step.
    """
    oldest_first = list(graph.get_state_history(config))[::-1]
    found = [
        each
        for each in oldest_first
        if (kit := each.values.get("kit")) and kit["step"] == step and kit["tick"] and each.next
    ]
    if not found:
        reached = max((each.values["kit"]["step"] for each in oldest_first if each.values.get("kit")), default=0)
        raise BadInput(f"`step` {step} was not reached; the session came to step {reached}.")
    newest: StateSnapshot = min(found, key=lambda each: (-each.values["kit"]["branch"], each.values["kit"]["tick"]))
    return newest


def rewind_graph(graph: Any, loop: Declaration, snapshot: StateSnapshot, branch: int) -> None:
    """Stand where `snapshot` stands, on a new branch."""
    kit = {**snapshot.values["kit"], "branch": branch}
    goto = Command(update={"kit": kit, "status": "running"}, goto=list(snapshot.next))
    graph.update_state(snapshot.config, goto, as_node=loop.entry.name)


def fork_graph(graph: Any, loop: Declaration, config: RunnableConfig, forked: Event) -> None:
    """Stand where a fork's first event says."""
    goto = Command(update=forked.payload["state"], goto=forked.payload["next"])
    graph.update_state(config, goto, as_node=loop.entry.name)


def remember_parent(memory: Memory, parent: str, child: str, step: int, values: Mapping[str, Any]) -> None:
    """Give a fork its parent's past before `step`, and every picture that it or its state refers to.

    They are counted for the child too, so that pruning the parent leaves it whole.
    """
    past = memory.steps.near_history(parent, step, before_step=step).steps
    for row in past:
        memory.steps.record(child, 0, row.step, label=row.label, signature=row.signature, detail=row.detail)
    for ref in image_refs([dict(values), *(row.detail for row in past)]):
        memory.blobs.put(
            memory.blobs.read(ref), session_id=child, media_type=ref.media_type,
            width_px=ref.width_px, height_px=ref.height_px,
        )  # fmt: skip
