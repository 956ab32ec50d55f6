"""What a human may say to any loop. A loop adds its own kinds beside these in its `feedback` module."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from loopwright.schema.base import Frozen


class Approve(Frozen):
    """Go ahead with what is proposed."""

    kind: Literal["approve"] = "approve"


class Reject(Frozen):
    """Not that; propose something else."""

    kind: Literal["reject"] = "reject"
    reason: str = Field(default="", max_length=500)


class Stop(Frozen):
    """Send nothing further, now."""

    kind: Literal["stop"] = "stop"


class Note(Frozen):
    """Kept on record; changes nothing."""

    kind: Literal["note"] = "note"
    text: str = Field(max_length=2000)


class Unclear(Frozen):
    """Not understood: a clarification is asked for, never guessed into an act."""

    kind: Literal["unclear"] = "unclear"
    text: str = Field(max_length=2000)
    question: str


class Message(Frozen):
    """A message as it lies in the inbox: `parsed` is a feedback value's JSON, None until the loop has read it."""

    id: int
    session_id: str
    author: str
    text: str
    is_stop: bool
    received_at: datetime
    parsed: dict[str, Any] | None = None
    read_at_step: int | None = None
