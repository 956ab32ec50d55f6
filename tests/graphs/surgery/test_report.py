"""The surgery loop's report: what was done against what was planned, however the session ended."""

from pathlib import Path

import pytest
from tests.graphs.surgery.conftest import Operate
from tests.page import Page
from tests.scenario import payloads, saying

from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import report_session
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.graphs.surgery import LOOP
from loopwright.graphs.surgery.report import surgery_sections
from loopwright.graphs.surgery.run import SurgeryRun
from loopwright.memory import Memory

VIDEO = "simulated:2000038"


@pytest.fixture
def begun(operate: Operate) -> Session:
    return operate(video=VIDEO, perform="asked")


def page_of(session: Session, tmp_path: Path) -> Page:
    page = Page(report_session(session.memory, session.id, tmp_path / "report.html", LOOP))
    page.assert_stands_alone()
    return page


def test_a_session_is_told_whole(begun: Session, tmp_path: Path) -> None:
    session = begun
    words = {("observed", 1): "no, <b>it</b> is bleeding, coagulate first", ("observed", 2): "note: hm"}
    events = saying(session, words)
    page = page_of(session, tmp_path)
    assert len(page.all("article", class_="step")) == len(page.pictures()) == 5
    assert not page.all("b")
    for told in ("Heard clinician: “no, <b>it</b>", "Coagulation comes first", "kept as a labelled example"):
        assert told in page.text
    done = [p["output"]["action"].lower().replace(" ", "-") for p in payloads(events, "observed")]
    drawn = [cell["class"].split()[0] for cell in page.all("rect") if "class" in cell]
    assert [drawn[0], *drawn[1::2]] == done
    tally = session.state["tally"]
    assert f"Plans scored Next action first among the first 2 among the first 3 {tally['n']}" in page.text
    assert "Corrections 1" in page.text


def test_a_rewind_shows_what_it_left_behind(begun: Session, memory: Memory, tmp_path: Path) -> None:
    session = begun
    session.run()
    session.rewind(2)
    saying(session, {("recalled", 2): "coagulate"})
    steps = read_steps_as(SessionStep, memory.events.read(session.id))
    assert [one.name for one in steps if not one.is_left_behind] == ["0", "1", "1:2", "1:3", "1:4"]
    page = page_of(session, tmp_path)
    assert len(page.all("article", class_="left-behind")) == 3
    titles = [words for words in page.words if words.startswith("clip ")]
    assert [title.split(":")[0] for title in titles if ";" in title or ":" in title] == [f"clip {i}" for i in range(5)]
    assert "clip 3: Coagulation" in page.text


def test_any_beginning_of_a_session_has_a_report(operate: Operate, memory: Memory) -> None:
    session = operate(video=VIDEO, perform="asked", clips=2)
    saying(session, {("observed", 0): "hm", ("planned", 0): "do not dissect"})
    scope, events = memory.sessions.get(session.id).config["scopes"][""], session.events
    run = SurgeryRun.model_validate(scope["config"])
    for n in range(len(events) + 1):
        found = surgery_sections(run, scope["prepared"], events[:n], memory.blobs.read)
        assert [section.title for section in found] == ["Foreseen and done", "Clip by clip"]
