"""A session's log as server-sent events: what is there already, then each event as it is written.

The id of an event is its `seq`, so that a client that comes back with `Last-Event-ID` misses nothing and sees nothing
twice. Frames without an id tell what is no event: the session's status, and what a model is saying.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from loopwright.web.console import Console

POLL_S = 0.2
KEEP_ALIVE_S = 15.0


async def stream(console: Console, session_id: str, after: int, expires: float) -> AsyncIterator[str]:
    """The frames of one client, until it goes away or its token expires, s since the epoch."""
    told: tuple[Any, ...] = ()
    quiet_s = 0.0
    while time.time() < expires:
        view = await asyncio.to_thread(console.view, session_id)
        frames = []
        for event in view.events[after:]:
            lines = [line._asdict() for line in console.lines(event, view.loop)]
            data = {**event.model_dump(mode="json"), "lines": lines}
            frames.append(_frame("event", data, event.seq))
        after = max(after, len(view.events))
        now = (view.status, [each.json() for each in view.questions], view.speaking)
        if now != told:
            told = now
            frames.append(_frame("status", {"status": now[0], "questions": now[1], "speaking": now[2]}))
        quiet_s = 0.0 if frames else quiet_s + POLL_S
        if quiet_s >= KEEP_ALIVE_S:
            quiet_s = 0.0
            frames.append(": still here\n\n")
        for frame in frames:
            yield frame
        await asyncio.sleep(POLL_S)


def _frame(kind: str, data: dict[str, Any], seq: int | None = None) -> str:
    named = "" if seq is None else f"id: {seq}\n"
    return f"{named}event: {kind}\ndata: {json.dumps(data)}\n\n"
