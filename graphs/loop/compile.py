"""A declared loop as a LangGraph `StateGraph`.

Each node is a wrapper around its author's function: it hands out a deep copy of the state and a `Context`, and returns
the difference. The kit's own channel, `kit`, counts branch, step, ticks and visits; the counts and the record must
agree, so that a checkpoint that is not the newest is noticed before anything acts.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.runnables import RunnableConfig
from langgraph.channels import LastValue
from langgraph.errors import GraphBubbleUp
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from loopwright.digests import sha256_of
from loopwright.errors import DeveloperError, Diverged
from loopwright.graphs.loop.acts import ActResult
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Declaration, Node, require_json
from loopwright.graphs.loop.questions import Questions
from loopwright.graphs.loop.runtime import Runtime, Scope, Visit
from loopwright.graphs.loop.visit import Left, record_end

FindRuntime = Callable[[RunnableConfig], Runtime]
"""Gives the runtime of the session that a node is run for."""


class KitState(TypedDict):
    """The kit's own channel.

    `visits` counts those of each node on this branch, `tick` all of them, `path` leads to a nested loop, `snapshots`
    are the worlds' after this step's first node, and `digest` is that of the state ("" after nodes that ran at once).
    `beside` has what each of the nodes that ran at once did, by name.
    """

    branch: int
    step: int
    tick: int
    path: str
    visits: dict[str, int]
    snapshots: dict[str, Any]
    digest: str
    beside: dict[str, "Beside"]


class Beside(TypedDict):
    """What a node that ran beside others did: the state keys that it wrote, and its ending: status and reason."""

    wrote: list[str]
    ending: tuple[str, str] | None


def merge(old: KitState | None, new: KitState | None) -> KitState:
    """The channel's reducer: nodes that run at once each bring their own visit."""
    if not old or not new or new["branch"] != old["branch"] or new["path"] != old["path"]:
        return new or old or kit_state()
    if new["tick"] > old["tick"]:
        return new
    visits = {n: max(old["visits"].get(n, 0), new["visits"].get(n, 0)) for n in {**old["visits"], **new["visits"]}}
    return {**old, "visits": visits, "digest": "", "beside": {**old["beside"], **new["beside"]}}


def kit_state(*, branch: int = 0, step: int = 0, path: str = "") -> KitState:
    """The channel before the first node."""
    return KitState(branch=branch, step=step, tick=0, path=path, visits={}, snapshots={}, digest="", beside={})


class Latest(LastValue[Any]):
    """A state key. What nodes that run at once write is taken in, so that the session can be rewound, and refused by
    the node that follows (`_after_beside`).
    """

    def update(self, values: Sequence[Any]) -> bool:
        """Keep the last one."""
        return super().update(values[-1:])


def state_schema(loop: Declaration) -> Any:
    """The state's `TypedDict`: the loop's own keys and those of the kit. All may be left out of an input."""
    own = {name: NotRequired[Annotated[_type_of(value), Latest]] for name, value in loop.state.items()}
    nested = dict.fromkeys(loop.nested, NotRequired[Annotated[dict[str, Any], Latest]])
    kit = {
        "observation": NotRequired[Annotated[dict[str, Any], Latest]],
        "status": NotRequired[Literal["running", "succeeded", "failed", "not_found"]],
        "reason": NotRequired[str],
        "kit": NotRequired[Annotated[dict[str, Any], merge]],
    }
    name = "".join(part.capitalize() for part in loop.name.replace("_", "-").split("-")) + "State"
    return TypedDict(name, {**kit, **nested, **own})  # type: ignore[operator]


def _type_of(value: Any) -> Any:
    match value:
        case bool() | int() | float() | str():
            return type(value)
        case dict():
            return dict[str, Any]
        case list() | tuple():
            return list[Any]
    return Any


