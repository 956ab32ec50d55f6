"""Saying something to a session of any status, from any process."""

from contextlib import suppress

from loopwright.agents.feedback import is_stop
from loopwright.agents.sessions.recorder import Recorder
from loopwright.errors import SessionBusy
from loopwright.graphs.loop import runtime as live
from loopwright.memory import Memory
from loopwright.schema import Stop


def record_stops(
    memory: Memory, recorder: Recorder, branch: int, step: int, *, reason: str = "", up_to: int | None = None
) -> int:
    """Each STOP that was delivered becomes an event, once, and withdraws what was said before it; their number.

    `reason` is that of a STOP without a message, `up_to` the last message to look at.
    """
    inbox, session_id = memory.inbox, recorder.session_id
    stops = [message for message in inbox.unread_stops(session_id) if up_to is None or message.id <= up_to]
    withdrawn = inbox.unread_before(session_id, stops[-1].id) if stops else []
    done = [e for e in memory.ledger.of(session_id) if e.outcome is not None and e.outcome.status == "done"]
    last = done[-1].act.model_dump(mode="json") if done else None
    reasons = [f"{message.author}: {message.text}" for message in stops] or ([reason] if reason else [])
    for why in reasons:
        payload = {
            "reason": why, "acts_sent": len(done), "last_act_sent": last, "withdrawn": withdrawn,
        }  # fmt: skip
        recorder.record_process("stopped", payload, branch=branch, step=step)
    inbox.mark_read(session_id, {stop.id: Stop().model_dump(mode="json") for stop in stops}, step)
    if stops:
        inbox.withdraw_before(session_id, stops[-1].id, step)
    return len(reasons)


def deliver(memory: Memory, session_id: str, text: str, *, author: str = "clinician") -> None:
    """Say something to a session of any status, from any process.

    A STOP to a session that nobody runs is recorded at once, and the session is `stopped`.

    Raises:
        BadInput: the session has ended: there is nothing to stop or to hear.
    """
    memory.sessions.get(session_id).require_going_on()
    live.say(memory, session_id, text, author=author)
    if is_stop(text):
        stop_at_rest(memory, session_id)


def stop_at_rest(memory: Memory, session_id: str) -> None:
    """A STOP that was delivered to a session that nobody runs is recorded at once, and the session is `stopped`."""
    if live.find_runtime(memory, session_id) is not None:
        return
    with suppress(SessionBusy), memory.sessions.acquire(session_id):
        events = memory.events.read(session_id)
        branch, step = (events[-1].branch, events[-1].step) if events else (0, 0)
        record_stops(memory, Recorder(memory, session_id), branch, step)
        memory.sessions.set_status(session_id, "stopped")
