"""How a loop hears a human: between nodes, in order, each message once (rule 5).

A node hears in rounds. Round 0 takes what lies in the inbox; where the node then has to ask, the question is recorded,
the graph is interrupted, and the answer is the next round. What was heard in a round stays heard in that round when the
node is re-run, so a kill between two words loses neither.

A yes approves what was asked before it was said, and nothing else. What is not understood is asked back even where
something clear was said beside it: nobody knows yet which of the two holds.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from langgraph.types import interrupt
from pydantic import BaseModel, Field

from loopwright.agents.journal import Journal, Moment
from loopwright.memory import Memory
from loopwright.schema import Frozen, Unclear

Parse = Callable[[str], BaseModel]


class Question(Frozen):
    """What the loop asks a human. `about` names the node's reason, `options` the answers that would do."""

    about: str
    text: str
    options: tuple[str, ...] = ()


class Heard(Frozen):
    """One message as understood: `words` is the JSON of a feedback value, its `kind` among them."""

    message_id: int
    author: str
    text: str
    words: dict[str, Any]
    is_early: bool = Field(default=False, description="said before the node had asked its question, if it asked one")

    @property
    def is_approval(self) -> bool:
        """Whether it approves what the node asked about."""
        return self.words["kind"] == "approve" and not self.is_early


class Ear:
    """Reads a session's inbox through the loop's own `parse`, and records what was heard."""

    def __init__(self, memory: Memory, journal: Journal, parse: Parse, *, waits: bool) -> None:
        """`waits`: whether a message that is not understood holds the loop until it is made clear."""
        self._inbox = memory.inbox
        self._journal = journal
        self._parse = parse
        self._waits = waits

    def converse(
        self, at: Moment, node: str, visit: int, pending: Callable[[Sequence[Heard]], Question | None]
    ) -> list[Heard]:
        """Hear until `pending` has no question left, and return all that was heard in this visit of the node.

        Args:
            at: where the loop stands.
            node: the node's name.
            visit: how often the loop has been in this node at this moment.
            pending: given all that was heard so far, the question that still needs an answer, or None.
        """
        heard: list[Heard] = []
        newest: list[Heard] = []
        asked_at: datetime | None = None
        turn = 0
        while True:
            label = f"{node}.{visit}.{turn}"
            heard += (new := self._hear(at, label, asked_at))
            newest = new or newest
            unclear = _clarification(newest)
            if unclear is not None and not self._waits:
                self._journal.derived(at, "asked", unclear.model_dump(mode="json"), name=f"{label}.back")
                unclear = None
            question = unclear or pending(heard)
            if question is None:
                return heard
            self._journal.derived(at, "asked", question.model_dump(mode="json"), name=label)
            if unclear is None and asked_at is None:
                asked_at = self._journal.written_at(at, "asked", label)
            interrupt(question.model_dump(mode="json"))
            turn += 1

    def _hear(self, at: Moment, label: str, asked_at: datetime | None) -> list[Heard]:
        heard = [Heard.model_validate(p) for p in self._journal.starting_with(at, "heard", f"{label}/")]
        for words in heard:
            self._record(at, label, words)
        if self._journal.known(at, "asked", label) is None:
            heard += self._take_unread(at, label, asked_at, {h.message_id for h in heard})
        return heard

    def _take_unread(self, at: Moment, label: str, asked_at: datetime | None, known: set[int]) -> list[Heard]:
        taken = []
        for message in self._inbox.unread(self._journal.session_id):
            if message.is_stop:  # the watcher's business: it halts the session, whatever node is running
                continue
            words = self._parse(message.text).model_dump(mode="json")
            if message.id not in known:
                heard = Heard(
                    message_id=message.id,
                    author=message.author,
                    text=message.text,
                    words=words,
                    is_early=asked_at is None or message.received_at < asked_at,
                )
                self._record(at, label, heard)
                taken.append(heard)
            self._inbox.mark_read(message.id, words, at.step)
        return taken

    def _record(self, at: Moment, label: str, heard: Heard) -> None:
        self._journal.outside(at, "heard", lambda: heard.model_dump(mode="json"), name=f"{label}/{heard.message_id}")


def _clarification(newest: Sequence[Heard]) -> Question | None:
    """Of what was said last some was not understood: ask back, and let what is said then settle it."""
    unclear = [Unclear.model_validate(one.words) for one in newest if one.words["kind"] == "unclear"]
    if not unclear:
        return None
    return Question(about="unclear", text=" ".join(f"{one.question} (I heard: {one.text!r})" for one in unclear))