def build(loop: Declaration, find: FindRuntime) -> "StateGraph[Any, None, Any, Any]":
    """The loop's graph, not yet compiled."""
    graph = StateGraph(state_schema(loop))
    layers, joins = loop.layers, []
    for n, layer in enumerate(layers):
        following = layers[(n + 1) % len(layers)]
        for each in layer:
            is_alone = len(layer) == 1
            goes_to = loop.destinations(each.name) if is_alone else None
            metadata = {"about": each.about} if each.about else None
            graph.add_node(
                each.name, _wrapped(loop, each, following if is_alone else (), find), destinations=goes_to,
                metadata=metadata,
            )  # fmt: skip
        if len(layer) > 1:
            if len(following) > 1:
                join = f"{layer[0].name}_join"
                goes_to = (*(each.name for each in following), END)
                graph.add_node(join, _passing(loop, following, find), destinations=goes_to)
            else:
                (join,) = (each.name for each in following)
            joins.append(([each.name for each in layer], join))
    for together, join in joins:
        graph.add_edge(together, join)
    graph.add_edge(START, loop.entry.name)
    return graph


def _passing(loop: Declaration, following: tuple[Node, ...], find: FindRuntime) -> Callable[..., Any]:
    def join(state: dict[str, Any], config: RunnableConfig) -> Command[Any]:
        ended = _after_beside(loop, state, config, find)
        return ended or Command(goto=[each.name for each in following])

    return join


def _after_beside(
    loop: Declaration, state: dict[str, Any], config: RunnableConfig, find: FindRuntime
) -> Command[Any] | None:
    """After nodes that ran at once: the end of the loop, where one of them ended it; of several the first declared.

    Raises:
        DeveloperError: two of them wrote the same state key.
    """
    kit: KitState = state.get("kit") or kit_state()
    if not kit["beside"]:
        return None
    did = {name: kit["beside"][name] for name in loop.all_nodes if name in kit["beside"]}
    _require_no_clash(did)
    ended = next((name for name in did if did[name]["ending"]), None)
    if ended is None:
        return None
    runtime, (status, reason) = find(config), did[ended]["ending"] or ("", "")
    with runtime.running_node():
        runtime.require_active()
        visit = Visit(kit["branch"], kit["step"], kit["path"], ended, kit["visits"][ended] - 1, kit["tick"])
        record_end(runtime.recorder, visit, status, reason)
        runtime.recorder.flush()
    return Command(goto=END, update={"status": status, "reason": reason})


def _require_no_clash(did: dict[str, Beside]) -> None:
    writers: dict[str, str] = {}
    for name, its in did.items():
        for key in its["wrote"]:
            if key in writers:
                raise DeveloperError(
                    f"Nodes {writers[key]!r} and {name!r} run at once, and both wrote the state key {key!r}. Let each "
                    "write a key of its own (`ctx.observe(tool, into=...)`), or let one run after the other. Then "
                    "rewind the session to an earlier step: `loopwright sessions rewind SESSION STEP`."
                )
            writers[key] = name


def _wrapped(loop: Declaration, each: Node, following: tuple[Node, ...], find: FindRuntime) -> Callable[..., Any]:
    """The function that LangGraph runs for a node; without `following` it is one of several that run at once."""
    inner = build(each.run, find).compile(name=each.name) if isinstance(each.run, Declaration) else None

    def run(state: dict[str, Any], config: RunnableConfig) -> Any:
        if ended := _after_beside(loop, state, config, find):
            return ended
        runtime = find(config)
        with runtime.running_node():
            update, goto = _visited(loop, each, inner, state, runtime, config)
        if not following:
            return update
        return Command(goto=goto or [n.name for n in following], update=update)

    run.__name__ = each.name
    return run


