"""Pointing at the C-arm's picture: through the geometry to messages, and from messages to what the loop does."""

from typing import Any

import numpy as np
import pytest
from tests.loops.bench import Bench, kinds
from tests.loops.cases import TO_A_LANDMARK

from loopwright.agents.carm.feedback import LANGUAGE
from loopwright.agents.carm.pointing import GoHere, NotHere, PointOut
from loopwright.errors import BadInput
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import CArmRun
from loopwright.graphs.carm.view import pointed
from loopwright.graphs.step_view import Pointed, pointed_at, step_view
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.schema import Unclear
from loopwright.tools.carm.geometry import Optics, Pose, in_plane_offset_mm, view_axes

VIEW_MM = Optics().field_of_view_mm
EDGE_PX = 256


def step_at(pose: Pose) -> SessionStep:
    image = {"sha256": "0" * 64, "media_type": "image/png", "width_px": EDGE_PX, "height_px": EDGE_PX}
    seen = {"pose": pose.model_dump(), "exposures": 1, "image": image}
    return SessionStep(branch=0, step=0, seen=seen)


@pytest.mark.parametrize("alpha_deg", [0.0, 30.0])
@pytest.mark.parametrize("at_px", [(200.0, 40.0), (10.0, 250.0)])
def test_going_there_centres_what_was_pointed_at(alpha_deg: float, at_px: tuple[float, float]) -> None:
    pose = Pose(x_mm=5, y_mm=-20, z_mm=100, alpha_deg=alpha_deg)
    run, prepared = CArmRun(volume="phantom:1", start="T12", target=("T12",)), {"field_of_view_mm": VIEW_MM}
    (said,) = pointed(run, prepared, step_at(pose), Pointed(at_px))
    meant = LANGUAGE.parse(said)
    assert isinstance(meant, GoHere)
    axes, mm = view_axes(pose), VIEW_MM / EDGE_PX
    place = pose.isocentre_world + (at_px[0] - 128) * mm * axes.u + (at_px[1] - 128) * mm * axes.v
    assert np.abs(in_plane_offset_mm(place, meant.motion.applied_to(pose))).max() < 0.1
    assert meant.order() == ("move_c_arm", meant.motion.model_dump())


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("go here: 12.5 mm left, 30.0 mm cranial", GoHere(left_mm=12.5, caudal_mm=-30)),
        ("the Carina is here: 4.0 mm right", PointOut(landmark="Carina", left_mm=-4)),
        ("not this one: the T12", NotHere(landmark="T12")),
    ],
)
def test_what_pointing_says_is_read_to_the_letter(said: str, meant: Any) -> None:
    assert LANGUAGE.parse(said) == meant


@pytest.mark.parametrize("said", ["go here: far left", "the moon is here: 4 mm left", "go here: 4000 mm left"])
def test_half_of_it_is_asked_about(said: str) -> None:
    assert isinstance(LANGUAGE.parse(said), Unclear)


def test_a_session_is_corrected_by_pointing(bench: Bench) -> None:
    config: dict[str, Any] = {**TO_A_LANDMARK, "approval": "human"}
    session = bench.start(LOOP, **config)
    assert session.run() == "waiting"
    (step,) = read_steps_as(SessionStep, session.events)
    row = bench.memory.sessions.get(session.id)
    shown = step_view(LOOP, row, step)
    assert shown.pictures[0].svg.count("<circle") >= 3 and "envelope" in shown.pictures[0].svg
    assert "nearest to the isocentre" in shown.html
    u, v = shown.pictures[0].image.width_px * 0.6, shown.pictures[0].image.height_px * 0.4
    here = pointed_at(LOOP, row, step, Pointed((u, v)))
    with pytest.raises(BadInput, match="outside the picture"):
        pointed_at(LOOP, row, step, Pointed((-1, 0)))
    session.say(next(text for text in here if text.startswith("the T12 is here")), author="Ann")
    assert session.run() == "waiting"
    pose, (anchor,) = session.state["observation"]["pose"], session.state["anchors"]
    assert anchor["landmark"] == "T12"
    assert anchor["x_mm"] == pytest.approx(pose["x_mm"] - VIEW_MM * 0.1, abs=0.1)
    assert anchor["z_mm"] == pytest.approx(pose["z_mm"] + VIEW_MM * 0.1, abs=0.1)
    session.say(here[0])
    session.run()
    (moved,) = [p for p in kinds(session.events, "acted") if p["status"] == "done"]
    assert moved["approved_by"] == "human" and moved["arguments"]["left_mm"] == pytest.approx(VIEW_MM * 0.1, abs=0.1)
    session.say("not this one: T12")
    session.run()
    assert session.state["denied"] == ["T12"]
    assert LOOP.replay(session.id, bench.memory).difference is None
