"""`import loopwright as lw`: its names, and how events and sessions show themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.graphs.test_steps import camera

import loopwright as lw
from loopwright.errors import BadInput
from loopwright.graphs.loop.shown import SessionEvent

ON = '{"name": "set_heater", "arguments": {"on": true}}'


@pytest.fixture
def session(tmp_path: Path) -> Iterator[lw.Session]:
    with lw.open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as memory:
        model = lw.ScriptedChatModel(replies=(ON,) * 9)
        begun = camera.start(memory, models={"navigator": model}, devices=tmp_path)
        begun.say("note: <script>alert(1)</script> \x1b[31mred")
        assert begun.run() == "succeeded"
        yield begun


def event(session: lw.Session, kind: str, n: int = 0) -> SessionEvent:
    return [each for each in session.events if each.kind == kind][n]


def test_every_name_is_there() -> None:
    assert lw.__all__ == sorted(lw.__all__)
    for name in lw.__all__:
        assert getattr(lw, name) is not None
    assert set(lw.__all__) <= set(dir(lw))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lw.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(lw.__file__).read_text())
    typed = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    names = {alias.name: node.module for node in typed for alias in node.names if node.module != "importlib"}
    names.pop("version")
    homes = {name: f"loopwright.{home}" for home, found in lw._HOMES.items() for name in found}
    assert names == homes
    assert {*homes, "__version__"} == set(lw.__all__)


def test_loops_by_name() -> None:
    assert list(lw.loops) == dir(lw.loops)
    first = next(iter(lw.loops))
    assert lw.loops[first] is getattr(lw.loops, first)
    with pytest.raises(AttributeError, match="no loop 'nothing'"):
        lw.loops.nothing  # noqa: B018
    assert first in repr(lw.loops)


def test_an_event_prints_as_one_line(session: lw.Session) -> None:
    assert str(event(session, "acted")) == "   0 acted switch the heater on (heater_on true, room_c 16.5)"
    assert str(event(session, "started")) == "   0 (started)"
    said = str(event(session, "node"))
    assert r"\x1b[31mred" in said and "\x1b" not in said


def test_an_event_equals_what_is_on_record(session: lw.Session) -> None:
    assert session.events == session.memory.events.read(session.id)
    assert list(camera.resume(session.id, session.memory).events) == session.events


def test_from_an_event_to_its_picture(session: lw.Session) -> None:
    photo = event(session, "observed", 3)
    assert isinstance(photo.image, Image.Image)
    assert (photo.image.size, photo.image.getpixel((0, 0))) == ((6, 4), 10)
    with pytest.raises(BadInput, match="has no picture"):
        _ = event(session, "finished").image


def test_a_notebook_shows_words_as_words(session: lw.Session) -> None:
    for shown in (session._repr_html_(), event(session, "node")._repr_html_()):
        assert "&lt;script&gt;" in shown and "<script>" not in shown and "\x1b" not in shown
    assert '<img width="256" src="data:image/png;base64,' in event(session, "observed", 1)._repr_html_()
    assert session.id in session._repr_html_()
    assert repr(session) == f"<session {session.id}: succeeded>"


def test_a_session_writes_its_report(session: lw.Session, tmp_path: Path) -> None:
    assert session.report(tmp_path / "report.html").stat().st_size > 10_000
