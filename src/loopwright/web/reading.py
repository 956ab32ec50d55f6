"""What the console reads of a session's log: its steps, its open questions, and what it waits for."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from loopwright.agents.sessions.gate import ADDRESSED, APPROVAL, Question
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.memory import Memory, SessionRow
from loopwright.schema import Event, Message, Note, Query, Stop, Unclear

MAX_LOGS = 64
"""Sessions whose logs are kept in memory; a log only grows, so what was read once is read."""


class Asked(NamedTuple):
    """An open question. `act` is the exact call that awaits approval, `answer` what was said and is not heard yet."""

    question: Question
    asked_at: datetime
    step: int
    act: dict[str, Any] | None
    answer: Message | None

    def json(self) -> dict[str, Any]:
        """For a client of the API."""
        return {
            **self.question.model_dump(mode="json"),
            "asked_at": self.asked_at.isoformat(),
            "step": self.step,
            "act": self.act,
            "answer": None if self.answer is None else self.answer.model_dump(mode="json"),
        }


class Logs:
    """The logs of sessions, each read once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, list[Event]] = OrderedDict()

    def read(self, session_id: str) -> list[Event]:
        """Every event so far, oldest first."""
        with self._lock:
            known = self._kept.pop(session_id, [])
            known = [*known, *new] if (new := self._memory.events.read(session_id, after=len(known))) else known
            self._kept[session_id] = known
            while len(self._kept) > MAX_LOGS:
                self._kept.popitem(last=False)
            return known


def open_questions(memory: Memory, row: SessionRow, events: Sequence[Event], language: FeedbackLanguage) -> list[Asked]:
    """What a session waits to be told, the oldest first."""
    if row.status not in ("waiting", "running", "paused"):
        return []
    begun = max((n for n, e in enumerate(events) if e.kind in ("stopped", "rewound")), default=-1)
    current = events[begun + 1 :]
    answered = {e.payload["question"] for e in current if e.kind == "answered"}
    asked = [e for e in current if e.kind == "asked" and e.payload["question"]["id"] not in answered]
    if not asked:
        return []
    said = memory.inbox.since(row.id, min(e.step for e in asked))
    calls = {e.key: e.payload for e in current if e.kind == "guarded"}
    return [_asked(event, len(asked), said, calls, language) for event in asked]


def _asked(
    event: Event, n_open: int, said: Sequence[Message], calls: dict[Any, Any], language: FeedbackLanguage
) -> Asked:
    question = Question.model_validate(event.payload["question"])
    call = calls.get(f"{(event.key or '').removesuffix('/approve/asked')}/guard")
    act = None
    if question.about == APPROVAL and call is not None:
        act = {"tool": call["tool"], "arguments": call["arguments"]}
    answers = (m for m in said if m.received_at >= event.created_at and _answers(m, question, n_open, language))
    return Asked(question, event.created_at, event.step, act, next(answers, None))


def _answers(message: Message, question: Question, n_open: int, language: FeedbackLanguage) -> bool:
    """Whether a message answers a question, as the session will understand it."""
    if message.is_stop:
        return False
    addressed = ADDRESSED.fullmatch(message.text)
    if addressed["question"].lower() != question.id if addressed else n_open > 1:
        return False
    if message.parsed is not None:
        return message.parsed["kind"] not in ("note", "query", "unclear", "stop")
    return not isinstance(
        language.parse(addressed["rest"] if addressed else message.text), Note | Query | Stop | Unclear
    )
