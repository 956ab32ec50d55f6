"""How an act leaves a loop: guard, approval of the exact command, guard again, ledger, world (DESIGN rules 3 to 5).

One path for nodes, models and everything that calls tools in a session. A loop's author cannot leave a part of it out.
"""

from typing import Any, Literal

from pydantic import Field

from loopwright.agents.sessions.gate import APPROVAL, Heard
from loopwright.errors import ApprovalExpired, DeveloperError, ToolError, ToolRefused, ToolRetry
from loopwright.graphs.loop.declare import Guard, State
from loopwright.graphs.loop.questions import Questions, is_answer
from loopwright.graphs.loop.visit import NodeVisit
from loopwright.memory.ledger import is_expired
from loopwright.schema import Act, Frozen, Verdict, canonical_json
from loopwright.tools.contract import Tool

WITHDRAWN = "STOP"
"""The rule that refuses what was asked for before a STOP."""
_STOPPED = Verdict(ok=False, rule=WITHDRAWN, reason="a human said STOP after it was asked for")


class ActResult(Frozen):
    """What became of a tool call. `output` is the tool's, as JSON; `rule` names the rule that refused it."""

    tool: str
    arguments: dict[str, Any]
    status: Literal["done", "refused", "failed"]
    output: dict[str, Any] = Field(default_factory=dict)
    rule: str = ""
    reason: str = ""
    approved_by: Literal["guard", "human"] | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.status == "done"

    @property
    def text(self) -> str:
        """What to tell the model that called the tool."""
        return canonical_json(self.output) if self.ok else f"{self.status.capitalize()}: {self.reason}"


