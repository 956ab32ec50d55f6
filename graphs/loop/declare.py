"""The declaration of a loop: nodes over a world, tools, roles, guards and feedback types.

    def observe(state, ctx):
        ctx.observe(read_room)

    def heat(state, ctx):
        ctx.act(ctx.ask("navigator", prompt(state), tools=[set_heater]))

    thermostat = Loop("thermostat", world=Room, tools=[read_room, set_heater], nodes=[observe, heat])

Nodes are visited in order, and after the last one the first again, until one calls `ctx.end`; `ctx.goto` goes
elsewhere. A tuple of nodes is visited at once, a `Loop` among the nodes is run to its end.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self, cast

from langgraph.graph import END

from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.errors import DeveloperError, UnknownName
from loopwright.graphs.loop.config import Budget, RunConfig
from loopwright.graphs.loop.lines import Line
from loopwright.schema import Act, Event, Feedback, ImageRef, Verdict, sha256_of
from loopwright.tools.contract import Tool

State = dict[str, Any]
NodeFunction = Callable[[State, Any], State | None]
"""A node's function of its copy of the state and the `Context`; what it returns is added to the state."""
Guard = Callable[[Act, State], Verdict | None]
RESERVED = ("kit", "status", "reason", "observation")
"""State keys that the kit gives every loop."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """A model that a loop asks. `card` is what it asks by default, `adapter` the card's adapter for it."""

    card: str | None = None
    adapter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node: its function (or a nested loop), and where it may go beside the next one."""

    name: str
    run: "NodeFunction | Declaration"
    to: tuple[str, ...] = ()
    about: str = ""


def node(*, to: Sequence[str] = (), name: str | None = None) -> Callable[[NodeFunction], Node]:
    """Make a function a node that may `ctx.goto` one of `to`, by name, beside going on to the next node."""

    def define(function: NodeFunction) -> Node:
        about = inspect.getdoc(function) or ""
        return Node(name=name or function.__name__, run=function, to=tuple(to), about=about.split("\n")[0])

    return define


@dataclass(frozen=True)
class Declaration:
    """One loop, declared. Every field but the first two has a default.

    Attributes:
        name: by which it is found and recorded; letters, digits and dashes.
        nodes: visited in order; a tuple of nodes at once.
        world: a class (`Room`) or a function that opens the world of a run; None: the loop acts on nothing.
        tools: that its nodes may call, and its models may be offered.
        state: initial values of the state's keys, plain JSON.
        roles: the models that it asks, by role; a function of the configuration where they depend on it.
        feedback: its own feedback types, read in this order.
        guard: judges an act beside the world's own guard: None or a `Verdict`. Several are asked in turn.
        budget: what ends a run; a function of the configuration where it depends on it.
        config: what a user sets for a run.
        prepare: checks a run against the real inputs before a session begins; the JSON that it returns is kept with the
            session (`ctx.prepared`), so that a resumed session runs with what it began with.
        initial: initial values of the state that depend on the run: (config, prepared) to state.
        summary: what it does, in a line.
        version: goes into the record.
        describe: how its own events read; None for those that say nothing to a person.
        report: its own sections of the HTML report.
        show: a step as the console shows it, (config, prepared, step) to a `StepView`; None: its newest picture.
        pointed: what pointing at a step's picture may mean, (config, prepared, step, `Pointed`) to messages that the
            loop's feedback types read.
        request: reads what somebody asks for in plain words: settings of a run, None where it is none of this loop's.
        redraw: turns (config, prepared) into a function from an `observed` output to its picture, drawn again.
    """

    name: str
    nodes: Sequence[Any]
    world: Callable[..., Any] | None = None
    tools: Sequence[Tool[Any, Any]] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Role] | Callable[[Any], Mapping[str, Role]] = field(default_factory=dict)
    feedback: Sequence[type[Feedback]] = ()
    guard: Guard | Sequence[Guard] = ()
    budget: Budget | Callable[[Any], Budget] = field(default_factory=Budget)
    config: type[RunConfig] = RunConfig
    prepare: Callable[[Any], dict[str, Any]] | None = None
    initial: Callable[[Any, dict[str, Any]], State] | None = None
    summary: str = ""
    version: str = "1"
    describe: Callable[[Event], "Line | Sequence[Line] | None"] | None = None
    report: Callable[..., Sequence[Any]] | None = None
    show: Callable[..., Any] | None = None
    pointed: Callable[..., Sequence[str]] | None = None
    request: Callable[[str], dict[str, Any] | None] | None = None
    redraw: Callable[..., Callable[[dict[str, Any]], Any]] | None = None

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def layers(self) -> list[tuple[Node, ...]]:
        """The nodes in order; several in one layer are visited at once."""
        return [tuple(map(_as_node, each if isinstance(each, tuple) else (each,))) for each in self.nodes]

    @cached_property
    def entry(self) -> Node:
        """The first node: a new step begins each time that it is visited again."""
        return self.layers[0][0]

    @cached_property
    def all_nodes(self) -> dict[str, Node]:
        """By name, in order."""
        return {each.name: each for layer in self.layers for each in layer}

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """The loop's own guards."""
        return (self.guard,) if callable(self.guard) else tuple(self.guard)

    def is_beside(self, name: str) -> bool:
        """Whether a node is visited at once with others."""
        return any(len(layer) > 1 and any(each.name == name for each in layer) for layer in self.layers)

    def destinations(self, name: str) -> tuple[str, ...]:
        """Where a node may go: its next ones, those that it declares, and the end."""
        layers = self.layers
        at = next(n for n, layer in enumerate(layers) if any(each.name == name for each in layer))
        following = tuple(each.name for each in layers[(at + 1) % len(layers)])
        return tuple(dict.fromkeys((*following, *self.all_nodes[name].to, END)))

    @cached_property
    def language(self) -> FeedbackLanguage:
        """What can be said to it and to the loops nested in it."""
        inner = [each for nested in self.nested.values() for each in nested.language.types]
        return FeedbackLanguage(tuple(dict.fromkeys((*self.feedback, *inner))))

    def roles_of(self, config: RunConfig) -> Mapping[str, Role]:
        """The models that a run of this configuration asks, by role."""
        return self.roles(config) if callable(self.roles) else self.roles

    def budget_of(self, config: RunConfig) -> Budget:
        """What ends a run of this configuration."""
        return self.budget(config) if callable(self.budget) else self.budget

    @cached_property
    def nested(self) -> dict[str, "Declaration"]:
        """Loops among the nodes, by node name."""
        return {each.name: each.run for each in self.all_nodes.values() if isinstance(each.run, Declaration)}

    @cached_property
    def written_keys(self) -> frozenset[str]:
        """The state keys that its nodes may write."""
        return frozenset({*self.state, *self.nested, "observation"})

    def find_tool(self, name: str) -> Tool[Any, Any]:
        """The loop's tool called `name`."""
        for each in self.tools:
            if each.name == name:
                return each
        raise UnknownName("tool", name, (each.name for each in self.tools))

    def replace(self, **nodes: "Node | NodeFunction | Declaration") -> Self:
        """This loop with other nodes in the places of those named; whatever led there leads to the new ones."""
        unknown = nodes.keys() - self.all_nodes.keys()
        if unknown:
            raise UnknownName("node", min(unknown), self.all_nodes)
        return replace(self, nodes=list(self._with(lambda each: (_renamed(nodes.get(each.name), each) or each,))))

    def insert_after(self, after: str, *new: "Node | NodeFunction | Declaration") -> Self:
        """This loop with nodes after the one called `after`."""
        if after not in self.all_nodes:
            raise UnknownName("node", after, self.all_nodes)
        nodes: list[Any] = []
        for layer in self.layers:
            nodes += layer if len(layer) == 1 else (layer,)
            if any(each.name == after for each in layer):
                nodes += new
        return replace(self, nodes=nodes)

    def varied(self, **changes: Any) -> Self:
        """This loop with other fields, such as `name`, `tools` or `budget`; guards are added to its own."""
        added = changes.pop("guard", ())
        guards = (*self.guards, *((added,) if callable(added) else added))
        return replace(self, **changes, guard=guards)

    def _with(self, change: Callable[[Node], tuple[Node, ...]]) -> Iterator[Any]:
        for layer in self.layers:
            changed = tuple(new for each in layer for new in change(each))
            yield from changed if len(changed) == 1 else (changed,)