def _visited(
    loop: Declaration, each: Node, inner: Any, state: dict[str, Any], runtime: Runtime, config: Any
) -> tuple[dict[str, Any], str | None]:
    """Visit a node: what it changes of the state, and where it goes; None: on."""
    kit: KitState = state.get("kit") or kit_state()
    scope = runtime.scopes[_scope_path(kit["path"])]
    begun_with = initial_values(scope) if kit["tick"] == 0 else {}
    values = {**begun_with, **deepcopy({n: v for n, v in state.items() if n != "kit"})}
    ctx = Context(runtime, scope, _visit(loop, each, kit), values)
    if kit["digest"] not in ("", _digest(values, f"Before node {each.name!r},")):
        raise Diverged(_foreign(ctx.visit, runtime, "its state is not what the node before left"))
    if ctx.visit.tick == 1 and not kit["path"]:
        _record_input(ctx)
    left = _run_node(each, inner, ctx, values, config)
    if not runtime.is_checkpointed:
        runtime.recorder.flush()
    changed = {name: value for name, value in values.items() if name not in state or _differs(state[name], value)}
    _require_declared(loop, each, state, values)
    after = _after(loop, each, kit, ctx, values)
    ending = None if left is None or left.goto is not None else (left.status, left.reason)
    if loop.is_beside(each.name):
        after["beside"] = {each.name: Beside(wrote=sorted(changed), ending=ending)}
        return {**changed, "kit": after}, None
    update = {**changed, "kit": after}
    if ending is not None:
        return {**update, "status": ending[0], "reason": ending[1]}, END
    return update, None if left is None else left.goto


def _differs(before: Any, now: Any) -> bool:
    """Whether they are other JSON: 0, 0.0, -0.0 and False are equal in Python alone."""
    return bool(before != now) or repr(before) != repr(now)


def _record_input(ctx: Context) -> None:
    """Whoever runs the graph may begin it with other values than the loop's; then these are on record."""
    usual = initial_values(ctx.scope)
    given = {name: value for name, value in ctx.state.items() if name in usual and value != usual[name]}
    if given:
        ctx.runtime.recorder.record_external(ctx.place("input"), "input", lambda: {"state": given})


def _run_node(each: Node, inner: Any, ctx: Context, values: dict[str, Any], config: RunnableConfig) -> Left | None:
    """Run a node's function; how it left, None where it came to its end."""
    try:
        begin(ctx)
        if isinstance(each.run, Declaration):
            _run_nested(each.run, inner, ctx, values, config)
        else:
            values.update(_returned(each, each.run(values, ctx)))
    except Left as left:
        return left
    except Exception:
        if isinstance(ctx.left, Left):  # raised while leaving
            return ctx.left
        if ctx.left is not None:
            raise ctx.left from None
        raise
    if ctx.left is None or isinstance(ctx.left, Left):
        return ctx.left
    raise ctx.left  # an author's `except` held what must pass


def _returned(each: Node, value: Any) -> dict[str, Any]:
    """What a node adds to the state by returning it. What an act came to is on record already."""
    if value is None or isinstance(value, ActResult):
        return {}
    if isinstance(value, dict):
        return value
    raise DeveloperError(f"Node {each.name!r} returned {value!r:.100}; expected a dict of state keys, or nothing.")


