"""A session's log as AG-UI events (protocol 1.0), for front ends that speak it: `POST /api/agui/LOOP`.

A run of the protocol goes from one thing that a person says to the next rest of the session. Which session, and what of
it was told already, is in the state that the run ends with and the client sends back. The extra `agui` brings the
protocol's own types.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from ag_ui import core
from ag_ui.encoder import EventEncoder

from loopwright.agents.feedback import is_stop
from loopwright.graphs.loop.human import message_of
from loopwright.graphs.loop.lines import visible
from loopwright.schema import Event
from loopwright.web.console import Console, SessionView
from loopwright.web.refusal import Refusal

POLL_S = 0.05
_CALLS = ("observed", "acted")
_SILENT = ("heard", "asked")
"""What the client said, and what the end of the run tells as an interrupt."""


class Asked(NamedTuple):
    """A request, as far as it concerns a session."""

    session: str
    after: int
    is_stop: bool


async def run(console: Console, loop: str, asked: core.RunAgentInput, author: str) -> AsyncIterator[str]:
    """The frames of one run.

    Raises:
        LoopwrightError: a session cannot be begun, or cannot hear; before the first frame.
    """
    found = await asyncio.to_thread(_begin, console, loop, asked, author)
    return _frames(console, asked, found)


def _begin(console: Console, loop: str, asked: core.RunAgentInput, author: str) -> Asked:
    """Begin a session or go on with one, and tell it what the person said."""
    state = asked.state if isinstance(asked.state, dict) else {}
    session, after = str(state.get("session", "")), state.get("after", 0)
    if not session:
        given = asked.forwarded_props if isinstance(asked.forwarded_props, dict) else {}
        session = console.start(loop, dict(given.get("config", {})), dict(given.get("models", {})))
    else:
        console.row(session)
    said = list(_said(asked))
    for text in said:
        console.say(session, text, author)
    if not isinstance(after, int) or after < 0:
        raise Refusal(f"`state.after` is {after!r}; expected the number that the last run ended with.", 400)
    return Asked(session, after, any(map(is_stop, said)))


def _said(asked: core.RunAgentInput) -> Iterator[str]:
    """What is new: answers to interrupts, or the last message, if it is a person's."""
    for entry in asked.resume or ():
        if entry.status == "cancelled":
            yield f"{entry.interrupt_id}: reject"
        elif isinstance(entry.payload, dict):
            yield f"{entry.interrupt_id}: {message_of(entry.payload)}"
        else:
            yield f"{entry.interrupt_id}: {entry.payload}"
    last = asked.messages[-1] if asked.messages and not asked.resume else None
    if isinstance(last, core.UserMessage) and isinstance(last.content, str) and last.content.strip():
        yield last.content


async def _frames(console: Console, asked: core.RunAgentInput, found: Asked) -> AsyncIterator[str]:
    encode = EventEncoder().encode
    yield encode(core.RunStartedEvent(thread_id=asked.thread_id, run_id=asked.run_id))
    after, step = found.after, -1
    while True:
        view = await asyncio.to_thread(console.view, found.session)
        for event in view.events[after:]:
            if event.step != step:
                if step >= 0:
                    yield encode(core.StepFinishedEvent(step_name=f"step {step}"))
                step = event.step
                yield encode(core.StepStartedEvent(step_name=f"step {step}"))
            for told in _told(console, event, view):
                yield encode(told)
        after = max(after, len(view.events))
        if await asyncio.to_thread(_rests, console, view, found):
            break
        await asyncio.sleep(POLL_S)
    if step >= 0:
        yield encode(core.StepFinishedEvent(step_name=f"step {step}"))
    yield encode(core.StateSnapshotEvent(snapshot={"session": found.session, "after": after, "status": view.status}))
    yield encode(_end(view, asked))


def _told(console: Console, event: Event, view: SessionView) -> Iterator[core.BaseEvent]:
    """One event of ours, in theirs."""
    text = "\n".join(visible(line.text) for line in console.lines(event, view.loop) if line.text)
    name = str(event.seq)
    if event.kind in _CALLS and "tool" in event.payload:
        yield core.ToolCallStartEvent(tool_call_id=name, tool_call_name=event.payload["tool"])
        yield core.ToolCallArgsEvent(tool_call_id=name, delta=json.dumps(event.payload.get("arguments", {})))
        yield core.ToolCallEndEvent(tool_call_id=name)
        yield core.ToolCallResultEvent(tool_call_id=name, message_id=f"{name}-result", content=text or "done")
    elif text and event.kind not in _SILENT:
        yield core.TextMessageStartEvent(message_id=name)
        yield core.TextMessageContentEvent(message_id=name, delta=text)
        yield core.TextMessageEndEvent(message_id=name)


def _rests(console: Console, view: SessionView, asked: Asked) -> bool:
    """Whether nothing more comes by itself: not while what the client said is about to be read."""
    if view.status == "waiting":
        is_read = next(console.memory.inbox.each_unread(asked.session), None) is None
        return is_read and not asked.is_stop and any(one.answer is None for one in view.questions)
    return view.status not in ("created", "running") and not view.is_held


def _end(view: SessionView, asked: core.RunAgentInput) -> core.BaseEvent:
    thread, run_id = asked.thread_id, asked.run_id
    waiting = [one for one in view.questions if one.answer is None]
    if waiting and view.status == "waiting":
        interrupts = [
            core.Interrupt(id=one.question.id, reason=one.question.about, message=visible(one.question.text))
            for one in waiting
        ]
        outcome = core.RunFinishedInterruptOutcome(interrupts=interrupts)
        return core.RunFinishedEvent(thread_id=thread, run_id=run_id, outcome=outcome)
    if view.status == "failed":
        return core.RunErrorEvent(message=f"session {view.row.id} has failed")
    return core.RunFinishedEvent(thread_id=thread, run_id=run_id, result={"status": view.status})
