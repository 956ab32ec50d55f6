"""The models of a run, and how a node asks them: each answer is an entry of the record, and is asked for once."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from loopwright.agents.role import choose
from loopwright.agents.sessions.recorder import Payload
from loopwright.errors import NoAnswer, OperatorError
from loopwright.graphs.loop.visit import NodeVisit
from loopwright.models.answers import AnswerFormat, ToolCallFormat
from loopwright.models.asking import Reply, ask, format_of
from loopwright.models.calling import Usage, call, usage_of
from loopwright.tools.contract import Tool


class ModelCaller:
    """Asks the models of a session on behalf of one visit of a node."""

    def __init__(self, ctx: NodeVisit) -> None:
        self._runtime, self._place = ctx.runtime, ctx.place

    def ask(
        self,
        key: str,
        role: str,
        messages: Sequence[BaseMessage],
        answer: Any,
        tools: Sequence[Tool[Any, Any]] | None,
        *,
        may_fail: bool,
    ) -> Any:
        """See `Context.ask`."""
        form: AnswerFormat[Any] | None = (
            ToolCallFormat(tuple(tools)) if tools else (None if answer is None else format_of(answer))
        )

        def reply() -> Payload:
            cancel, images = self._runtime.cancel, self._runtime.memory.blobs
            try:
                said = ask(self._runtime.model(role).opened(cancel), messages, form, cancel=cancel, images=images)
            except OperatorError as error:
                if not may_fail:
                    raise
                nothing = Reply(None, "", False, 0, Usage(), AIMessage(""))
                return {**self._told(role, messages, nothing), "error": str(error)}
            return self._told(role, messages, said)

        inputs = {"role": role, "prompt": prompt_json(messages), "answer": None if form is None else form.name}
        payload = self._runtime.recorder.record_external(
            self._place(key), "replied", reply, inputs=inputs, is_repeatable=True
        )
        self._runtime.budget.count_tokens(key, payload)
        if "error" in payload:
            raise NoAnswer(payload["error"])
        return payload["reply"] if form is None else read_recorded(payload, form)

    def converse(self, key: str, role: str, messages: Sequence[BaseMessage], options: dict[str, Any]) -> AIMessage:
        """The reply to a conversation, tool calls and all, under the `options` that a LangChain agent binds."""

        def reply() -> Payload:
            cancel, images = self._runtime.cancel, self._runtime.memory.blobs
            model, given = self._runtime.model(role).opened(cancel), dict(options)
            bound = model.bind_tools(given.pop("tools"), **given) if given.get("tools") else model.bind(**given)
            said = call(bound, messages, cancel=cancel, images=images)
            usage = usage_of(messages, said)
            told = self._told(role, messages, Reply(said.text, said.text, True, 1, usage, said))
            calls = [each | {"id": f"call_{uuid4().hex}"} for each in said.tool_calls]  # a model's own may repeat
            return {**told, "tool_calls": calls, "invalid_tool_calls": said.invalid_tool_calls}

        inputs = {"role": role, "prompt": prompt_json(messages), "options": options}
        payload = self._runtime.recorder.record_external(
            self._place(key), "replied", reply, inputs=inputs, is_repeatable=True
        )
        self._runtime.budget.count_tokens(key, payload)
        calls = {name: payload[name] for name in ("tool_calls", "invalid_tool_calls")}
        return AIMessage(payload["reply"], **calls)

    def score(
        self,
        key: str,
        role: str,
        messages: Sequence[BaseMessage],
        choices: Sequence[str],
        answer: AnswerFormat[str],
    ) -> dict[str, float]:
        """See `Context.score`."""

        def reply() -> Payload:
            cancel, images = self._runtime.cancel, self._runtime.memory.blobs
            model = self._runtime.model(role).opened(cancel)
            found = choose(model, messages, choices, answer, cancel=cancel, images=images)
            likeliest = max(choices, key=found.probabilities.__getitem__)
            if found.reply is not None:
                told = self._told(role, messages, found.reply)
            else:
                text = answer.render(likeliest)
                told = self._told(role, messages, Reply(likeliest, text, True, 1, found.usage, AIMessage(text)))
            return {**told, "probabilities": found.probabilities}

        inputs = {"role": role, "prompt": prompt_json(messages), "choices": list(choices)}
        payload = self._runtime.recorder.record_external(
            self._place(key), "replied", reply, inputs=inputs, is_repeatable=True
        )
        self._runtime.budget.count_tokens(key, payload)
        probabilities: dict[str, float] = payload["probabilities"]
        return probabilities

    def _told(self, role: str, messages: Sequence[BaseMessage], said: Reply[Any]) -> Payload:
        return {
            "role": role,
            **self._runtime.model(role).facts,
            "prompt": prompt_json(messages),
            "reply": said.text,
            "is_exact": said.is_exact,
            "attempts": said.attempts,
            "usage": said.usage._asdict(),
        }


def read_recorded(payload: Mapping[str, Any], form: AnswerFormat[Any]) -> Any:
    """The value of a recorded reply."""
    return form.parse(payload["reply"]) if payload["is_exact"] else form.repair(payload["reply"])


def prompt_json(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages as the record keeps them."""
    return [{"role": message.type, "content": message.content, **_calls_json(message)} for message in messages]


def _calls_json(message: BaseMessage) -> dict[str, Any]:
    if isinstance(message, AIMessage) and message.tool_calls:
        return {"tool_calls": message.tool_calls}
    return {"tool_call_id": message.tool_call_id} if isinstance(message, ToolMessage) else {}
