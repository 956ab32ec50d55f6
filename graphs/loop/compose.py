"""A loop composed in YAML, of registered tools, roles, guards and a few verbs; what needs more is a Python function.

    name: warm-room
    world: rooms:Room
    tools: [rooms:read_room, rooms:set_heater]
    state: {target_c: 20.0}
    roles: {navigator: {}}
    feedback: [rooms:SetTarget]
    guard: [rooms:fuse]
    budget: {steps: 30}
    nodes:
      - {name: look, do: [{observe: read_room}]}
      - name: review
        do:
          - {feedback: [SetTarget]}
          - {end: succeeded, when: observation.room_c >= target_c, reason: "it is {observation.room_c} degrees"}
      - name: heat
        do:
          - {ask: navigator, prompt: "{observation.room_c} degrees, aim at {target_c}", tools: [set_heater]}

Knows the declaration only; whoever loads it makes it a `Loop`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator

from loopwright.digests import sha256_of
from loopwright.errors import BadInput, UnknownName
from loopwright.graphs.loop.config import PART_OF_A_FILE, Budget, RunConfig
from loopwright.graphs.loop.declare import Ending, Node, Role, State
from loopwright.graphs.loop.expressions import Condition, filled, filled_text, names_in
from loopwright.graphs.resolve import find_modules_in, resolve
from loopwright.schema import Feedback
from loopwright.tools.contract import Tool
from loopwright.tools.registry import find_tool


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Observe(_Part):
    """Call a tool that looks; its output is kept in the state under `into`."""

    observe: str
    arguments: dict[str, Any] = {}
    into: str = "observation"


class Hear(_Part):
    """Take feedback of these types; the fields of each value go into the state, under their names."""

    feedback: list[str] = Field(min_length=1)


class Ask(_Part):
    """Ask the model in a role. With tools it calls one of them, which is done; else its reply is kept under `into`."""

    ask: str
    prompt: str
    tools: list[str] = []
    into: str = "reply"


class DoAct(_Part):
    """Call a tool with these arguments: guard, approval, ledger, world. What came of it is kept under `into`."""

    act: str
    arguments: dict[str, Any] = {}
    because: str = ""
    into: str = "reply"


class End(_Part):
    """End the loop, where the condition holds."""

    end: Ending
    reason: str
    when: Condition | None = None


class Goto(_Part):
    """Go to another node, where the condition holds."""

    goto: str
    when: Condition | None = None


Verb = Observe | Hear | Ask | DoAct | End | Goto
VERBS = ("observe", "feedback", "ask", "act", "end", "goto")


def _verb_of(value: Any) -> str | None:
    found = [name for name in VERBS if isinstance(value, Mapping) and name in value]
    return found[0] if len(found) == 1 else None


AnyVerb = Annotated[
    Annotated[Observe, Tag("observe")]
    | Annotated[Hear, Tag("feedback")]
    | Annotated[Ask, Tag("ask")]
    | Annotated[DoAct, Tag("act")]
    | Annotated[End, Tag("end")]
    | Annotated[Goto, Tag("goto")],
    Discriminator(
        _verb_of,
        custom_error_type="verb",
        custom_error_message="expected one verb of: " + ", ".join(VERBS),
    ),
]


class NodeText(_Part):
    """A node: verbs to `do` in turn, or a Python function to `call`, which goes to one of `to` beside the next."""

    name: str
    do: list[AnyVerb] = []
    call: str = ""
    to: list[str] = []


Layer = Annotated[
    Annotated[NodeText, Tag("one")] | Annotated[list[NodeText], Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]
"""A node, or several that run at once."""


class LoopText(_Part):
    """A loop as YAML has it. See the fields of `Declaration`; Python is named `module:attribute`.

    Without a `version` it is a digest of the file.
    """

    name: str
    summary: str = ""
    version: str = ""
    world: str = ""
    config: str = ""
    tools: list[str] = []
    state: dict[str, Any] = {}
    roles: dict[str, Role] = {}
    feedback: list[str] = []
    guard: list[str] = []
    budget: Budget = Budget()
    nodes: list[Layer] = Field(min_length=1)

    @field_validator("guard", "tools", "feedback", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class _Loader(yaml.SafeLoader):
    """Reads `on`, `off`, `yes` and `no` as the words that they are, as YAML 1.2 does: tools have such arguments."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def read_loop(path: Path) -> dict[str, Any]:
    """The fields of the declaration in a YAML file. Modules beside the file can be named.

    Raises:
        BadInput: naming the place in the file, and what is wrong with it.
    """
    try:
        content = path.read_text(encoding="utf-8")
        text = yaml.load(content, _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"`{path}` cannot be read as YAML: {error}") from error
    find_modules_in(path.parent)
    try:
        fields = _Composer(path, LoopText.model_validate(text, context=PART_OF_A_FILE)).fields()
    except ValidationError as error:
        problems = [f"`{_place(e['loc'])}`: {e['msg']}" for e in error.errors(include_url=False)]
        raise BadInput(f"`{path}`: {'; '.join(problems)}.") from error
    return {**fields, "version": fields["version"] or sha256_of(content)[:16]}