class Actor:
    """Sends the acts of one visit of a node."""

    def __init__(self, ctx: NodeVisit) -> None:
        self._ctx = ctx
        self._questions = Questions(ctx)

    def act(
        self, key: str, tool: Tool[Any, Any], arguments: dict[str, Any], *, kind: str = "acted", because: str = ""
    ) -> ActResult:
        """Do one call of `tool` and record what became of it, as an event `kind`."""
        ctx = self._ctx
        if ctx.is_item:
            raise DeveloperError(f"An item of `ctx.map` calls `{tool.name}`, which acts. Act before or after the map.")
        if tool.effect != "actuate":
            return self._read(key, tool, arguments, kind)
        with ctx.runtime.acting:
            return self._judged_and_sent(key, tool, arguments, kind, because)

    def _judged_and_sent(
        self, key: str, tool: Tool[Any, Any], arguments: dict[str, Any], kind: str, because: str
    ) -> ActResult:
        ctx = self._ctx
        try:
            act = tool.propose(arguments, ctx.tool_context(key))
        except ToolRetry as error:
            return self._refused(key, tool, arguments, kind, Verdict(ok=False, rule="arguments", reason=str(error)))
        if act.tool != tool.name:
            raise DeveloperError(
                f"The tool `{tool.name}` yields an act of `{act.tool}`. An act is approved by its tool's name: yield "
                f"`Act(tool={tool.name!r}, ...)`."
            )
        verdict = self._guarded(f"{key}/guard", act)
        if not verdict.ok:
            return self._refused(key, tool, arguments, kind, verdict, act)
        if self._is_withdrawn(key, tool):
            return self._refused(key, tool, arguments, kind, _STOPPED, act)
        heard, seen = self._questions.look(f"{key}/look", lambda: {"ordered_by": self._ordered_by(act)})
        said_no = [one for one in heard if one.kind == "reject"]
        if said_no and tool.consent == "always":
            return self._refused(key, tool, arguments, kind, _said_no(said_no[-1]), act)
        if seen["ordered_by"] is not None:
            (order,) = ctx.runtime.gate.by_id([seen["ordered_by"]])
            return self._sent(key, tool, arguments, kind, act, order)
        if ctx.scope.config.approval == "guard" or tool.consent == "guard":
            return self._sent(key, tool, arguments, kind, act, None)
        answer = self._approval(key, tool, act, because)
        verdict = _verdict_of(answer)
        if answer.kind == "instead":
            self._refused(key, tool, arguments, kind, verdict, act)
            return self._edited(f"{key}/instead", tool, answer, kind)
        if verdict.ok:
            verdict = self._guarded(f"{key}/guard.2", act)
        if not verdict.ok:
            return self._refused(key, tool, arguments, kind, verdict, act)
        return self._sent(key, tool, arguments, kind, act, answer)

    def _edited(self, key: str, tool: Tool[Any, Any], answer: Heard, kind: str) -> ActResult:
        """Do what a human put in the place of an act: an act of its own, guarded, and consented to by saying it."""
        arguments = answer.words["arguments"]
        try:
            act = tool.propose(arguments, self._ctx.tool_context(key))
        except ToolRetry as error:
            return self._refused(key, tool, arguments, kind, Verdict(ok=False, rule="arguments", reason=str(error)))
        verdict = self._guarded(f"{key}/guard", act)
        if verdict.ok and self._is_withdrawn(key, tool):
            verdict = _STOPPED
        if not verdict.ok:
            return self._refused(key, tool, arguments, kind, verdict, act)
        return self._sent(key, tool, arguments, kind, act, answer)

    def _read(self, key: str, tool: Tool[Any, Any], arguments: dict[str, Any], kind: str) -> ActResult:
        """A call of a tool that does not act: recorded, and neither guarded nor approved."""
        called = {"tool": tool.name, "arguments": arguments}

        def call() -> dict[str, Any]:
            reply = tool.call(arguments, self._ctx.tool_context(key))
            if reply.status == "ok":
                return {**called, "status": "done", "output": reply.output}
            status = "failed" if reply.status == "failed" else "refused"
            return {**called, "status": status, "reason": reply.for_model}

        payload = self._ctx.runtime.recorder.record_external(self._ctx.place(key), kind, call, inputs=called)
        return _result(payload)

    def _guarded(self, key: str, act: Act) -> Verdict:
        """The first objection of the world's guard, of the loop's own, and of the budget of what the world counts."""
        ctx, recorder = self._ctx, self._ctx.runtime.recorder
        verdicts: list[Verdict] = []
        if ctx.scope.judges:

            def ask_world() -> dict[str, Any]:
                verdict, spent = ctx.scope.check(act)
                return {"act": act.model_dump(mode="json"), **verdict.model_dump(mode="json"), "spent": spent}

            asked = recorder.record_external(
                ctx.place(f"{key}/world"), "checked", ask_world, inputs=act.sha256, is_repeatable=True, is_late=True
            )
            if used_up := ctx.runtime.budget.exhausted_world(asked["spent"]):
                ctx.leave("failed", f"the budget is used up: {used_up}")
            verdicts.append(Verdict(ok=asked["ok"], rule=asked["rule"], reason=asked["reason"]))
        verdicts += [said for guard in ctx.scope.loop.guards if (said := _said(guard, act, ctx.state)) is not None]
        verdict = next((each for each in verdicts if not each.ok), Verdict(ok=True))
        told = {"tool": act.tool, "arguments": act.arguments, **verdict.model_dump(mode="json")}
        recorder.record_computed(ctx.place(key), "guarded", told)
        return verdict

    def _is_withdrawn(self, key: str, tool: Tool[Any, Any]) -> bool:
        """Whether a STOP came after the node began, and before this act was sent."""
        if tool.consent != "always":
            return False
        ctx = self._ctx
        known = ctx.runtime.recorder.expects(key)
        if known is not None:
            return known.get("rule") == WITHDRAWN
        return ctx.runtime.recorder.stopped_since(ctx.visit.key) and not ctx.runtime.was_sent(ctx.visit, key, tool.name)

    def _ordered_by(self, act: Act) -> int | None:
        """The message by which a human ordered exactly this act in this step, unless that was too long ago."""
        visit, gate = self._ctx.visit, self._ctx.runtime.gate
        found = gate.ordered_by(act, visit.branch, visit.step)
        if found is None or is_expired(gate.by_id([found])[0].received_at):
            return None
        return found

    def _approval(self, key: str, tool: Tool[Any, Any], act: Act, because: str) -> Heard:
        """What a human answers, asked for consent to this exact act."""
        reason = f" ({because})" if because else ""
        text = f"May I {tool.in_words(act.arguments)}?{reason}"
        heard = self._questions.answers(
            f"{key}/approve", text, ("approve", "reject", *self._ctx.scope.examples), APPROVAL, is_answer, act
        )
        return next(one for one in reversed(heard) if is_answer([one]))

    def _sent(
        self,
        key: str,
        tool: Tool[Any, Any],
        arguments: dict[str, Any],
        kind: str,
        act: Act,
        consent: Heard | None,
    ) -> ActResult:
        """Send an act that a human agreed to by `consent`, None: that the guard lets pass."""
        ctx = self._ctx
        by: Literal["guard", "human"] = "guard" if consent is None else "human"
        called = {"tool": tool.name, "arguments": arguments, "approved_by": by}
        approved_at = None if consent is None else consent.received_at

        def send() -> dict[str, Any]:
            try:
                output = tool.run(arguments, ctx.runtime.acting_context(ctx.scope, ctx.visit, key, by, approved_at))
            except ApprovalExpired as expired:
                ctx.runtime.refuse(ctx.scope, ctx.visit, key, tool.name, act, f"approval: {expired}")
                return {**called, "status": "refused", "rule": "approval", "reason": str(expired)}
            except ToolRefused as refusal:
                return {**called, "status": "refused", "rule": "world", "reason": str(refusal)}
            except ToolError as error:
                return {**called, "status": "failed", "rule": "", "reason": str(error)}
            return {**called, "status": "done", "output": output.model_dump(mode="json")}

        payload = ctx.runtime.recorder.record_external(ctx.place(key), kind, send, inputs=act.sha256, is_late=True)
        return self._counted(key, kind, _result(payload))

    def _refused(
        self,
        key: str,
        tool: Tool[Any, Any],
        arguments: dict[str, Any],
        kind: str,
        verdict: Verdict,
        act: Act | None = None,
    ) -> ActResult:
        """Record a refusal, with the ledger too, and send nothing."""
        ctx = self._ctx
        told = {
            "tool": tool.name, "arguments": arguments, "approved_by": None, "status": "refused",
            "rule": verdict.rule, "reason": verdict.reason,
        }  # fmt: skip

        def refuse() -> dict[str, Any]:
            if act is not None:
                ctx.runtime.refuse(ctx.scope, ctx.visit, key, tool.name, act, f"{verdict.rule}: {verdict.reason}")
            return told

        payload = ctx.runtime.recorder.record_external(ctx.place(key), kind, refuse)
        return self._counted(key, kind, _result(payload))

    def _counted(self, key: str, kind: str, result: ActResult) -> ActResult:
        if kind != "acted":  # what cannot look ends the loop anyway
            return result
        used_up = self._ctx.runtime.budget.count_act(self._ctx.visit.branch, key, is_done=result.ok)
        if used_up:
            self._ctx.leave("failed", f"the budget is used up: {used_up}; the last: {result.reason}")
        return result


def _result(payload: dict[str, Any]) -> ActResult:
    return ActResult.model_validate({n: v for n, v in payload.items() if n in ActResult.model_fields})


def _said_no(one: Heard) -> Verdict:
    why = one.words.get("reason", "")
    return Verdict(ok=False, rule="human", reason=f"the human said no{f': {why}' if why else ''}")


def _verdict_of(answer: Heard) -> Verdict:
    """Consent, or why there is none."""
    if answer.kind == "approve":
        return Verdict(ok=True)
    if answer.kind == "reject":
        return _said_no(answer)
    return Verdict(ok=False, rule="human", reason=f"the human said instead: {answer.text}")


def _said(guard: Guard, act: Act, state: State) -> Verdict | None:
    """What a guard says of an act."""
    said = guard(act, state)
    if said is None or isinstance(said, Verdict):
        return said
    raise DeveloperError(
        f"The guard `{getattr(guard, '__name__', guard)}` said {said!r}; expected a `Verdict` or None."
    )
