"""`ctx`: what a node does beside computing. Every verb is an entry of the record, under a key that it is given here.

A node may be run again from its start, replayed, and rewound to, without its author thinking of it: a verb that is on
record returns what it returned. Keys are made of branch, outer path, node, visit, map item and the verb's ordinal.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import deepcopy
from datetime import UTC, datetime
from functools import wraps
from secrets import randbits
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, overload

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from loopwright.agents.sessions.gate import Heard
from loopwright.agents.sessions.recorder import Payload
from loopwright.errors import DeveloperError, NoAnswer, ToolError
from loopwright.graphs.loop.acts import Actor, ActResult
from loopwright.graphs.loop.agent import AgentRun, RecordedChatModel, run_apart
from loopwright.graphs.loop.asking import ModelCaller
from loopwright.graphs.loop.declare import Ending, State
from loopwright.graphs.loop.questions import Questions, is_answer
from loopwright.graphs.loop.runtime import Runtime, Scope, Visit
from loopwright.graphs.loop.visit import Left, NodeVisit
from loopwright.models.answers import AnswerFormat, ToolCall, one_of
from loopwright.schema import Feedback
from loopwright.tools.contract import Tool

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound=Feedback)
Prompt = str | Sequence[BaseMessage]


def verb(method: "Callable[Concatenate[Context, P], R]") -> "Callable[Concatenate[Context, P], R]":
    """A method of `Context` that refuses once the node has left, and notices when it leaves.

    Whatever it raises ends the node, also where its author catches it; a failure that is on record does not: a tool's,
    and that of a model that may fail.
    """

    @wraps(method)
    def call(self: "Context", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            self.require_active()
            return method(self, *args, **kwargs)
        except (ToolError, NoAnswer):
            raise
        except BaseException as leaving:
            self.left = leaving
            raise

    return call


class Context(NodeVisit):
    """The verbs of one visit of a node. `config` and `prepared` are the run's."""

    def __init__(self, runtime: Runtime, scope: Scope, visit: Visit, state: State, *, item: str = "") -> None:
        super().__init__(runtime, scope, visit, state, item=item)
        self.config: Any = scope.config
        self.prepared = scope.prepared
        self._questions = Questions(self)
        self._actor = Actor(self)
        self._caller = ModelCaller(self)
        self._agents = AgentRun(self.next_key, self._converse, self._act_as)

    # Looking

    @verb
    def observe(self, tool: Tool[Any, Any], /, *, into: str = "observation", **arguments: Any) -> dict[str, Any]:
        """Call a tool and keep its output, JSON, in the state under `into`; one that acts goes through the ledger.

        A refusal ends the loop: what cannot look cannot go on.
        """
        key = self.next_key()
        if self._own(tool).effect == "actuate":
            result = self._actor.act(key, tool, arguments, kind="observed")
            if not result.ok:
                self.leave("failed", f"`{tool.name}` was {result.status}: {result.reason}")
            output = result.output
        else:
            called = {"tool": tool.name, "arguments": arguments}

            def look() -> Payload:
                try:
                    output = tool.run(arguments, self.tool_context(key))
                except ToolError as error:
                    return {**called, "output": {}, "error": str(error)}
                return {**called, "output": output.model_dump(mode="json")}

            is_read = tool.effect == "read"
            found = self.runtime.recorder.record_external(
                self.place(key), "observed", look, inputs=called, is_repeatable=is_read, is_late=is_read
            )
            if "error" in found:
                raise ToolError(found["error"])
            output = found["output"]
        self.state[into] = output
        return output

    @verb
    def external(self, kind: str, produce: Callable[[], Payload], *, inputs: Any = None) -> Payload:
        """Record under `kind` what `produce` brings from outside, once; `inputs` is JSON that it depends on."""
        return self.runtime.recorder.record_external(self.place(self.next_key()), kind, produce, inputs=inputs)

    @verb
    def computed(self, kind: str, value: Payload) -> Payload:
        """Record under `kind` what code computed from what is on record; a replay computes it again and compares."""
        return self.runtime.recorder.record_computed(self.place(self.next_key()), kind, value)

    @verb
    def now(self) -> datetime:
        """The time, UTC."""
        read = self._record_value("now", lambda: datetime.now(UTC).isoformat())
        return datetime.fromisoformat(read)

    @verb
    def random(self) -> random.Random:
        """A generator of its own, whose seed is on record."""
        return random.Random(self._record_value("random", lambda: randbits(48)))

    # Models

    @overload
    def ask(self, role: str, prompt: Prompt, *, may_fail: bool = False) -> str: ...
    @overload
    def ask(
        self, role: str, prompt: Prompt, *, tools: Sequence[Tool[Any, Any]], may_fail: bool = False
    ) -> ToolCall: ...
    @overload
    def ask(self, role: str, prompt: Prompt, answer: type[T] | AnswerFormat[T], *, may_fail: bool = False) -> T: ...
    def ask(
        self,
        role: str,
        prompt: Prompt,
        answer: Any = None,
        *,
        tools: Sequence[Tool[Any, Any]] | None = None,
        may_fail: bool = False,
    ) -> Any:
        """The answer of the model in `role`: text, an instance of a pydantic class, a value of a format, a tool call.

        Args:
            role: one of the loop's.
            prompt: text, or messages.
            answer: a pydantic class or a format; None: free text.
            tools: of which one is to be called.
            may_fail: the node does without an answer, where it catches `NoAnswer`: the failure is on record then.
                Else it ends the node, and the model is asked again when the session goes on.

        Raises:
            NoAnswer: as `OperatorError`, where it may fail.
            OperatorError: no answer was in the format, after a few attempts, or the model is down.
            Stopped, Paused: the session was halted meanwhile.
        """
        return self._ask(role, prompt, answer, tools, may_fail)

    @verb
    def score(
        self, role: str, prompt: Prompt, choices: Sequence[str], answer: AnswerFormat[str] | None = None
    ) -> dict[str, float]:
        """How probable the model in `role` takes each of `choices` to be, said in the format `answer`."""
        return self._caller.score(self.next_key(), role, _messages(prompt), choices, answer or one_of(choices))

    def can_score(self, role: str) -> bool:
        """Whether the model in `role` scores choices itself, and does not only name one."""
        return self.runtime.model(role).can_score

    # LangChain's agents

    def chat_model(self, role: str) -> RecordedChatModel:
        """The model in `role` as an agent takes it: each reply is an entry of the record, and is asked for once."""
        card = self.runtime.model(role).card
        return self._agents.chat_model(role, is_held=card is not None and card.kind == "local")

    def chat_tools(self, *tools: Tool[Any, Any]) -> list[BaseTool]:
        """`tools` as an agent takes them: each call goes the way of `act`, and is an event of the session."""
        return [self._agents.chat_tool(self._own(tool)) for tool in tools]

    @verb
    def run_agent(self, agent: Runnable[Any, Any], given: Any) -> Any:
        """What an agent answers that is made of `chat_model` and `chat_tools`, such as LangChain's `create_agent`.

        agent = create_agent(ctx.chat_model("navigator"), ctx.chat_tools(look, move), response_format=Found)
        found = ctx.run_agent(agent, {"messages": [("human", "Find the carina.")]})["structured_response"]
        """
        try:
            return run_apart(agent, given)
        finally:
            if self.left is not None:  # whatever the agent made of it
                raise self.left

    @verb
    def _converse(self, key: str, role: str, messages: list[BaseMessage], options: dict[str, Any]) -> AIMessage:
        return self._caller.converse(key, role, messages, options)

    @verb
    def _act_as(self, key: str, tool: Tool[Any, Any], arguments: dict[str, Any]) -> ActResult:
        return self._actor.act(key, tool, arguments)

    # Acting

    @verb
    def act(self, call: "ToolCall | Tool[Any, Any]", /, *, because: str = "", **arguments: Any) -> ActResult:
        """Do one tool call: guard, approval where the run asks for it, ledger, world; at most once.

        Args:
            call: what a model answered, or a tool with its arguments as keywords.
            because: the reason, shown to whoever is asked for approval.

        Returns:
            What became of it. A refusal is a result too: `text` is what to tell the model.
        """
        if isinstance(call, Tool):
            call = ToolCall(name=self._own(call).name, arguments=arguments)
        return self._actor.act(self.next_key(), self.scope.loop.find_tool(call.name), call.arguments, because=because)

    # Humans

    @overload
    def feedback(self) -> list[Heard]: ...
    @overload
    def feedback(self, first: type[F], /, *types: type[F]) -> list[F]: ...
    def feedback(self, *types: type[Feedback]) -> list[Any]:
        """What humans said since it was last asked for: values of `types`, or without types all messages."""
        return self._feedback(types)

    @verb
    def ask_human(
        self,
        text: str,
        *,
        options: Sequence[str] = (),
        about: str = "question",
        until: Callable[[Sequence[Heard]], bool] = is_answer,
    ) -> list[Heard]:
        """Ask, and wait until what was heard is an answer; returns all that was heard meanwhile, oldest first.

        What a human said unasked, and the loop has not read yet, may be the answer; then nothing is asked.
        """
        return self._questions.ask(self.next_key(), text, options, about, until)

    @verb
    def unsure(
        self,
        text: str,
        *,
        options: Sequence[str] = (),
        about: str = "uncertain",
        until: Callable[[Sequence[Heard]], bool] = is_answer,
        ending: Ending = "failed",
    ) -> list[Heard]:
        """The loop is not sure enough: ask, proceed or end it as `ending`, as the run says (`on_uncertain`)."""
        key = self.next_key()
        policy = self.config.on_uncertain
        if policy == "ask":
            return self._questions.ask(key, text, options, about, until)
        self.runtime.recorder.record_computed(
            self.place(f"{key}/unsure"), "uncertain", {"text": text, "policy": policy}
        )
        if policy == "stop":
            self.leave(ending, f"not sure enough: {text}")
        return []

    # Memory

    @verb
    def recall(self, read: str, /, **arguments: Any) -> Any:
        """A named read of the memory, as JSON.

        `history` (n, max_runs): this session's last steps. `similar` (signature, n): steps in situations like this one.
        `corrections` (n, where): what humans corrected in other sessions of the loop, where the payload has the values
        `where`; the newest last.
        """
        asked = {"read": read, "arguments": arguments}

        def look() -> Payload:
            return {**asked, "found": self.runtime.recall(read, self.visit.step, arguments)}

        return self.runtime.recorder.record_external(
            self.place(self.next_key()), "recalled", look, inputs=asked, is_repeatable=True, is_late=True
        )["found"]

    @verb
    def remember(self, *, label: str, signature: str, detail: Mapping[str, Any]) -> None:
        """Write this step into the memory: what was done, in what kind of situation, and JSON for later prompts."""
        self.runtime.memory.steps.record(
            self.runtime.session_id, self.visit.branch, self.visit.step,
            label=label, signature=signature, detail=dict(detail),
        )  # fmt: skip

    # Control

    @verb
    def map(self, function: "Callable[[T, Context], R]", items: Iterable[T]) -> list[R]:
        """`function(item, ctx)` of each item, all at once; an item neither acts nor asks a human.

        Each has a copy of the state: what it found is what it returns.
        """
        key = self.next_key()
        given = [
            (item, Context(self.runtime, self.scope, self.visit, deepcopy(self.state), item=f"{key}/{n}"))
            for n, item in enumerate(items)
        ]
        self.is_mapping = True
        try:
            with ThreadPoolExecutor(max_workers=max(1, min(32, len(given))), thread_name_prefix="loop-map") as threads:
                calls = [threads.submit(copy_context().run, function, item, ctx) for item, ctx in given]
        finally:
            self.is_mapping = False
        for _, ctx in given:
            if ctx.left is not None:  # whatever its author's `except` made of it
                raise ctx.left
        return [call.result() for call in calls]

    @verb
    def goto(self, node: str) -> NoReturn:
        """Leave this node at once, for another one that it is declared to go to."""
        declared = self.scope.loop.destinations(self.visit.node)
        if node not in declared:
            raise DeveloperError(
                f"Node {self.visit.node!r} goes to {node!r}, and is declared to go to {', '.join(declared)}. Declare "
                f"it: `@node(to=({node!r},))`."
            )
        raise Left(goto=node)

    @verb
    def end(self, status: Ending, reason: str) -> NoReturn:
        """End the loop at once."""
        self.leave(status, reason)

    @verb
    def _ask(
        self, role: str, prompt: Prompt, answer: Any, tools: Sequence[Tool[Any, Any]] | None, may_fail: bool
    ) -> Any:
        for each in tools or ():
            self._own(each)
        return self._caller.ask(self.next_key(), role, _messages(prompt), answer, tools, may_fail=may_fail)

    @verb
    def _feedback(self, types: Sequence[type[Feedback]]) -> list[Any]:
        return self._questions.feedback(self.next_key(), types)

    def _own(self, tool: Tool[Any, Any]) -> Tool[Any, Any]:
        if all(each is not tool for each in self.scope.loop.tools):
            raise DeveloperError(
                f"Loop {self.scope.loop.name!r} uses the tool `{tool.name}` without naming it. Add it to the "
                "loop's `tools`."
            )
        return tool

    def _record_value(self, kind: str, produce: Callable[[], Any]) -> Any:
        place = self.place(self.next_key())
        read = self.runtime.recorder.record_external(
            place, kind, lambda: {"value": produce()}, is_repeatable=True, is_late=True
        )
        return read["value"]


def _messages(prompt: Prompt) -> list[BaseMessage]:
    return [HumanMessage(prompt)] if isinstance(prompt, str) else list(prompt)
