"""The C-arm's report: what it draws lies where it lay, and any session has one, however it ended."""

import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.page import Page
from tests.scenario import Begin, Patient, exposures, saying

from loopwright.agents.carm.navigator import Decision
from loopwright.errors import IntegrityError
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.drawings import OVERLAY, distance_chart, overlay, path_map, place_labels, project_body
from loopwright.graphs.carm.report import carm_sections
from loopwright.graphs.carm.run import CArmRun
from loopwright.graphs.carm.steps import CArmStep, read_steps
from loopwright.graphs.report import write_report
from loopwright.graphs.sessions import report_session
from loopwright.memory import Memory
from loopwright.schema import GENESIS, Event, ImageRef
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.tools import Exposure
from loopwright.tools.carm.volume import Volume

VIEW_MM = 154.8

poses = st.builds(
    Pose,
    x_mm=st.floats(-200, 200),
    y_mm=st.floats(-50, 50),
    z_mm=st.floats(-300, 300),
    alpha_deg=st.floats(-40, 110),
    beta_deg=st.floats(-45, 45),
)
motions = st.builds(
    Motion, left_mm=st.floats(-150, 150), caudal_mm=st.floats(-150, 150), anterior_mm=st.floats(-50, 50)
)


def page_of(memory: Memory, session_id: str, folder: Path) -> Page:
    page = Page(report_session(memory, session_id, folder / "report.html", LOOP))
    page.assert_stands_alone()
    return page


def test_a_finished_session_is_told_whole(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run("Right scapular inferior angle", ("Carina", "T12")))
    events = saying(session, {("localised", 0): "go 30 mm cranial", ("localised", 1): "note: <b>bold</b>"})
    page = page_of(memory, session.id, tmp_path)
    observed = exposures(events)
    assert len(page.all("article", class_="step")) == len(observed)
    assert "clinician: “go 30 mm cranial” move view: direction cranial, distance_mm 30" in page.text
    assert "Targets Carina ✓, then T12 ✓" in page.text
    assert f"Exposures {len(observed)} of at most 40" in page.text
    assert "Finished succeeded: T12 is centred" in page.text
    assert "<b>bold</b>" in page.text
    assert not page.all("b")
    shown = {picture.tobytes() for picture in page.pictures()}
    assert len(shown) == len({p["image"]["sha256"] for p in observed}) + 1  # and the body
    assert len(page.all("circle", class_="stop")) == len(page.all("rect", class_="view")) == len(observed)
    last = Pose.model_validate(observed[-1]["pose"])
    assert f"{patient.distance_mm('T12', last):.1f} mm" in page.text


def test_a_rewind_shows_what_it_left_behind(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run("Left humeral head", ("T12",)))
    session.run()
    session.rewind(1)
    session.say("go 40 mm right")
    session.run()
    steps = read_steps(memory.events.read(session.id))
    assert [r.name for r in steps if not r.is_left_behind][:3] == ["0", "1:1", "1:2"]
    assert all(r.is_left_behind == (r.step >= 1) for r in steps if r.branch == 0)
    page = page_of(memory, session.id, tmp_path)
    assert "the picture of the step that was gone back to" in page.text
    assert len(page.all("article", class_="left-behind")) == sum(r.is_left_behind for r in steps)
    assert page.all("circle", class_="left-behind")


