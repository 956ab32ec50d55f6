"""The feedback gate: what humans say enters a session here, in order, each message once (DESIGN rule 6).

A look into the inbox is an entry of the record, also an empty one. What was heard waits until the loop takes it. What
is not understood holds the loop, whatever its policy, until something that is understood was said; a yes answers only
what was asked before it was said. Knows no loop and no graph.
"""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from loopwright.agents.sessions.interpreting import Interpreter, chosen
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.agents.sessions.recorder import Payload, Place, Recorder
from loopwright.memory import Memory
from loopwright.schema import Act, CancelToken, Event, Feedback, Frozen, Instead, Unclear

_MARKED_AT_ONCE = 500
APPROVAL = "approval"
"""What a question is about that asks for consent to an act."""
ADDRESSED = re.compile(r"\s*(?P<question>q\d+)\s*[:,.]?\s+(?P<rest>\S.*)", re.IGNORECASE | re.DOTALL)
"""A message that names the question that it answers: `q1: approve`."""


class Question(Frozen):
    """What a loop asks a human. `about` names its reason, `options` answers that would do."""

    id: str
    about: str
    text: str
    options: tuple[str, ...] = ()


class Heard(Frozen):
    """One message as understood. `words` is the JSON of a feedback value, `question` the one that it names."""

    message_id: int
    author: str
    text: str
    words: dict[str, Any]
    question: str | None = None
    received_at: datetime

    @property
    def kind(self) -> str:
        """The kind of what was said."""
        return str(self.words["kind"])


class OpenQuestion(NamedTuple):
    """A question that waits for an answer."""

    about: str
    text: str
    asked_at: datetime


