"""The tool contract: one typed function gives what LangChain, OpenAI's schema and MCP ask for.

    class Look(Frozen):
        depth_mm: float = Field(ge=0, description="how deep to look, mm")

    @tool(effect="read", timeout_s=5)
    def look(args: Look, context: ToolContext) -> Seen:
        '''Look at the world.'''

`read` leaves the world and the memory as they are, `write` changes the memory only, `actuate` changes the world. No
tool is handed a world that it can change: an `actuate` tool is a generator that *yields the act* and is sent back the
outcome, and what lies between is the ledger's (rule 3). What it yields depends on its arguments alone:

    @tool(effect="actuate", timeout_s=30, consent="guard")
    def push(args: Push, context: ToolContext) -> Acting[Pushed]:
        '''Push the block.'''
        outcome = yield Act(tool="push", arguments=args.model_dump())
        return Pushed.model_validate(outcome.result)

Refused when a tool is defined: a description that is missing, a number without a unit, anything of unbounded length.
"""

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeIs

from loopwright.digests import sha256_of
from loopwright.errors import DeveloperError, ToolError, ToolRefused, ToolRetry
from loopwright.schema import Act, CancelToken, ImageRef, Outcome, World
from loopwright.tools.call import ToolReply, answer, bad_arguments, within
from loopwright.tools.json_schema import bounded_schema
from loopwright.tools.pictures import keep_picture

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.tools import StructuredTool
    from numpy.typing import NDArray

    from loopwright.memory import Memory

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
Effect = Literal["read", "write", "actuate"]
Consent = Literal["always", "guard"]
"""Under `approval="human"`, whether a human has to agree to each act, or the guard's word will do (harmless acts)."""
Send = Callable[[str, Act, float], Outcome]
"""Sends an act under an idempotency key, within so many seconds; see `ToolContext.send`."""
Acting: TypeAlias = Generator[Act, Outcome, Out]
"""What an `actuate` function returns: it yields one act, is sent its outcome, and returns the output."""

MAX_KEY = 180
"""Characters of a call's key; the ledger takes 200, and an attempt's number is appended."""
WORLD_CHANGERS = frozenset({"apply", "restore", "hold", "reset", "step", "begin", "perform", "close"})


