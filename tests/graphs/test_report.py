"""The report of any loop: one page that stands alone, says what happened, and shows words as words."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from markupsafe import Markup
from tests.page import Page

from loopwright.errors import BadInput, OperatorError, UnknownName
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.report import Fact, Section, render_template, write_report
from loopwright.memory import Memory, SessionStatus, open_memory
from loopwright.schema import Act, Outcome

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quotes\""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def session_id(memory: Memory) -> str:
    """One act done, one refused, a message heard, a STOP, and the end."""
    row = memory.sessions.create("any-loop", {})
    act = Act(tool="open_door", arguments={"angle_deg": 12.345678, "why": EVIL})
    with memory.sessions.acquire(row.id):
        memory.ledger.intend(row.id, "a1", act, step=0)
        memory.ledger.authorise("a1", act.sha256, "human")
        memory.ledger.settle("a1", Outcome(key="a1", status="done"))
        memory.ledger.intend(row.id, "a2", Act(tool="close_door"), step=1)
        memory.ledger.refuse("a2", "STOP")
        message = memory.inbox.put(row.id, EVIL, author="Dr. <b>Who</b>")
        memory.inbox.mark_read(row.id, {message.id: {"kind": "note", "text": EVIL}}, 0)
        memory.inbox.put(row.id, "stop!", is_stop=True)
        memory.events.append(row.id, "observed", {"what": EVIL}, branch=0, step=0, key="0/0/observed")
        memory.events.append(row.id, "stopped", {"reason": f"clinician: {EVIL}"}, branch=0, step=1)
        memory.sessions.set_status(row.id, "stopped")
    return row.id


def test_says_what_happened(memory: Memory, session_id: str, tmp_path: Path) -> None:
    page = Page(write_report(memory, session_id, tmp_path / "kept" / "report.html"))
    assert session_id in page.text
    assert "not a medical device" in page.text
    assert page.all("span", class_="stopped")
    assert "verified : 2 events" in page.text
    assert "open_door angle_deg 12.35" in page.text
    assert "human done" in page.text
    assert "close_door nobody refused STOP" in page.text
    assert "stop at once" in page.text
    assert len(page.all("details", class_="event")) == 2
    for event in memory.events.read(session_id):
        assert event.hash in page.text


def test_stands_alone_and_shows_words_as_words(memory: Memory, session_id: str, tmp_path: Path) -> None:
    page = Page(write_report(memory, session_id, tmp_path / "report.html"))
    page.assert_stands_alone()
    assert page.text.count("<script>alert('x')</script><img src=x onerror=alert(1)>") >= 3
    assert "Dr. <b>Who</b>" in page.text
    assert not page.all("b")


def test_sections_and_their_facts_come_in_order(memory: Memory, session_id: str, tmp_path: Path) -> None:
    sections = [
        Section(title="First & foremost", html=Markup("<p>one</p>"), facts=(Fact("Volume", "a <CT>"),)),
        Section(
            title="Second",
            html=render_template("lines.html.j2", lines=[Line("saw", EVIL, "in <detail>")]),
        ),
    ]
    page = Page(write_report(memory, session_id, tmp_path / "report.html", sections=sections))
    page.assert_stands_alone()
    assert "Volume a <CT>" in page.text
    told = [
        page.text.index(words)
        for words in ("First & foremost one", "Second", "Saw <script>", "What people said", "Every event")
    ]
    assert told == sorted(told)


def test_a_broken_record_is_shown_as_broken(memory: Memory, session_id: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "memory.sqlite") as database:
        database.execute("DROP TRIGGER events_no_update")  # who can write the file can do that
        database.execute("UPDATE events SET payload = '{}' WHERE seq = 1")
    database.close()
    page = Page(write_report(memory, session_id, tmp_path / "report.html"))
    assert "changed : `events` row 1: event 1 was changed" in page.text
    assert "verified" not in page.text


def test_the_same_session_gives_the_same_page(memory: Memory, session_id: str, tmp_path: Path) -> None:
    first = write_report(memory, session_id, tmp_path / "report.html").read_bytes()
    assert write_report(memory, session_id, tmp_path / "report.html").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("memory.sqlite")] == ["report.html"]


def test_a_session_in_which_nothing_happened(memory: Memory, tmp_path: Path) -> None:
    row = memory.sessions.create("any-loop", {})
    page = Page(write_report(memory, row.id, tmp_path / "report.html"))
    page.assert_stands_alone()
    assert "Nobody said anything" in page.text
    assert "Nothing was asked of the world" in page.text


@pytest.mark.parametrize(
    ("kind", "payload", "status", "words"),
    [
        ("finished", {"status": "failed", "reason": "no motion was allowed"}, "failed", "failed no motion was allowed"),
        (
            "asked",
            {"question": {"id": "q1", "about": "x", "text": "Which is it?", "options": []}},
            "waiting",
            "waiting Which is it?",
        ),
        ("error", {"type": "ToolRefused", "text": "no exposure left"}, "paused", "paused no exposure left"),
        ("rewound", {"from": 5, "to": 2}, "paused", "paused rewound from step 5 to step 2"),
    ],
)
def test_says_how_it_ended_or_why_it_rests(
    memory: Memory, tmp_path: Path, kind: str, payload: dict[str, object], status: SessionStatus, words: str
) -> None:
    row = memory.sessions.create("any-loop", {})
    with memory.sessions.acquire(row.id):
        memory.events.append(row.id, kind, payload, branch=0, step=0)
        memory.sessions.set_status(row.id, status)
    assert words in Page(write_report(memory, row.id, tmp_path / "report.html")).text


def test_where_it_cannot_be_written(memory: Memory, session_id: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        write_report(memory, session_id, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OperatorError, match=r"file/report\.html"):
        write_report(memory, session_id, tmp_path / "file" / "report.html")
    with pytest.raises(UnknownName, match=session_id):
        write_report(memory, f"{session_id}0", tmp_path / "report.html")