class FeedbackGate:
    """A session's ears. Rebuilt from its log, so that a killed process forgets nothing that was said."""

    def __init__(
        self,
        memory: Memory,
        recorder: Recorder,
        language: FeedbackLanguage,
        cancel: CancelToken,
        interpreter: Interpreter | None = None,
    ) -> None:
        self.language, self._interpreter = language, interpreter
        self._memory, self._recorder, self._cancel = memory, recorder, cancel
        self._lock = threading.RLock()
        self._heard: dict[int, Heard] = {}
        self._of_record: dict[int, Heard] = {}
        self._heard_at: dict[tuple[int, int], list[int]] = {}
        self._waiting: list[int] = []
        self._unclear: int | None = None
        self._open: dict[str, OpenQuestion] = {}
        self._answered: set[str] = set()
        self._done_orders: set[int] = set()
        self._n_questions = 0
        self._read_back_at: datetime | None = None
        for event in recorder.events:
            self._restore(event)
        for event in recorder.record:
            self._of_record |= {one.message_id: one for one in _messages(event.payload)}

    def look(
        self,
        place: Place,
        kind: str,
        more: Callable[[], Payload] = dict,
        *,
        since: int | None = None,
        take: Callable[[Heard], bool] | None = None,
    ) -> Payload:
        """Take in what is unread, as one entry of the record; returns its payload.

        Its `messages` are those that were read here, `unclear` names the message that holds the loop after them (None:
        none does), `seen` all that was heard after the first `since` messages of the session, and `taken` what of the
        messages that wait is wanted by `take`; these do not wait any more.
        """
        with self._lock:
            read: list[Heard] = []

            def look() -> Payload:
                read.extend(self._unread())
                found: Payload = {**more(), "messages": [h.model_dump(mode="json") for h in read]}
                if since is not None:
                    found["since"] = since
                    found["seen"] = [*list(self._heard)[since:], *(h.message_id for h in read)]
                if take is not None:
                    waiting = [*self.waiting, *read]
                    found["taken"] = [h.message_id for h in waiting if take(h)]
                return {**found, "unclear": self._unclear_after(read)}

            payload, is_new = self._recorder.record_look(place, kind, look, _is_empty)
            if is_new:
                self._absorb(place.branch, place.step, payload)
            self._mark_read(read, place.step)
            return payload

    def take(self, place: Place, wanted: Callable[[Heard], bool]) -> list[Heard]:
        """What was heard, is `wanted` and was not taken before, oldest first."""
        with self._lock:

            def choose() -> Payload:
                return {"taken": [i for i in self._waiting if wanted(self._heard[i])]}

            payload, is_new = self._recorder.record_look(place, "taken", choose, lambda p: not p["taken"])
            if is_new:
                self._take(payload["taken"])
            return self.by_id(payload["taken"])

    def by_id(self, message_ids: Iterable[int]) -> list[Heard]:
        """These messages; in a replay also those that a node beside this one has heard, and will hear again."""
        with self._lock:
            known = {**self._of_record, **self._heard}
            return [known[i] for i in message_ids]

    def ordered_by(self, act: Act, branch: int, step: int) -> int | None:
        """The message by which a human ordered exactly this act in this step; an order is for one act."""
        with self._lock:
            heard = [self._heard[i] for i in self._heard_at.get((branch, step), ()) if i not in self._done_orders]
        values = {one.message_id: self.language.load(one.words) for one in heard}
        return next((i for i, value in values.items() if isinstance(value, Feedback) and value.orders(act)), None)

    @property
    def waiting(self) -> list[Heard]:
        """What was heard and not taken."""
        with self._lock:
            return [self._heard[i] for i in self._waiting]

    @property
    def n_heard(self) -> int:
        """How many messages were heard so far."""
        with self._lock:
            return len(self._heard)

    def next_question_id(self) -> str:
        """The name of the next question: q1, q2, ..."""
        with self._lock:
            return f"q{self._n_questions + 1}"

    def ask(self, place: Place, question: Callable[[str], Question]) -> tuple[Question, datetime]:
        """Record a question (once) and open it; returns it, and when it was asked."""
        with self._lock:

            def compose() -> Payload:
                return {"question": question(self.next_question_id()).model_dump(mode="json")}

            payload, is_new = self._recorder.record_look(place, "asked", compose, lambda _: False)
            asked = Question.model_validate(payload["question"])
            self._n_questions += is_new
            self._note_read_back(asked, self._recorder.written_at(place.key))
            self._open_again(asked, self._recorder.written_at(place.key))
            return asked, self._recorder.written_at(place.key)

    def close(self, place: Place, question_id: str, message_ids: Sequence[int]) -> None:
        """A question was answered by these messages."""
        with self._lock:
            self._recorder.record_computed(
                place, "answered", {"question": question_id, "message_ids": list(message_ids)}
            )
            self._closed(question_id)

    def withdraw(self) -> None:
        """Forget what was said and asked, and is not acted on yet: a STOP, or a rewind, goes before it."""
        with self._lock:
            self._waiting.clear()
            self._heard_at.clear()
            self._open.clear()
            self._unclear = None

    def clarification(self, message_id: int) -> str:
        """What to ask about a message that was not understood, and what else waits for an answer."""
        (unclear,) = self.by_id([message_id])
        question = self.language.load(unclear.words).question  # type: ignore[attr-defined]
        with self._lock:
            still_open = "".join(f" Still open: {name}: {asked.text}" for name, asked in self._open.items())
        return f"{question} (I heard: {unclear.text!r}){still_open}"

    def _mark_read(self, heard: Iterable[Heard], step: int) -> None:
        """Some at a time: a STOP does not wait for the rest, which it withdraws."""
        readings = [(one.message_id, one.words) for one in heard]
        for first in range(0, len(readings), _MARKED_AT_ONCE):
            some = dict(readings[first : first + _MARKED_AT_ONCE])
            self._memory.inbox.mark_read(self._recorder.session_id, some, step)
            if first + _MARKED_AT_ONCE < len(readings):
                self._cancel.raise_if_set()

    def _unread(self) -> list[Heard]:
        """What was not read before; halts with the session, as there may be very much of it."""
        read: list[Heard] = []
        known: list[Heard] = []
        for message in self._memory.inbox.each_unread(self._recorder.session_id):
            self._cancel.raise_if_set()
            if message.is_stop:
                continue
            if message.id in self._heard:  # recorded before a kill
                known.append(self._heard[message.id])
                continue
            question, said = self._address(message.text)
            value = self.language.parse(said)
            words = None if read else self._confirmed(value, said, message.received_at)
            if words is None:
                words = self._interpreted(self._disambiguated(value, said, question), said)
            else:
                question = None
            read.append(
                Heard(
                    message_id=message.id,
                    author=message.author,
                    text=message.text,
                    words=words,
                    question=question,
                    received_at=message.received_at,
                )
            )
        self._mark_read(known, 0)
        return read

    def _confirmed(self, value: Frozen, said: str, received_at: datetime) -> dict[str, Any] | None:
        """What an answer makes of the proposal that was read back last; None where it answers none."""
        holding = self._heard.get(self._unclear) if self._unclear is not None else None
        choices = holding.words.get("choices", ()) if holding is not None else ()
        if not choices or self._read_back_at is None or received_at < self._read_back_at:
            return None
        kind = self.language.dump(value)["kind"]
        if kind == "reject":
            question = f"Then say it in other words. {self.language.examples}"
            return self.language.dump(Unclear(text=said[:2000], question=question))
        if kind == "approve":
            return choices[0] if len(choices) == 1 else None
        return chosen(choices, self.language, said) if kind == "unclear" else None

    def _interpreted(self, value: Frozen, said: str) -> dict[str, Any]:
        """A value as records keep it; one that is not clear with what a model proposes in its place."""
        words = self.language.dump(value)
        if words["kind"] != "unclear" or self._interpreter is None:
            return words
        proposal = self._interpreter.propose(said)
        if proposal is None or not proposal.choices:
            return words
        return words | {"question": proposal.question, "choices": list(proposal.choices)}

    def _note_read_back(self, question: Question, asked_at: datetime) -> None:
        if question.about == "unclear":
            self._read_back_at = asked_at

    def _address(self, text: str) -> tuple[str | None, str]:
        found = ADDRESSED.fullmatch(text)
        if found and found["question"].lower() in self._open:
            return found["question"].lower(), found["rest"]
        return next(iter(self._open)) if len(self._open) == 1 else None, text

    def _disambiguated(self, value: Frozen, text: str, question: str | None) -> Frozen:
        """A bare yes or no with several questions open says to none what it means; nor do arguments of no act."""
        if isinstance(value, Instead) and (question is None or self._open[question].about != APPROVAL):
            return Unclear(text=text[:2000], question="For which act is that? None of that name waits for approval.")
        is_bare = self.language.dump(value)["kind"] in ("approve", "reject")
        if question is not None or len(self._open) < 2 or not is_bare:
            return value
        listed = "; ".join(f"{name}: {asked.text}" for name, asked in self._open.items())
        first = next(iter(self._open))
        return Unclear(text=text[:2000], question=f"Which question is that for? Say `{first}: {text}`. Open: {listed}")

    def _absorb(self, branch: int, step: int, payload: Payload) -> None:
        heard = _messages(payload)
        self._unclear = payload["unclear"]
        for one in heard:
            self._heard[one.message_id] = one
            self._heard_at.setdefault((branch, step), []).append(one.message_id)
            self._waiting.append(one.message_id)
        self._take(payload.get("taken", ()))
        if payload.get("ordered_by") is not None:
            self._done_orders.add(payload["ordered_by"])

    def _unclear_after(self, heard: Sequence[Heard]) -> int | None:
        """Of several messages one that is clear does not say which of them holds, unless it answers a question last."""
        unclear = [n for n, one in enumerate(heard) if one.kind == "unclear"]
        if unclear:
            is_over = any(self._is_answer(one) for one in heard[unclear[-1] + 1 :])
            return None if is_over else heard[unclear[-1]].message_id
        return None if any(one.kind != "note" for one in heard) else self._unclear

    def _is_answer(self, one: Heard) -> bool:
        """Whether it is a yes or a no to an open question, said after that was asked."""
        asked = self._open.get(one.question or "")
        return asked is not None and one.kind in ("approve", "reject") and one.received_at >= asked.asked_at

    def _open_again(self, question: Question, asked_at: datetime) -> None:
        """A question about what was said is none that a yes could answer."""
        if question.about != "unclear" and question.id not in self._answered:
            self._open.setdefault(question.id, OpenQuestion(question.about, question.text, asked_at))

    def _closed(self, question_id: str) -> None:
        self._open.pop(question_id, None)
        self._answered.add(question_id)

    def _take(self, message_ids: Sequence[int]) -> None:
        taken = set(message_ids)
        self._waiting = [i for i in self._waiting if i not in taken]

    def _restore(self, event: Event) -> None:
        payload = event.payload
        if event.key is None:
            if event.kind in ("stopped", "rewound"):
                self.withdraw()
            return
        match event.kind:
            case "asked":
                question = Question.model_validate(payload["question"])
                self._n_questions += 1
                self._note_read_back(question, event.created_at)
                self._open_again(question, event.created_at)
            case "answered":
                self._closed(payload["question"])
            case "taken":
                self._take(payload["taken"])
            case _ if "messages" in payload:
                self._absorb(event.branch, event.step, payload)
            case _:
                pass


def _messages(payload: Payload) -> list[Heard]:
    return [Heard.model_validate(message) for message in payload.get("messages", ())]


def _is_empty(payload: Payload) -> bool:
    return not payload["messages"] and not payload.get("taken")