class ReadOnly:
    """A world to look at: everything but what would change it."""

    def __init__(self, world: World | None) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        if self._world is None:
            raise DeveloperError(f"A tool reads `{name}` of its world, and the loop has none. Give the loop a `world`.")
        if name in WORLD_CHANGERS or name == "unwrapped":
            raise DeveloperError(
                f"A tool called `{name}` on its world. Tools do not change a world: give the tool `effect='actuate'` "
                "and yield an `Act`, so that it goes through the ledger."
            )
        return getattr(self._world, name)


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a tool is handed. (branch, step) names the moment; `call_id` tells two calls of one moment apart.

    `world` is the loop's `World`, to look at: any attribute of it, but what would change it.
    `send` is for `actuate` tools: a door to the world that has judged, approved and written down what goes through it.
    """

    session_id: str
    step: int
    world: Any
    """The loop's, as its author wrote it; None where there is none."""
    memory: "Memory | None" = None
    cancel: CancelToken = field(default_factory=CancelToken)
    branch: int = 0
    call_id: str = ""
    send: Send | None = None

    def key(self, tool: str) -> str:
        """Idempotency key of a call: the same when a node is re-run, another after a rewind; shortened if need be."""
        call = "/".join(filter(None, (str(self.branch), str(self.step), tool, self.call_id)))
        key = f"{self.session_id}/{call}"
        return key if len(key) <= MAX_KEY else f"{self.session_id[:100]}/{sha256_of([self.session_id, call])}"

    def keep(self, image: "NDArray[np.uint8]") -> ImageRef:
        """Keep a picture, (H, W) or (H, W, 3) uint8, in the memory; outputs carry the reference (rule 1)."""
        if self.memory is None:
            raise DeveloperError("A tool keeps a picture; give the `ToolContext` a `memory=open_memory(url)`.")
        return keep_picture(self.memory, self.session_id, image)


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[In, Out]):
    """A tool as defined by `@tool`. `timeout_s` bounds one call, in seconds; `words` says a call in words."""

    name: str
    effect: Effect
    consent: Consent
    words: Callable[[In], str] | None
    timeout_s: float
    description: str
    input_model: type[In]
    output_model: type[Out]
    function: Callable[[In, ToolContext], Any]

    def run(self, arguments: In | Mapping[str, Any], context: ToolContext) -> Out:
        """One call. `call` is the same with errors turned into a reply.

        Raises:
            ToolRetry: the arguments do not validate, or a `read` tool took longer than `timeout_s`.
            ToolRefused: the guard or the world said no.
            ToolError: the world failed, or a `write` tool took longer than `timeout_s`.
            UnsettledAct: an `actuate` tool took longer than `timeout_s`, and the world does not know what became of it.
            DeveloperError: an `actuate` tool without a way to `send`, or a function that breaks the contract.
        """
        args = self._validated(arguments)
        if self.effect == "actuate":
            return self._actuate(args, context)

        def work(cancel: CancelToken) -> Out:
            return self._output(self.function(args, _for_function(context, cancel)))

        return within(self.timeout_s, context.cancel, work, self._overdue)

    def call(self, arguments: In | Mapping[str, Any], context: ToolContext) -> ToolReply:
        """`run`, with what went wrong turned into what the model and the human see; the rest is raised (see `call`)."""
        shown = arguments.model_dump() if isinstance(arguments, BaseModel) else arguments
        return answer(self.name, shown, lambda: self.run(arguments, context))

    def propose(self, arguments: In | Mapping[str, Any], context: ToolContext) -> Act:
        """The act that an `actuate` tool would send: what guards and humans judge, and what its hash is taken of."""
        acting = self._acting(self._validated(arguments), context)
        try:
            return self._proposed(acting)
        finally:
            acting.close()

    def in_words(self, arguments: In | Mapping[str, Any]) -> str:
        """A call for a human to read: "move the view 20 mm cranial"."""
        args = self._validated(arguments)
        if self.words is not None:
            return self.words(args)
        given = ", ".join(f"{name}={value!r}" for name, value in args.model_dump(mode="json").items())
        return f"call {self.name}({given})"

    def as_langchain(self, context: ToolContext) -> "StructuredTool":
        """A LangChain tool bound to `context`. Its messages are `ToolReply.for_model`, its artifact is the output."""
        from loopwright.tools.langchain import langchain_tool

        return langchain_tool(self, lambda given, call_id: self.call(given, replace(context, call_id=call_id)))

    def openai_schema(self) -> dict[str, Any]:
        """OpenAI's strict function schema."""
        parameters = bounded_schema(self.input_model, "validation")
        function = {"name": self.name, "description": self.description, "strict": True, "parameters": parameters}
        return {"type": "function", "function": function}

    def mcp_schema(self) -> dict[str, Any]:
        """What an MCP server lists. `destructiveHint`: it changes more than this session's own records."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": bounded_schema(self.input_model, "validation"),
            "outputSchema": bounded_schema(self.output_model, "serialization"),
            "annotations": {"readOnlyHint": self.effect == "read", "destructiveHint": self.effect == "actuate"},
        }

    def _validated(self, arguments: In | Mapping[str, Any]) -> In:
        try:
            return self.input_model.model_validate(arguments)
        except ValidationError as error:
            raise bad_arguments(self.name, error) from None

    def _output(self, output: object) -> Out:
        if not isinstance(output, self.output_model):
            raise DeveloperError(f"`{self.name}` returned {output!r}; expected a `{self.output_model.__name__}`.")
        return output

    def _overdue(self) -> Out:
        if self.effect == "read":
            raise ToolRetry(f"`{self.name}` gave no answer within {self.timeout_s:g} s. Nothing was changed.")
        raise ToolError(
            f"`{self.name}` gave no answer within {self.timeout_s:g} s and may yet be recorded. "
            "Look before repeating it."
        )

    def _acting(self, args: In, context: ToolContext) -> Acting[Out]:
        if self.effect != "actuate":
            raise DeveloperError(f"`{self.name}` has effect {self.effect!r}; only `actuate` tools propose an act.")
        return cast(Acting[Out], self.function(args, _for_function(context, context.cancel)))

    def _proposed(self, acting: Acting[Out]) -> Act:
        try:
            return next(acting)
        except StopIteration:
            raise DeveloperError(f"`{self.name}` has effect 'actuate' but yielded no `Act`.") from None

    def _actuate(self, args: In, context: ToolContext) -> Out:
        if context.send is None:
            raise DeveloperError(
                f"`{self.name}` changes the world and runs only through the ledger. Call it in a session (`ctx.act`), "
                "or give the `ToolContext` a `send` that goes through an `Actuator`."
            )
        acting = self._acting(args, context)
        outcome = context.send(context.key(self.name), self._proposed(acting), self.timeout_s)
        if outcome.status == "refused":
            raise ToolRefused(outcome.reason)
        if outcome.status == "failed":
            raise ToolError(outcome.reason)
        try:
            acting.send(outcome)
        except StopIteration as finished:
            return self._output(finished.value)
        raise DeveloperError(f"`{self.name}` yielded a second act; a call is one act, with one key and one approval.")


def _for_function(context: ToolContext, cancel: CancelToken) -> ToolContext:
    """What the function itself is handed: nothing that could change the world."""
    return replace(context, world=ReadOnly(context.world), cancel=cancel, send=None)


@overload
def tool(
    *, effect: Literal["read", "write"], timeout_s: float
) -> Callable[[Callable[[In, ToolContext], Out]], Tool[In, Out]]: ...
@overload
def tool(
    *,
    effect: Literal["actuate"],
    timeout_s: float,
    consent: Consent = "always",
    words: Callable[[Any], str] | None = None,
) -> Callable[[Callable[[In, ToolContext], Acting[Out]]], Tool[In, Out]]: ...
def tool(
    *, effect: Effect, timeout_s: float, consent: Consent = "always", words: Callable[[Any], str] | None = None
) -> Callable[[Callable[[In, ToolContext], Any]], Tool[In, Any]]:
    """Make a function a tool, named as it is and described by the first paragraph of its docstring.

    Raises:
        DeveloperError: the function cannot be a tool; the message says what to change.
    """

    def define(function: Callable[[In, ToolContext], Any]) -> Tool[In, Any]:
        name = function.__name__
        description = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        if not description:
            raise DeveloperError(f"`{name}` has no docstring; its first paragraph is what a model reads.")
        if effect not in get_args(Effect):
            raise DeveloperError(f"`{name}` has `effect` = {effect!r}; expected one of {', '.join(get_args(Effect))}.")
        if effect != "actuate" and inspect.isgeneratorfunction(function):
            raise DeveloperError(f"`{name}` yields, and has effect {effect!r}. Only `actuate` tools yield an act.")
        if not timeout_s > 0:
            raise DeveloperError(f"`{name}` has `timeout_s` = {timeout_s!r}; expected a positive number of seconds.")
        input_model, output_model = _models(function, effect)
        bounded_schema(input_model, "validation")
        bounded_schema(output_model, "serialization")
        return Tool(
            name=name,
            effect=effect,
            consent=consent,
            words=words,
            timeout_s=timeout_s,
            description=description,
            input_model=input_model,
            output_model=output_model,
            function=function,
        )

    return define


def _models(function: Callable[[In, ToolContext], Any], effect: Effect) -> tuple[type[In], type[BaseModel]]:
    hints = get_type_hints(function)
    returned = hints.pop("return", None)
    if effect == "actuate":
        returned = get_args(returned)[2] if get_origin(returned) is Generator else None
    taken = next(iter(hints.values()), None)
    if _is_model(taken) and _is_model(returned):
        return cast(type[In], taken), returned
    expected = "Acting[OutModel]" if effect == "actuate" else "OutModel"
    raise DeveloperError(
        f"`{function.__name__}` has effect {effect!r}; expected `def {function.__name__}(args: InModel, context: "
        f"ToolContext) -> {expected}` with pydantic models."
    )


def _is_model(hint: object) -> TypeIs[type[BaseModel]]:
    return isinstance(hint, type) and issubclass(hint, BaseModel)