def test_a_fork_begins_with_its_parents_picture(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    parent = begin(patient.run("Right scapular inferior angle", ("T12",)))
    parent.run()
    child = LOOP.fork(parent, 1)
    unrun = page_of(memory, child.id, tmp_path)
    assert f"from step 1 of session {parent.id}" in unrun.text
    assert len(unrun.pictures()) == 2
    child.run()
    page = page_of(memory, child.id, tmp_path)
    assert f"Forked from {parent.id}" in page.text
    assert "the parent's picture" in page.text


def test_a_stopped_session(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run("Right scapular inferior angle", ("Left humeral head",)))
    saying(session, {("guarded", 0): "STOP"})
    assert session.status == "stopped"
    page = page_of(memory, session.id, tmp_path)
    assert "Targets Left humeral head Exposures" in page.text
    assert "not reached" in page.text
    assert "Stopped" in page.text


def test_a_question_without_an_answer(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run(approval="human"))
    assert session.run() == "waiting"
    page = page_of(memory, session.id, tmp_path)
    assert "May I move the view" in page.text
    assert not page.all("line", class_="leg")
    assert page.all("line", class_="arrow")


def test_before_the_first_exposure(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    page = page_of(memory, begin(patient.run()).id, tmp_path)
    assert "Nothing has happened yet" in page.text
    assert "T12 not reached" in page.text


def test_without_the_volume_it_says_so(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    volume = Path(shutil.copy(patient.volume, tmp_path / "patient.nii.gz"))
    session = begin({**patient.run(), "volume": str(volume)})
    session.run()
    with_body = page_of(memory, session.id, tmp_path)
    volume.unlink()
    page = page_of(memory, session.id, tmp_path)
    assert "The volume cannot be opened any more" in page.text
    assert str(volume) in page.text
    assert len(page.pictures()) == len(with_body.pictures()) - 1
    assert len(page.all("circle", class_="stop")) == len(with_body.all("circle", class_="stop"))


def test_a_picture_that_is_lost_is_said_to_be_lost(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path
) -> None:
    session = begin(patient.run())
    events = list(session.stream())
    lost = ImageRef.model_validate(exposures(events)[0]["image"])

    def read(ref: ImageRef) -> bytes:
        if ref == lost:
            raise IntegrityError("changed")
        return memory.blobs.read(ref)

    kept = memory.sessions.get(session.id).config["scopes"][""]
    sections = carm_sections(CArmRun.model_validate(kept["config"]), kept["prepared"], events, read)
    page = Page(write_report(memory, session.id, tmp_path / "report.html", sections=sections))
    page.assert_stands_alone()
    assert page.text.count("cannot be read back") == 1
    assert len(page.pictures()) == len(exposures(events))


def event(seq: int, branch: int, step: int, kind: str, payload: dict[str, Any]) -> Event:
    return Event(
        session_id="s", seq=seq, branch=branch, step=step, kind=kind,
        key=None if kind == "rewound" else f"{branch}/{kind}.{step}/0", payload=payload,
        created_at=datetime.now(UTC), prev_hash=GENESIS, hash=GENESIS,
    )  # fmt: skip


def observed(step: int, x_mm: float = 0.0) -> dict[str, Any]:
    image = ImageRef(sha256=f"{step:064x}", width_px=8, height_px=8)
    pose = Pose(x_mm=x_mm, y_mm=0, z_mm=0)
    seen = Exposure(pose=pose, exposures=step + 1, image=image)
    return {"tool": "take_exposure", "arguments": {}, "status": "done", "output": seen.model_dump(mode="json")}


def test_rewinds_upon_rewinds_leave_one_line() -> None:
    moments = [
        *((0, step, "observed", observed(step)) for step in range(5)),
        (1, 2, "rewound", {"from": 4, "to": 2}),
        *((1, step, "observed", observed(10 + step)) for step in (3, 4)),
        (2, 3, "rewound", {"from": 4, "to": 3}),
        (2, 4, "observed", observed(20)),
        (3, 1, "rewound", {"from": 4, "to": 1}),
        (3, 1, "rewound", {"from": 1, "to": 1}),  # a kill between the event and the checkpoint writes it again
        (3, 2, "observed", observed(30)),
    ]
    steps = read_steps([event(i + 1, *moment) for i, moment in enumerate(moments)])
    assert [r.name for r in steps if not r.is_left_behind] == ["0", "3:1", "3:2"]
    again = next(r for r in steps if r.name == "2:3")
    assert (again.origin, again.observation and again.observation.exposures) == ("rewound", 14)


@given(pose=poses, motion=motions)
@examples(max_examples=50, deadline=None)
def test_the_arrow_points_to_where_the_isocentre_goes(pose: Pose, motion: Motion) -> None:
    arrow = overlay(None, pose, motion, "T1", {}, VIEW_MM).arrow
    way = in_plane_offset_mm(motion.applied_to(pose).isocentre_world, pose) * OVERLAY / VIEW_MM
    if arrow is None:
        assert np.linalg.norm(way) < 2 + 1e-6
        return
    tip = np.array([float(v) for v in arrow.head.split()[0].split(",")]) - OVERLAY / 2
    if arrow.is_cut:
        assert abs(tip[0] * way[1] - tip[1] * way[0]) <= 0.1 * np.linalg.norm(way)
        assert tip @ way > 0
        assert max(abs(tip)) < OVERLAY / 2
    else:
        np.testing.assert_allclose(tip, way, atol=0.06)


@given(pose=poses)
@examples(max_examples=30, deadline=None)
def test_what_is_in_view_is_marked_where_it_is(pose: Pose, patient: Patient) -> None:
    drawn = overlay(patient.truth(pose), pose, None, "Carina", patient.landmarks, VIEW_MM)
    offsets = {n: in_plane_offset_mm(p, pose) for n, p in patient.landmarks.items()}
    in_view = {n: o for n, o in offsets.items() if max(abs(o)) <= VIEW_MM / 2}
    assert {m.name for m in drawn.marks} == set(in_view)
    assert len(drawn.known) == len(in_view)
    for mark in drawn.marks:
        np.testing.assert_allclose([mark.x, mark.y], OVERLAY / 2 + in_view[mark.name] * OVERLAY / VIEW_MM, atol=1e-9)
        assert mark.radius == pytest.approx(8.0 * OVERLAY / VIEW_MM)
        assert mark.is_target == (mark.name == "Carina")


@pytest.mark.parametrize("shape", [(40, 30, 20), (1100, 12, 9)])
@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1)])
def test_the_body_lies_where_its_voxels_lie(shape: tuple[int, int, int], signs: tuple[int, int]) -> None:
    hounsfield = np.full(shape, -1000, dtype=np.int16)
    voxel = np.array([shape[0] // 3, shape[1] // 2, shape[2] // 3])
    step = math.ceil(shape[0] / 512)
    voxel[0] -= voxel[0] % step
    hounsfield[tuple(voxel)] = 3000
    affine = np.diag([0.9 * signs[0], 5.0, 2.5 * signs[1], 1.0])
    affine[:3, 3] = (-12.0, 7.0, 31.0)
    volume = Volume(hounsfield=hounsfield, affine_world=affine, name="marker")
    body = project_body(volume)
    row, column = np.unravel_index(np.argmax(body.grey), body.grey.shape)
    a, b, c, d, e, f = body.matrix
    u, v = column + 0.5, row + 0.5
    shown = (a * u + c * v + e, b * u + d * v + f)
    x, _, z = volume.to_world(voxel)
    np.testing.assert_allclose(shown, (-x, -z), atol=0.9 * step / 2 + 1e-6)


def test_the_map_holds_all_that_it_draws(patient: Patient) -> None:
    log = [event(i + 1, 0, i, "observed", observed(i, x_mm=180.0 * i)) for i in range(3)]
    drawn = path_map(read_steps(log), patient.landmarks, ["T12"], VIEW_MM, None)
    x, y, width, height = drawn.box
    assert [s.x for s in drawn.stops] == [0, -180, -360]  # moving to the patient's right goes left on the page
    for stop in drawn.stops:
        assert x <= stop.x - VIEW_MM / 2
        assert stop.x + VIEW_MM / 2 <= x + width
    for place in drawn.places:
        assert x <= place.x <= x + width
        assert y <= place.y <= y + height
    skull, t12 = (next(p for p in drawn.places if p.name == name) for name in ("Skull", "T12"))
    assert skull.y < t12.y
    assert t12.is_target
    assert not skull.is_target


def test_the_chart_shows_the_claim_beside_the_truth(patient: Patient) -> None:
    decision = Decision(
        target="T12",
        arrived=False,
        motion=Motion(left_mm=3),
        distance_mm=40,
        sd_mm=5,
        source="in view",
        rationale="seen",
    )
    dictated = decision.model_copy(update={"sd_mm": 0.0, "source": "clinician"})
    log = [
        event(1, 0, 0, "observed", observed(0)),
        event(2, 0, 0, "decided", decision.model_dump(mode="json")),
        event(3, 0, 1, "observed", observed(1)),
        event(4, 0, 1, "decided", dictated.model_dump(mode="json")),
    ]
    chart = distance_chart(read_steps(log), patient.landmarks, 15.0)
    assert chart is not None
    (series,) = chart.series
    assert [p.mm for p in series.claimed] == [40]  # what a human dictates claims nothing
    assert [p.mm for p in series.true] == [pytest.approx(patient.distance_mm("T12", Pose(x_mm=0, y_mm=0, z_mm=0)))]
    assert distance_chart(read_steps(log[:1]), patient.landmarks, 15.0) is None
    assert distance_chart([CArmStep(branch=0, step=0)], {}, 15.0) is None


@given(points=st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=14))
@examples(max_examples=50, deadline=None)
def test_labels_stay_inside_and_off_their_points(points: list[tuple[float, float]]) -> None:
    size = 13.0
    texts = [(f"mark {i}", x, y) for i, (x, y) in enumerate(points)]
    labels = place_labels(texts, size, (0, 0, 300, 300))
    for label in labels:
        half = 0.3 * size * len(label.text) + 0.2 * size
        assert label.x - half >= -1e-6
        assert label.x + half <= 300 + 1e-6
    if len(points) <= 2:
        for label, (_, x, y) in zip(labels, texts, strict=True):
            assert math.hypot(label.x - x, label.y - y) >= size * 0.6
