"""Answers questions about a session from its record: "where are you?", "why did you stop?", "what did I say of T12?".

Read only, for a session of any status and any loop, without a model: an answer is made of what events say, as the loop
describes them, and names the events that it rests on. What the record does not say is not answered.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from loopwright.agents.feedback import is_query
from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.describe import describe_in
from loopwright.graphs.sessions import headline
from loopwright.memory import Memory, SessionRow
from loopwright.schema import Event

MOST = 3
"""Lines of an answer; the latest ones."""
_SAID = re.compile(r"\b(?:did|have) (?:i|we|they|you) (?:say|said|tell|told|ask|hear|heard)\b|\b(?:was|been) said\b")
_HELP = re.compile(r"help|.*\bcan (?:i|you|we) (?:say|do|ask)\b.*")
_GOAL = re.compile(r".*\b(?:target|goal|aim|task|trying|supposed|about)\b.*|what are you doing.*")
_WHERE = re.compile(r"where\b.*|what (?:do|can) you see.*|what is (?:it|that|there|in view).*|.*\bposition\b.*")
_NEXT = re.compile(r".*\b(?:plan|next|going to|intend)\b.*")
_COUNT = re.compile(r"how (?:many|far|long)\b.*")
_STATUS = re.compile(r"(?:are|is|was) (?:you|it|the session)\b.*|how is it going.*|what is the status.*")
_WHY_ENDED = re.compile(
    r".*\b(?:stop(?:ped)?|end(?:ed)?|pause[ds]?|wait(?:ing)?|ask(?:ed|ing)?|fail(?:ed)?|finish(?:ed)?)\b.*"
)
_WHY_REFUSED = re.compile(r".*\b(?:refuse[ds]?|reject(?:ed)?|not move|(?:did|do)n'?t (?:you )?(?:move|go|act|do))\b.*")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about an and are at can did do does for have has how i in is it me my of on or said say so that the there "
        "this to told was we were what when where which who why with you your",
    )
)


_NO_REASONS = frozenset(
    {"node", "observed", "guarded", "checked", "heard", "asked", "taken", "started", "resumed", "paused"}
)


class Answer(NamedTuple):
    """What the record says, and the numbers (`Event.seq`) of the events that it rests on; none: it says nothing."""

    text: str
    events: tuple[int, ...] = ()

    def __str__(self) -> str:
        """With its events named."""
        rests = ", ".join(map(str, self.events))
        return f"{self.text} [event{'s' * (len(self.events) > 1)} {rests}]" if self.events else self.text


def answer(memory: Memory, session_id: str, question: str, loop: Declaration) -> Answer:
    """Answer from the record.

    Args:
        memory: where the session is.
        session_id: its id.
        question: in plain words.
        loop: the session's, which describes its events.

    Raises:
        UnknownName: there is no such session.
    """
    row = memory.sessions.get(session_id)
    asked = " ".join(question.casefold().replace("’", "'").split()).strip(" .,;:!?")
    record = _Record(memory.events.read(session_id), row, loop)
    if _SAID.search(asked):
        return record.said(asked)
    return next(found for matches, reply in _REPLIES if matches(asked) and (found := reply(record, asked)) is not None)


class _Record:
    """The events of a session on its present branch, read for answers."""

    def __init__(self, events: Sequence[Event], row: SessionRow, loop: Declaration) -> None:
        self.events, self.row, self.loop = events, row, loop

    def said(self, asked: str) -> Answer:
        """What people said, of what the question names."""
        wanted = _content(asked)
        found = [
            (event.seq, f"{heard.author} said {heard.text!r}")
            for event in self.events
            for heard in _heard(event)
            if not is_query(heard.text) and (not wanted or wanted & _content(heard.text.casefold()))
        ]
        return _joined(found) or Answer(f"Nobody said anything{' about that' if wanted else ''}, by the record.")

    def help(self, asked: str) -> Answer:
        """What can be said, and asked."""
        examples = self.loop.language.examples
        return Answer(f"{examples} You can ask where it is, why, what was said about something, and what comes next.")

    def goal(self, asked: str) -> Answer | None:
        """What the session is about, and how that was changed since."""
        found = [(event.seq, f"it was told {h.text!r}") for event in self.events for h in _heard(event) if _orders(h)]
        about = headline(self.loop, self.row)
        if not about and not found:
            return None
        begun = f"It was begun for: {about}." if about else ""
        if (said := _joined(found)) is None:
            return Answer(begun)
        return Answer(f"{begun} Since then {said.text[0].lower()}{said.text[1:]}".strip(), said.events)

    def where(self, asked: str) -> Answer | None:
        """What was observed last."""
        return self.last("observed", "acted")

    def ended(self, asked: str) -> Answer | None:
        """Why it does not go on."""
        return self.last("finished", "stopped", "paused", "asked", "uncertain", "error")

    def refused(self, asked: str) -> Answer:
        """Why an act did not happen."""
        refusals = [e for e in self.events if e.kind == "acted" and e.payload.get("status") not in (None, "done")]
        checks = [e for e in self.events if e.kind in ("guarded", "verified") and e.payload.get("ok") is False]
        return self.told((refusals or checks)[-1:]) or Answer("Nothing was refused, by the record.")

    def why(self, asked: str) -> Answer | None:
        """What led to the last act: what was computed and replied before it in its step."""
        acts = [event for event in self.events if event.kind == "acted"]
        if not acts:
            return None
        last = acts[-1]
        before = [
            event
            for event in self.events
            if (event.branch, event.step) == (last.branch, last.step) and event.seq <= last.seq
            and event.kind not in _NO_REASONS
        ]  # fmt: skip
        return self.told(before)

    def next(self, asked: str) -> Answer | None:
        """What was planned or asked last."""
        return self.told([event for event in self.events if event.kind not in {*_NO_REASONS, "acted"}][-4:])

    def count(self, asked: str) -> Answer:
        """How much was done."""
        acts = [event for event in self.events if event.kind == "acted" and event.payload.get("status") == "done"]
        steps = max((event.step for event in self.events), default=0)
        spent = self.events[-1].created_at - self.events[0].created_at if self.events else None
        took = f" in {spent.total_seconds():.0f} s" if spent is not None else ""
        return Answer(f"{len(acts)} acts, up to step {steps}{took}.", tuple(e.seq for e in acts[-1:]))

    def status(self, asked: str) -> Answer:
        """How it stands."""
        latest = self.ended(asked) if self.row.status != "running" else self.where(asked)
        return Answer(
            f"The session is {self.row.status}.{f' {latest.text}' if latest else ''}", latest.events if latest else ()
        )

    def search(self, asked: str) -> Answer:
        """The latest lines that hold most of the question's words."""
        wanted = _content(asked)
        lines = [(seq, text, len(wanted & _content(text.casefold()))) for seq, text in self.lines(self.events)]
        most = max((hits for _, _, hits in lines), default=0)
        found = _joined([(seq, text) for seq, text, hits in lines if hits == most]) if most else None
        return found or Answer(f"The record does not say. {self.loop.language.examples}")

    def last(self, *kinds: str) -> Answer | None:
        """The last event of these kinds that says anything."""
        for event in reversed(self.events):
            if event.kind in kinds and (found := self.told([event])):
                return found
        return None

    def told(self, events: Sequence[Event]) -> Answer | None:
        """What events say, as the loop describes them."""
        return _joined(list(self.lines(events)))

    def lines(self, events: Sequence[Event]) -> Iterator[tuple[int, str]]:
        for event in events:
            if event.kind == "heard" and all(is_query(each.text) for each in _heard(event)):
                continue
            for line in describe_in(self.loop, event):
                detail = f" ({line.detail})" if line.detail else ""
                yield event.seq, f"{line.label}: {line.text}{detail}"


