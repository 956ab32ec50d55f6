"""The inbox: what is said is kept in order, and a STOP is delivered whatever its text is like."""

import pytest

from loopwright.errors import BadInput
from loopwright.memory import Memory, open_memory


@pytest.mark.parametrize("text", ["stop " * 2000, "stop\0", "stop \ud800", "\0", " "])
def test_a_stop_is_never_refused_for_its_text(url: str, text: str) -> None:
    with open_memory(url) as memory:
        session = memory.sessions.create("carm", {}).id
        kept = memory.inbox.put(session, text, is_stop=True)
        assert memory.inbox.active_stop(session) == kept
        assert kept.text.strip()


def test_other_words_are_refused_when_they_cannot_be_kept(url: str) -> None:
    with open_memory(url) as memory:
        session = memory.sessions.create("carm", {}).id
        with pytest.raises(BadInput, match="text"):
            memory.inbox.put(session, "left " * 2000)
        assert memory.inbox.unread(session) == []


def test_messages_are_read_once_and_in_order(url: str) -> None:
    with open_memory(url) as memory:
        session = memory.sessions.create("carm", {}).id
        first, second = (memory.inbox.put(session, word) for word in ("one", "two"))
        assert memory.inbox.unread(session) == [first, second]
        with memory.sessions.acquire(session):
            memory.inbox.mark_read(session, {first.id: {"kind": "note"}}, step=3)
        assert memory.inbox.unread(session) == [second]
        assert _read_since(memory, session, 3) == [first.id]


def _read_since(memory: Memory, session: str, step: int) -> list[int]:
    return [m.id for m in memory.inbox.since(session, step) if m.read_at_step is not None]