def _place(loc: tuple[int | str, ...]) -> str:
    parts = [each for each in loc if each not in ("one", "several")]
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".") or "the file"


class Parts(NamedTuple):
    """The tools and feedback types of the loop, by name."""

    tools: dict[str, Tool[Any, Any]]
    feedback: dict[str, type[Feedback]]


def _do(verb: Verb, state: State, ctx: Any, parts: Parts) -> None:
    match verb:
        case Observe():
            ctx.observe(parts.tools[verb.observe], into=verb.into, **filled(verb.arguments, state))
        case Hear():
            for said in ctx.feedback(*(parts.feedback[name] for name in verb.feedback)):
                state.update(said.model_dump(mode="json", exclude={"kind"}))
        case Ask():
            prompt = filled_text(verb.prompt, state)
            if verb.tools:
                call = ctx.ask(verb.ask, prompt, tools=[parts.tools[name] for name in verb.tools])
                state[verb.into] = ctx.act(call).text
            else:
                state[verb.into] = ctx.ask(verb.ask, prompt)
        case DoAct():
            arguments, because = filled(verb.arguments, state), filled_text(verb.because, state)
            state[verb.into] = ctx.act(parts.tools[verb.act], because=because, **arguments).text
        case End() if verb.when is None or verb.when.holds(state):
            ctx.end(verb.end, filled_text(verb.reason, state))
        case Goto() if verb.when is None or verb.when.holds(state):
            ctx.goto(verb.goto)


def _reads(verb: Verb) -> set[str]:
    """The keys of the state that a verb names."""
    texts = [getattr(verb, name, "") for name in ("arguments", "prompt", "because", "reason")]
    when = getattr(verb, "when", None)
    return names_in(texts) | (when.names if when else set())


