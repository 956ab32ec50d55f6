"""Steps read back from a record, and the report of a loop that brings no sections of its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field
from tests.loops.thermostat import Nothing, thermostat
from tests.page import Page

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.sessions import redraw_session, report_session
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.memory import Memory, open_memory
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.contract import ToolContext, tool

ON = '{"name": "set_heater", "arguments": {"on": true}}'


class Photo(Frozen):
    """A picture of the room."""

    image: ImageRef
    shade: int = Field(description="grey level, dimensionless")


@tool(effect="read", timeout_s=5)
def take_photo(args: Nothing, context: ToolContext) -> Photo:
    """Take a picture of the room."""
    shade = 10 * context.step
    return Photo(image=context.keep(np.full((4, 6), shade, dtype=np.uint8)), shade=shade)


def photograph(state: State, ctx: Context) -> None:
    """Take a picture."""
    ctx.observe(take_photo, into="photo")


camera = thermostat.insert_after("observe", photograph).varied(
    name="camera",
    state={"target_c": 20.0, "photo": {}},
    tools=[*thermostat.tools, take_photo],
    redraw=lambda config, prepared: lambda output: np.full((4, 6), output["shade"], dtype=np.uint8),
)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def session_id(memory: Memory, tmp_path: Path) -> str:
    """One that was rewound from step 3 to step 1, and went on."""
    model = ScriptedChatModel(replies=(ON,) * 20)
    session = camera.start(memory, models={"navigator": model}, devices=tmp_path)
    assert session.run() == "succeeded"
    session.rewind(1)
    assert session.run() == "succeeded"
    return session.id


def test_steps_of_a_rewound_session(memory: Memory, session_id: str) -> None:
    steps = read_steps_as(SessionStep, memory.events.read(session_id))
    assert [one.name for one in steps] == ["0", "1", "2", "3", "1:1", "1:2", "1:3"]
    assert [one.name for one in steps if one.is_left_behind] == ["1", "2", "3"]
    first = steps[4]
    assert first.origin == "rewound"
    assert first.seen == {"room_c": 16.5, "heater_on": True} == steps[1].seen


def test_a_fork_begins_with_what_its_parent_observed(memory: Memory, session_id: str, tmp_path: Path) -> None:
    child = camera.fork(camera.resume(session_id, memory, devices=tmp_path), 2)
    (step,) = read_steps_as(SessionStep, child.events)
    assert (step.name, step.origin, step.seen) == ("2", "forked", {"room_c": 18.0, "heater_on": True})


def test_the_report_shows_each_step_with_its_pictures(memory: Memory, session_id: str, tmp_path: Path) -> None:
    page = Page(report_session(memory, session_id, tmp_path / "report.html", camera))
    page.assert_stands_alone()
    assert len(page.all("article", class_="step")) == 7
    assert [picture.getpixel((0, 0)) for picture in page.pictures()] == [0, 10, 20, 30, 10, 20, 30]
    assert "Acted switch the heater on heater_on true, room_c 18" in page.text
    assert "branch 1 begins with what was observed at the step that was gone back to" in page.text


def test_pictures_are_drawn_again(memory: Memory, session_id: str) -> None:
    redrawn = redraw_session(memory, session_id, camera)
    assert (redrawn.n, redrawn.worst, redrawn.within_tolerance) == (7, 0.0, True)
