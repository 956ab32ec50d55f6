"""What any loop's agent may ask its memory, and note down in it. Knows no world."""

from typing import TYPE_CHECKING

from pydantic import Field

from loopwright.errors import DeveloperError
from loopwright.schema import Frozen, canonical_json, sha256_of
from loopwright.tools.contract import ToolContext, tool

if TYPE_CHECKING:
    from loopwright.memory import Memory, StepRow

MAX_STEPS = 20
MAX_RUNS = 64
MAX_LABEL = 80
MAX_DETAIL = 600


class History(Frozen):
    """What `recall_history` is asked."""

    n: int = Field(ge=1, le=MAX_STEPS, description="number of the latest steps to recall in detail")


class Similar(Frozen):
    """What `recall_similar` is asked."""

    n: int = Field(ge=1, le=MAX_STEPS, description="number of steps to recall, the newest first")


class NoteText(Frozen):
    """What `leave_note` is given."""

    text: str = Field(min_length=1, max_length=1000, description="what to keep on record")


class PastStep(Frozen):
    """One step of perceiving and acting."""

    session_id: str = Field(max_length=64)
    branch: int = Field(description="number of rewinds before it")
    step: int = Field(description="index of the step")
    label: str = Field(max_length=MAX_LABEL, description="what was done")
    detail: str = Field(max_length=MAX_DETAIL, description="JSON, cut where it is long")


class Run(Frozen):
    """Steps in a row in which the same was done."""

    label: str = Field(max_length=MAX_LABEL, description="what was done")
    first_step: int = Field(description="index of the first step")
    last_step: int = Field(description="index of the last step")
    n: int = Field(description="number of steps")


class Recalled(Frozen):
    """A session's past, oldest first."""

    steps: tuple[PastStep, ...] = Field(max_length=MAX_STEPS)
    earlier: tuple[Run, ...] = Field(max_length=MAX_RUNS)
    n_omitted: int = Field(description="number of still earlier steps that are in neither")


class Precedents(Frozen):
    """Past steps that were like the present one, newest first."""

    steps: tuple[PastStep, ...] = Field(max_length=MAX_STEPS)


class Noted(Frozen):
    """Where a note was recorded."""

    seq: int = Field(description="index of the event in the session's log")


@tool(effect="read", timeout_s=10)
def recall_history(args: History, context: ToolContext) -> Recalled:
    """Recall what was done in this session: the latest steps in detail, all earlier ones as runs of labels."""
    past = _memory(context).steps.near_history(context.session_id, args.n, max_runs=MAX_RUNS)
    return Recalled(
        steps=tuple(_round(row) for row in past.steps),
        earlier=tuple(
            Run(label=_cut(r.label, MAX_LABEL), first_step=r.first_step, last_step=r.last_step, n=r.n)
            for r in past.earlier
        ),
        n_omitted=past.n_omitted,
    )


@tool(effect="read", timeout_s=10)
def recall_similar(args: Similar, context: ToolContext) -> Precedents:
    """Recall what was done, in any session of this loop, in situations like that of this session's latest step."""
    steps = _memory(context).steps
    latest = steps.near_history(context.session_id, 1).steps
    if not latest:
        return Precedents(steps=())
    alike = steps.similar(latest[0].loop, latest[0].signature, args.n + 1)
    return Precedents(steps=tuple(_round(row) for row in alike if row != latest[0])[: args.n])


@tool(effect="write", timeout_s=10)
def leave_note(args: NoteText, context: ToolContext) -> Noted:
    """Keep a note on record in this session's log, for the people who read it; it changes nothing else."""
    key = f"{context.key('leave_note')}/{sha256_of(args.text)[:16]}"
    event = _memory(context).events.append(
        context.session_id, "note", {"text": args.text}, branch=context.branch, step=context.step, key=key
    )
    return Noted(seq=event.seq)


def _memory(context: ToolContext) -> "Memory":
    if context.memory is None:
        raise DeveloperError("This tool reads the memory; give the `ToolContext` a `memory=open_memory(url)`.")
    return context.memory


def _round(row: "StepRow") -> PastStep:
    return PastStep(
        session_id=row.session_id,
        branch=row.branch,
        step=row.step,
        label=_cut(row.label, MAX_LABEL),
        detail=_cut(canonical_json(row.detail), MAX_DETAIL),
    )


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