class _Composer:
    """Turns what a file says into the fields of a declaration, and checks that its parts fit together."""

    def __init__(self, path: Path, text: LoopText) -> None:
        self._path, self._text = path, text
        self._parts = Parts({}, {})

    def fields(self) -> dict[str, Any]:
        text = self._text
        for n, name in enumerate(text.tools):
            tool = self._at(f"tools[{n}]", partial(resolve if ":" in name else find_tool, name))
            self._expect(f"tools[{n}]", isinstance(tool, Tool), f"`{name}` is no tool; make it with `@tool(...)`")
            self._parts.tools[tool.name] = tool
        for n, name in enumerate(text.feedback):
            kind = self._at(f"feedback[{n}]", partial(resolve, name))
            is_kind = isinstance(kind, type) and issubclass(kind, Feedback)
            self._expect(f"feedback[{n}]", is_kind, f"`{name}` is no subclass of `Feedback`")
            self._parts.feedback[kind.__name__] = kind
        guards = [self._function(f"guard[{n}]", name) for n, name in enumerate(text.guard)]
        config = self._at("config", partial(resolve, text.config)) if text.config else RunConfig
        is_config = isinstance(config, type) and issubclass(config, RunConfig)
        self._expect("config", is_config, f"`{text.config}` is no subclass of `RunConfig`")
        return {
            "name": text.name,
            "nodes": self._nodes(),
            "world": self._function("world", text.world) if text.world else None,
            "tools": list(self._parts.tools.values()),
            "state": {**dict.fromkeys(sorted(self._set - {"observation"}), None), **text.state},
            "roles": text.roles,
            "feedback": list(self._parts.feedback.values()),
            "guard": guards,
            "budget": text.budget,
            "config": config,
            "summary": text.summary,
            "version": text.version,
        }

    @property
    def _set(self) -> set[str]:
        return {getattr(verb, "into", "") for _, each in self._each_node() for verb in each.do} - {""}

    def _each_node(self) -> list[tuple[str, NodeText]]:
        found = []
        for n, layer in enumerate(self._text.nodes):
            together = layer if isinstance(layer, list) else [layer]
            places = [f"nodes[{n}][{m}]" if isinstance(layer, list) else f"nodes[{n}]" for m in range(len(together))]
            found += list(zip(places, together, strict=True))
        return found

    def _nodes(self) -> list[Any]:
        made = {each.name: self._node(place, each) for place, each in self._each_node()}
        return [
            tuple(made[each.name] for each in layer) if isinstance(layer, list) else made[layer.name]
            for layer in self._text.nodes
        ]

    def _node(self, place: str, node: NodeText) -> Node:
        self._expect(place, bool(node.do) != bool(node.call), "expected either `do` or `call`")
        if node.call:
            return Node(name=node.name, run=self._function(f"{place}.call", node.call), to=tuple(node.to))
        for n, verb in enumerate(node.do):
            self._check(f"{place}.do[{n}]", verb)
        goes = [verb.goto for verb in node.do if isinstance(verb, Goto)]

        def run(state: State, ctx: Any) -> None:
            for verb in node.do:
                _do(verb, state, ctx, self._parts)

        return Node(name=node.name, run=run, to=tuple(dict.fromkeys((*node.to, *goes))))

    def _check(self, place: str, verb: Verb) -> None:
        """Whether what a verb names is there."""
        match verb:
            case Observe(observe=name) | DoAct(act=name):
                self._known(place, "tool", name, self._parts.tools)
            case Ask(ask=role, tools=tools):
                self._known(place, "role", role, self._text.roles)
                for name in tools:
                    self._known(place, "tool", name, self._parts.tools)
            case Hear(feedback=kinds):
                for name in kinds:
                    self._known(place, "feedback type", name, self._parts.feedback)
                    for field in self._parts.feedback[name].model_fields.keys() - {"kind"}:
                        self._known(place, "state key", field, self._text.state)
            case Goto(goto=name):
                self._known(place, "node", name, [each.name for _, each in self._each_node()])
            case _:
                pass
        for name in sorted(_reads(verb)):
            self._known(place, "state key", name, {*self._text.state, *self._set, "observation"})

    def _function(self, place: str, name: str) -> Any:
        found = self._at(place, partial(resolve, name))
        self._expect(place, callable(found), f"`{name}` is {found!r}; expected a function or a class")
        return found

    def _known(self, place: str, what: str, name: str, known: Any) -> None:
        if name not in known:
            raise BadInput(f"`{self._path}`: `{place}`: {UnknownName(what, name, known)}")

    def _at(self, place: str, find: Callable[[], Any]) -> Any:
        try:
            return find()
        except BadInput as error:
            raise BadInput(f"`{self._path}`: `{place}`: {error}") from error

    def _expect(self, place: str, is_so: bool, problem: str) -> None:
        if not is_so:
            raise BadInput(f"`{self._path}`: `{place}`: {problem}.")
