"""How a loop hears a human: between nodes, in order, each message once (rule 5).

A node hears in rounds. Round 0 takes what lies in the inbox; where the node then has to ask, the question is recorded,
the graph is interrupted, and the answer is the next round. What was heard in a round stays heard in that round when the
node is re-run, so a kill between two words loses neither.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langgraph.types import interrupt
from pydantic import BaseModel

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
        turn = 0
        while True:
            label = f"{node}.{visit}.{turn}"
            heard += self._hear(at, label)
            unclear = _clarification(heard)
            if unclear is not None and not self._waits:
                self._journal.derived(at, "asked", unclear.model_dump(mode="json"), name=f"{label}.back")
                unclear = None
            question = unclear or pending(heard)
            if question is None:
                return heard
            self._journal.derived(at, "asked", question.model_dump(mode="json"), name=label)
            interrupt(question.model_dump(mode="json"))
            turn += 1

    def _hear(self, at: Moment, label: str) -> list[Heard]:
        heard = [Heard.model_validate(p) for p in self._journal.starting_with(at, "heard", f"{label}/")]
        for words in heard:
            self._record(at, label, words)
        if self._journal.known(at, "asked", label) is None:
            heard += self._take_unread(at, label, {h.message_id for h in heard})
        return heard

    def _take_unread(self, at: Moment, label: str, known: set[int]) -> list[Heard]:
        taken = []
        for message in self._inbox.unread(self._journal.session_id):
            if message.is_stop:  # the watcher's business: it halts the session, whatever node is running
                continue
            words = self._parse(message.text).model_dump(mode="json")
            if message.id not in known:
                heard = Heard(message_id=message.id, author=message.author, text=message.text, words=words)
                self._record(at, label, heard)
                taken.append(heard)
            self._inbox.mark_read(message.id, words, at.step)
        return taken

    def _record(self, at: Moment, label: str, heard: Heard) -> None:
        self._journal.outside(at, "heard", lambda: heard.model_dump(mode="json"), name=f"{label}/{heard.message_id}")


def _clarification(heard: Sequence[Heard]) -> Question | None:
    """The last word was not understood: ask back, and let a later understood word settle it."""
    if heard and heard[-1].words["kind"] == "unclear":
        unclear = Unclear.model_validate(heard[-1].words)
        return Question(about="unclear", text=f"{unclear.question} (I heard: {unclear.text!r})")
    return None