def _require_declared(loop: Declaration, each: Node, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Only the loop's own keys are a node's to change: the graph's state has no others."""
    who = f"Node {each.name!r} of loop {loop.name!r}"
    for name in ("status", "reason", "kit"):
        if after.get(name) != (None if name == "kit" else before.get(name)):
            raise DeveloperError(f"{who} wrote the state key {name!r}, which the kit keeps. To end: `ctx.end(...)`.")
    if undeclared := after.keys() - loop.written_keys - before.keys():
        name = min(undeclared)
        raise DeveloperError(f"{who} wrote the state key {name!r}. Declare it: `state={{{name!r}: ...}}`.")
    if lost := before.keys() - after.keys() - {"kit"}:
        raise DeveloperError(f"{who} deleted the state key {min(lost)!r}. Set it to a value that says so instead.")


def begin(ctx: Context) -> None:
    """What comes before every node: halts, messages, budgets, and whether this checkpoint is the newest."""
    ctx.require_active()
    runtime, visit = ctx.runtime, ctx.visit

    def entry() -> dict[str, Any]:
        if visit.tick < (newest := runtime.newest_tick(visit.branch, visit.path)):
            raise Diverged(_foreign(visit, runtime, f"its record goes on to tick {newest}"))
        used_up = runtime.budget.exhausted(visit.step, runtime.running_s) or _passes_used_up(ctx)
        return {"node": visit.node, "path": visit.path, "tick": visit.tick, "used_up": used_up}

    seen = runtime.gate.look(ctx.place(visit.key), "node", entry)
    runtime.note_tick(visit.branch, visit.path, visit.tick)
    if seen["used_up"]:
        ctx.leave("failed", f"the budget is used up: {seen['used_up']}")
    try:
        Questions(ctx).hold_while_unclear(seen["unclear"])
    except GraphBubbleUp as halted:
        ctx.left = halted
        raise


def _passes_used_up(ctx: Context) -> str:
    """A nested loop has a budget of steps of its own; all else is the outer one's."""
    visit, loop = ctx.visit, ctx.scope.loop
    limit = loop.budget_of(ctx.config).steps
    is_over = visit.path and visit.node == loop.entry.name and limit is not None and visit.visit >= limit
    return f"{limit} steps of {loop.name!r}" if is_over else ""


def _foreign(visit: Visit, runtime: Runtime, why: str) -> str:
    """A checkpoint is not the one that the session's own run left."""
    return (
        f"The graph stands at node {visit.node!r} (tick {visit.tick}) of session {runtime.session_id}, and {why}: this "
        "is not the checkpoint that its last run left. Nothing was sent. To go back, rewind the session: "
        f"`loopwright sessions rewind {runtime.session_id} STEP`."
    )


def _run_nested(inner: Declaration, graph: Any, ctx: Context, values: dict[str, Any], config: RunnableConfig) -> None:
    """Run a nested loop to its end; state keys of the same name are shared, and its ending is left under its name."""
    visit = ctx.visit
    path = f"{visit.path}{visit.node}.{visit.visit}/"
    shared = {name: values[name] for name in inner.state if name in values}
    scope = ctx.runtime.scopes[_scope_path(path)]
    begun = {
        **initial_values(scope), **shared, "status": "running", "reason": "",
        "kit": kit_state(branch=visit.branch, step=visit.step, path=path),
    }  # fmt: skip
    found = graph.invoke(begun, config)
    values.update({name: found[name] for name in inner.state if name in values})
    values[visit.node] = {"status": found["status"], "reason": found.get("reason", "")}


def _visit(loop: Declaration, each: Node, kit: KitState) -> Visit:
    visits = kit["visits"].get(each.name, 0)
    is_new_step = not kit["path"] and each.name == loop.entry.name and visits > 0
    return Visit(kit["branch"], kit["step"] + is_new_step, kit["path"], each.name, visits, kit["tick"] + 1)


def _after(loop: Declaration, each: Node, kit: KitState, ctx: Context, values: dict[str, Any]) -> KitState:
    visit = ctx.visit
    is_entry = not kit["path"] and each.name == loop.entry.name
    return KitState(
        branch=visit.branch,
        step=visit.step,
        tick=visit.tick,
        path=visit.path,
        visits={**kit["visits"], each.name: visit.visit + 1},
        snapshots=ctx.runtime.snapshots() if is_entry else kit["snapshots"],
        digest=_digest(values, f"As node {each.name!r} of loop {loop.name!r} left it,"),
        beside={},
    )


def _digest(values: dict[str, Any], where: str) -> str:
    """Of the state without what the kit itself changes; `where` begins the message about what is not JSON."""
    own = {name: value for name, value in values.items() if name not in ("status", "reason")}
    try:
        return sha256_of(own)[:16]
    except (TypeError, ValueError):
        require_json(where, own)
        raise


def initial_values(scope: Scope) -> dict[str, Any]:
    """The state before the first node."""
    loop = scope.loop
    own = loop.initial(scope.config, scope.prepared) if loop.initial else {}
    require_json(f"Loop {loop.name!r}, from its `initial`:", own)
    return deepcopy({**loop.state, **own})


def _scope_path(path: str) -> str:
    """'plan.0/deep.3/' to 'plan/deep': which loop, whatever the visit."""
    return "/".join(part.rsplit(".", 1)[0] for part in path.strip("/").split("/")) if path else ""