def _as_node(each: Any) -> Node:
    if isinstance(each, Node):
        return each
    if isinstance(each, Declaration):
        return Node(name=each.name, run=each, about=each.summary)
    if callable(each):
        return node()(cast(NodeFunction, each))
    raise DeveloperError(f"A loop's node is {each!r}; expected a function of (state, ctx), a `Node` or a `Loop`.")


def _renamed(new: Any, old: Node) -> Node | None:
    if new is None:
        return None
    given = _as_node(new)
    return replace(given, name=old.name, to=given.to or old.to)


def check(loop: Declaration) -> None:
    """Refuse a declaration that cannot run.

    Raises:
        DeveloperError: naming the part that is wrong.
    """
    who = f"Loop {loop.name!r}"
    if not loop.name.replace("-", "").replace("_", "").isalnum():
        raise DeveloperError(f"{who} needs a name of letters, digits and dashes.")
    if not loop.nodes or len(loop.layers[0]) != 1:
        raise DeveloperError(f"{who} has to begin with one node.")
    names = [each.name for layer in loop.layers for each in layer]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DeveloperError(f"{who} has two nodes called {min(twice)!r}. Name one of them: `@node(name=...)`.")
    if taken := set(names) & {"kit", END, "__start__"}:
        raise DeveloperError(f"{who} has a node called {min(taken)!r}, a name that is taken.")
    for each in loop.all_nodes.values():
        if unknown := set(each.to) - {*names, END}:
            raise DeveloperError(f"{who}: node {each.name!r} goes to {min(unknown)!r}, which is none of {names}.")
        if each.to and any(len(layer) > 1 and each in layer for layer in loop.layers):
            raise DeveloperError(f"{who}: node {each.name!r} runs beside others, so that it cannot go elsewhere.")
        if isinstance(each.run, Declaration) and each.run.state.keys() & {each.name}:
            raise DeveloperError(f"{who}: the nested loop {each.name!r} has a state key of its own name.")
    if taken := set(loop.config.model_fields) & {"memory", "models", "devices"}:
        raise DeveloperError(f"{who} has a setting {min(taken)!r}, which `Loop.start` takes for itself. Rename it.")
    if reserved := set(loop.state) & {"kit", "status", "reason"}:
        raise DeveloperError(f"{who} has a state key {min(reserved)!r}; the kit keeps that one. Rename it.")
    require_json(f"{who}, its `state`:", loop.state)
    for each in loop.all_nodes.values():
        if inspect.iscoroutinefunction(each.run):
            raise DeveloperError(
                f"{who}: node {each.name!r} is async. Write it with `def`; async runs put it in a thread."
            )
    if loop.world is not None and not callable(loop.world):
        raise DeveloperError(f"{who} has the world {loop.world!r}; expected a class, or a function that opens one.")
    for one in loop.tools:
        if not isinstance(one, Tool):
            raise DeveloperError(f"{who} has a tool {one!r}; make it with `@tool(...)`.")
    _ = loop.language


Ending = Literal["succeeded", "failed", "not_found"]
"""How a loop ends; `not_found`: it does not know what it sees, or cannot say where what was asked for is."""
ReadBlob = Callable[[ImageRef], bytes]


def require_json(where: str, values: Mapping[str, Any]) -> None:
    """Refuse state that no record can hold.

    Raises:
        DeveloperError: naming the state key.
    """
    for name, value in values.items():
        try:
            sha256_of(value)
        except (TypeError, ValueError) as error:
            raise DeveloperError(
                f"{where} the state key {name!r} is {value!r:.100}, which is not JSON ({error}). Keep plain JSON in "
                "the state; pictures as `ImageRef`, numbers as `float(...)`, what is missing as None."
            ) from error
