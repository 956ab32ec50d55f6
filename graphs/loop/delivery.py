"""Saying something to a session of any status, from any process."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loopwright.agents.feedback import is_stop
from loopwright.agents.sessions.recorder import Recorder
from loopwright.errors import BadInput, LoopwrightError, OperatorError, SessionBusy
from loopwright.graphs.loop import runtime as live
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.serve import open_runtime
from loopwright.memory import Lease, Memory
from loopwright.schema import Stop
from loopwright.tools.actuate import STOP

FindLoop = Callable[[], Declaration]


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
    if withdrawn:
        inbox.withdraw_before(session_id, stops[-1].id, step)
    return len(reasons)


def deliver(
    memory: Memory,
    session_id: str,
    text: str,
    *,
    author: str = "clinician",
    loop: FindLoop | None = None,
    devices: Path | None = None,
) -> None:
    """Say something to a session of any status, from any process. `loop` and `devices`: see `stop_at_rest`.

    A STOP to a session that nobody runs is recorded at once, and the session is `stopped`.

    Raises:
        BadInput: the session has ended: there is nothing to stop or to hear.
        OperatorError: see `stop_at_rest`; the STOP is recorded.
    """
    memory.sessions.get(session_id).require_going_on()
    live.say(memory, session_id, text, author=author)
    if is_stop(text):
        stop_at_rest(memory, session_id, loop, devices)


def stop_at_rest(memory: Memory, session_id: str, loop: FindLoop | None = None, devices: Path | None = None) -> None:
    """A STOP that was delivered to a session that nobody runs is recorded at once, and the session is `stopped`.

    Whoever ran it may have been suspended right before an act was sent: then the devices refuse that act from now on.

    Args:
        memory: where the session is.
        session_id: its id.
        loop: finds its loop, which opens its devices; called where there is such an act.
        devices: the folder of the devices; None: the usual one.

    Raises:
        OperatorError: there is such an act, and its device could not be told. The STOP is recorded all the same.
    """
    if live.find_runtime(memory, session_id) is not None:
        return
    with suppress(SessionBusy), memory.sessions.acquire(session_id) as lease:
        try:
            _close_acts(memory, session_id, lease, loop, devices)
        finally:
            events = memory.events.read(session_id)
            branch, step = (events[-1].branch, events[-1].step) if events else (0, 0)
            record_stops(memory, Recorder(memory, session_id), branch, step)
            memory.sessions.set_status(session_id, "stopped")


def _close_acts(memory: Memory, session_id: str, lease: Lease, loop: FindLoop | None, devices: Path | None) -> None:
    """Nothing that is open on the ledger happens any more."""
    if any(entry.status == "authorised" for entry in memory.ledger.unsettled(session_id)):
        try:
            if loop is None:
                raise BadInput("it is not known which loop opens it.")
            runtime = open_runtime(loop(), memory.sessions.get(session_id), memory, lease, devices=devices)
            for path in runtime.worlds:
                runtime.actuator(runtime.scopes[path]).take_over(lease.token)
        except LoopwrightError as error:
            raise OperatorError(
                f"The STOP is in. But an act of session {session_id} was authorised and has no outcome: a process that "
                f"was suspended may still send it, and its device could not be told to refuse it: {error} Look at the "
                f"device, and end that process. `loopwright sessions resume {session_id}` asks the device first."
            ) from error
    for entry in memory.ledger.unsettled(session_id):
        memory.ledger.refuse(entry.key, STOP)
