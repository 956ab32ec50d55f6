"""A note about a session, as a surgeon dictates one after an operation: sentences from its record, each with its event.

Nothing stands in it that no event says. What was done the same way several times in a row is one sentence.
"""

from collections.abc import Iterator
from itertools import groupby

from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.answering import Answer
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.describe import describe_in
from loopwright.graphs.sessions import headline
from loopwright.memory import Memory
from loopwright.schema import Event

_ACTS = ("acted",)
_ENDS = ("finished", "stopped")
_DOUBTS = ("uncertain", "contradicted", "rewound")


def note_of(memory: Memory, session_id: str, loop: Declaration) -> list[Answer]:
    """The sentences, in the order of what happened.

    Raises:
        UnknownName: there is no such session.
    """
    row, events = memory.sessions.get(session_id), memory.events.read(session_id)
    found = [(text, event.seq) for event in events for text in _sentences(event, loop)]
    begun = f"{loop.name} on {row.created_at:%Y-%m-%d at %H:%M} UTC: {headline(loop, row)}."
    note = [Answer(begun, tuple(event.seq for event in events[:1]))]
    for text, alike in groupby(found, key=lambda one: one[0]):
        seqs = tuple(seq for _, seq in alike)
        note.append(Answer(f"{text} ({len(seqs)} times)." if len(seqs) > 1 else f"{text}.", seqs))
    if not any(event.kind in _ENDS for event in events):
        note.append(Answer(f"The session is {row.status}.", tuple(event.seq for event in events[-1:])))
    return note


def _sentences(event: Event, loop: Declaration) -> Iterator[str]:
    for heard in map(Heard.model_validate, event.payload.get("messages", ())):
        if heard.kind != "query":
            yield f"{heard.author} said: “{heard.text}”"
    if event.kind in (*_ACTS, *_ENDS, *_DOUBTS):
        yield from _told(event, loop)


def _told(event: Event, loop: Declaration) -> Iterator[str]:
    for line in describe_in(loop, event)[:1]:
        text = f"{line.label}: {line.text}" if line.label else line.text
        yield f"{text[0].upper()}{text[1:]}".rstrip(".")