_Reply = Callable[[_Record, str], Answer | None]
_REPLIES: tuple[tuple[Callable[[str], object], _Reply], ...] = (
    (_HELP.fullmatch, _Record.help),
    (lambda asked: asked.startswith("why") and _WHY_REFUSED.fullmatch(asked), _Record.refused),
    (lambda asked: asked.startswith(("why", "who", "when")) and _WHY_ENDED.fullmatch(asked), _Record.ended),
    (lambda asked: asked.startswith("why"), _Record.why),
    (_COUNT.fullmatch, _Record.count),
    (_NEXT.fullmatch, _Record.next),
    (_GOAL.fullmatch, _Record.goal),
    (_WHERE.fullmatch, _Record.where),
    (_STATUS.fullmatch, _Record.status),
    (lambda asked: True, _Record.search),
)
"""What is asked, and who answers; one that has nothing to say leaves it to the next."""


def _heard(event: Event) -> list[Heard]:
    return [Heard.model_validate(each) for each in event.payload.get("messages", ())]


def _orders(heard: Heard) -> bool:
    return heard.kind not in ("approve", "reject", "instead", "stop", "note", "query", "unclear")


def _content(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w'-]+", text)) - _STOP_WORDS


def _joined(found: Sequence[tuple[int, str]]) -> Answer | None:
    if not found:
        return None
    latest = found[-MOST:]
    text = "; ".join(text.rstrip(".") for _, text in latest)
    return Answer(f"{text[0].upper()}{text[1:]}.", tuple(dict.fromkeys(seq for seq, _ in latest)))
