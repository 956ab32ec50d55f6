"""The C-arm loop through its public door: sessions over a phantom, with a localiser that knows the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scenario import Begin, Patient, Use, exposures, moved, payloads, saying

from loopwright.errors import BadInput, MissingDependency, SessionBusy, UnknownName
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import CArmRun, prepare
from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import redraw_session
from loopwright.memory import Memory
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event
from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.device import Device
from loopwright.tools.devices import device_file

TOLD = ("observed", "measured", "localised", "relocalised", "decided", "reached", "acted")


def end_pose(session: Session) -> Pose:
    return Pose.model_validate(session.state["observation"]["pose"])


def motions_done(memory: Memory, session: Session) -> list[dict[str, Any]]:
    entries = [e for e in memory.ledger.of(session.id) if e.act.tool == "move_c_arm"]
    return [e.act.arguments for e in entries if e.outcome is not None and e.outcome.status == "done"]


def test_reaches_one_target_after_another(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run("Right scapular inferior angle", ("Carina", "T12")))
    events = list(session.stream())
    assert session.status == "succeeded"
    assert [p["target"] for p in payloads(events, "reached")] == ["Carina", "T12"]
    assert patient.distance_mm("T12", end_pose(session)) < 15
    told = [e.kind for e in events if e.step == 0 and e.kind in TOLD]
    assert told == ["observed", "measured", "localised", "decided", "acted"]
    assert memory.verify(session.id).ok
    assert events == memory.events.read(session.id)


def test_every_exposure_and_motion_stands_in_the_ledger(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run())
    events = list(session.stream())
    entries = memory.ledger.of(session.id)
    taken = [e for e in entries if e.act.tool == "take_exposure"]
    assert len(taken) == len(exposures(events)) == session.state["observation"]["exposures"]
    assert len(entries) - len(taken) == len(moved(events))
    assert {e.approved_by for e in entries} == {"guard"}
    assert all(e.outcome is not None and e.outcome.status == "done" for e in entries)


def test_a_word_changes_the_course(patient: Patient, begin: Begin, memory: Memory) -> None:
    told = begin(patient.run())
    events = saying(told, {("localised", 0): "go 30 mm cranial"})
    assert motions_done(memory, told)[0]["caudal_mm"] == -30
    assert payloads(events, "decided")[0]["source"] == "clinician"
    untold = begin(patient.run())
    untold.run()
    assert motions_done(memory, untold)[0]["caudal_mm"] > 0


def test_one_message_corrects_a_wrong_localisation(patient: Patient, begin: Begin, truth: Use) -> None:
    def mistaken(pose: Pose) -> Localisation:
        seen = patient.truth(pose)
        left_mm, caudal_mm = seen.offsets_mm["T12"]
        return seen.model_copy(update={"offsets_mm": {**seen.offsets_mm, "T12": (left_mm + 50, caudal_mm)}})

    truth(mistaken)
    left_alone = begin(patient.run("T12"))
    left_alone.run()
    corrected = begin(patient.run("T12"))
    saying(corrected, {("localised", 0): "that is the T12"})
    assert corrected.status == "succeeded"
    assert patient.distance_mm("T12", end_pose(corrected)) < 15 < patient.distance_mm("T12", end_pose(left_alone))


def test_pointing_out_another_landmark_overrules_the_whole_picture(
    patient: Patient, begin: Begin, truth: Use, memory: Memory
) -> None:
    def lost(pose: Pose) -> Localisation:
        """Over T1 it takes itself to be over T12."""
        seen = patient.truth(pose)
        if patient.distance_mm("T1", pose) > 20:
            return seen
        return patient.truth(pose.moved(caudal_mm=patient.distance_mm("T1", patient.over("T12"))))

    truth(lost)
    left_alone = begin(patient.run("T1"))
    assert left_alone.run() == "succeeded"
    assert patient.distance_mm("T12", end_pose(left_alone)) > 100
    corrected = begin(patient.run("T1"))
    saying(corrected, {("localised", 0): "that is the T1"})
    assert corrected.status == "succeeded"
    assert patient.distance_mm("T12", end_pose(corrected)) < 15


def test_arrival_is_never_claimed_from_the_atlas(patient: Patient, begin: Begin, truth: Use) -> None:
    far = (300.0, 300.0)
    truth(lambda pose: patient.truth(pose).model_copy(update={"offsets_mm": dict.fromkeys(ATLAS_OFFSETS_MM, far)}))
    session = begin(patient.run("T12"))
    events = saying(session, {("localised", 0): "that is the T12", ("localised", 1): "the target is the carina"})
    assert not any(p["arrived"] and p["source"] == "atlas" for p in payloads(events, "decided"))


def test_a_new_target_replaces_the_present_one(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run("T1"))
    saying(session, {("localised", 0): "the target is the left humeral head"})
    assert session.state["reached"] == ["Left humeral head"]
    assert patient.distance_mm("Left humeral head", end_pose(session)) < 15


def test_what_was_rejected_is_not_used_again(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run("Carina"))
    events = saying(session, {("localised", 0): "wrong"})
    assert "Carina" not in payloads(events, "decided")[0]["rationale"]


def test_a_no_takes_back_the_motion_that_was_ordered_before_it(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run())
    session.say("go 30 mm cranial")
    session.say("no")
    session.run()
    assert all(motion["caudal_mm"] != -30 for motion in motions_done(memory, session))


@pytest.mark.parametrize("on_uncertain", ["ask", "proceed"])
def test_what_is_not_understood_is_clarified(patient: Patient, begin: Begin, on_uncertain: str) -> None:
    session = begin(patient.run(on_uncertain=on_uncertain))
    events = saying(session, {("localised", 0): "go cranial"})
    assert [p["question"]["about"] for p in payloads(events, "asked")] == ["unclear"]
    assert session.status == "waiting"
    assert all(p["source"] != "clinician" for p in payloads(events, "decided"))


@pytest.mark.parametrize(("on_uncertain", "status"), [("ask", "waiting"), ("proceed", "succeeded"), ("stop", "failed")])
def test_a_large_conformal_set_asks_proceeds_or_stops(
    patient: Patient, begin: Begin, truth: Use, memory: Memory, on_uncertain: str, status: str
) -> None:
    def unsure(pose: Pose) -> Localisation:
        seen = patient.truth(pose)
        return seen.model_copy(update={"nearest_set": seen.ranking[:6]})

    truth(unsure)
    session = begin(patient.run(on_uncertain=on_uncertain))
    session.run()
    assert session.status == status
    if status != "succeeded":
        assert motions_done(memory, session) == []


def test_an_answer_lets_a_waiting_session_go_on(
    patient: Patient, begin: Begin, truth: Use, memory: Memory, tmp_path: Path
) -> None:
    truth(lambda pose: patient.truth(pose).model_copy(update={"nearest_set": ()}))
    session = begin(patient.run(on_uncertain="ask"))
    assert session.run() == "waiting"
    for _ in range(12):
        session.say("that is the carina" if motions_done(memory, session) == [] else "approve")
        session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
        if session.run() != "waiting":
            break
    assert session.status == "succeeded"
    assert LOOP.replay(session.id, memory).difference is None


def test_a_human_approves_rejects_or_directs(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run("Carina", approval="human"))
    assert session.run() == "waiting"
    assert motions_done(memory, session) == []
    session.say("no")
    assert session.run() == "waiting"
    first, second = (e.payload["motion"] for e in memory.events.read(session.id) if e.kind == "decided")
    assert second["caudal_mm"] == pytest.approx(first["caudal_mm"] / 2, abs=0.1)
    session.say("approve")
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert session.run() == "waiting"
    assert motions_done(memory, session) == [second]
    refused, entry, *_ = [e for e in memory.ledger.of(session.id) if e.act.tool == "move_c_arm"]
    assert (refused.status, entry.approved_by) == ("refused", "human")
    assert entry.command_sha256 == entry.act.sha256
    session.say("go 20 mm cranial")  # ordered exactly, so it is not asked about again
    assert session.run() == "waiting"
    assert [m["caudal_mm"] for m in motions_done(memory, session)] == [second["caudal_mm"], -20]
    assert LOOP.replay(session.id, memory).difference is None


def test_a_yes_approves_no_motion_that_was_not_asked_about_before_it(
    patient: Patient, begin: Begin, memory: Memory
) -> None:
    session = begin(patient.run("Carina", approval="human"))
    saying(session, {("localised", 0): "approve", ("decided", 0): "yes"})
    assert session.status == "waiting"
    assert motions_done(memory, session) == []
    assert LOOP.replay(session.id, memory).difference is None


def test_stop_lets_no_motion_follow_and_resuming_goes_on(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path
) -> None:
    session = begin(patient.run("Skull"))
    events = saying(session, {("acted", 0): "STOP!"})
    assert session.status == "stopped"
    before = motions_done(memory, session)
    assert len(before) <= 2  # the one already sent, and one that may have been sent before the word was committed
    assert payloads(events, "stopped")[0]["last_act_sent"] is not None
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert session.run() == "succeeded"
    assert motions_done(memory, session)[: len(before)] == before
    assert LOOP.replay(session.id, memory).difference is None


def test_stop_before_a_motion_keeps_it_back(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run())
    saying(session, {("guarded", 0): "stop"})
    assert session.status == "stopped"
    assert motions_done(memory, session) == []
    assert LOOP.resume(session.id, memory, devices=tmp_path / "devices").run() == "succeeded"


def test_words_move_no_limit(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run())
    events = saying(session, {("localised", 0): "go 300 mm cranial"})
    first = next(p for p in payloads(events, "guarded") if p["tool"] == "move_c_arm")
    assert (first["ok"], first["rule"]) == (False, "step")
    assert all(abs(m["caudal_mm"]) <= 150 for m in motions_done(memory, session))
    assert session.status == "succeeded"


def test_a_loop_that_gets_nowhere_ends(patient: Patient, begin: Begin, truth: Use, memory: Memory) -> None:
    def haunted(pose: Pose) -> Localisation:
        seen = patient.truth(pose)
        return seen.model_copy(update={"offsets_mm": dict.fromkeys(seen.offsets_mm, (0.0, 60.0))})

    truth(haunted)
    session = begin(patient.run())
    assert session.run() == "failed"
    assert "progress" in session.state["reason"] or "envelope" in session.state["reason"]
    assert len(motions_done(memory, session)) < 20


def test_pause_and_resume(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run("Skull"))
    for event in session.stream():
        if event.kind == "localised" and event.step == 1:
            session.pause()
    assert session.status == "paused"
    resumed = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert resumed.run() == "succeeded"
    assert LOOP.replay(session.id, memory).difference is None


def test_rewind_keeps_the_record_and_moves_the_world_back(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path
) -> None:
    session = begin(patient.run("Skull"))
    session.run()
    n_before, poses = len(memory.events.read(session.id)), exposures(memory.events.read(session.id))
    session.rewind(1)
    assert Device(device_file(tmp_path / "devices", session.id, ""), {}).state()["pose"] == poses[1]["pose"]
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    saying(session, {("localised", 1): "go 10 mm left"})
    events = memory.events.read(session.id)
    assert session.status == "succeeded"
    assert len(events) > n_before
    assert memory.verify(session.id).ok
    assert {e.branch for e in events} == {0, 1}
    assert session.state["observation"]["exposures"] > len(poses)  # radiation is not undone
    assert LOOP.replay(session.id, memory).difference is None


def test_rewinding_to_a_step_that_was_not_observed(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run())
    session.run()
    with pytest.raises(BadInput, match="step"):
        session.rewind(99)


def test_fork_names_its_parent_and_leaves_it_alone(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path
) -> None:
    session = begin(patient.run("Skull"))
    session.run()
    head = memory.events.head(session.id)
    child = LOOP.fork(session, 1)
    first = memory.events.read(child.id)[0]
    assert (first.kind, first.payload["parent"], first.payload["parent_head"]) == ("forked", session.id, head)
    saying(child, {("localised", 1): "the target is the carina"})
    assert child.status == "succeeded"
    assert memory.events.head(session.id) == head
    memory.retention.prune(session.id)
    assert LOOP.replay(child.id, memory).difference is None


def test_a_replay_shows_what_was_tampered_with(
    patient: Patient, begin: Begin, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(patient.run())
    session.run()
    found = LOOP.replay(session.id, memory)
    assert (found.n, found.difference) == (len(memory.events.read(session.id)), None)
    assert redraw_session(memory, session.id, LOOP).worst == 0.0

    real = memory.events

    class Forged:
        """The log with one decision changed."""

        def read(self, session_id: str) -> list[Event]:
            events = real.read(session_id)
            at = next(i for i, e in enumerate(events) if e.kind == "decided")
            events[at] = events[at].model_copy(update={"payload": {**events[at].payload, "distance_mm": 1.0}})
            return events

    monkeypatch.setattr(memory, "events", Forged())
    difference = LOOP.replay(session.id, memory).difference
    assert difference is not None and "decided" in difference


def test_one_process_holds_a_session(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = begin(patient.run())
    stream = session.stream()
    next(stream)
    other = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    with pytest.raises(SessionBusy, match=session.id):
        other.run()
    stream.close()
    assert other.run() == "succeeded"


def test_an_error_in_a_node_leaves_the_session_whole(
    patient: Patient, begin: Begin, truth: Use, memory: Memory, tmp_path: Path
) -> None:
    def missing(pose: Pose) -> Localisation:
        raise MissingDependency("`weights` are not here")

    truth(missing)
    session = begin(patient.run())
    with pytest.raises(MissingDependency):
        session.run()
    assert memory.events.read(session.id)[-1].kind == "error"
    truth(patient.truth)
    assert LOOP.resume(session.id, memory, devices=tmp_path / "devices").run() == "succeeded"


def test_an_ended_session_is_not_run_again(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run())
    session.run()
    with pytest.raises(BadInput, match="rewind"):
        session.run()


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"target": ("T13",)}, UnknownName, "T12"),
        ({"start": "Nowhere"}, UnknownName, "landmark"),
        ({"start": "9999,0,0"}, BadInput, "envelope"),
        ({"volume": "phantom:x"}, BadInput, "phantom"),
        ({"volume": "/nowhere/ct.nii.gz"}, BadInput, "ct.nii.gz"),
    ],
)
def test_bad_input_begins_nothing(
    patient: Patient, begin: Begin, memory: Memory, changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        begin(patient.run(**{"start": "Carina", "target": ("T12",)} | changed))
    assert memory.sessions.list() == []


def test_a_target_outside_the_volume_is_named_with_what_there_is(patient: Patient, tmp_path: Path) -> None:
    few = tmp_path / "few.json"
    few.write_text(json.dumps({n: patient.landmarks[n].tolist() for n in ("T1", "Carina")}))
    with pytest.raises(BadInput, match=r"T12.*outside.*T1, Carina"):
        prepare(CArmRun(**patient.run("Carina", ("T12",), landmarks=few)))


def test_observations_are_what_the_world_shows(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run())
    seen = exposures(list(session.stream()))
    assert [p["exposures"] for p in seen] == list(range(1, len(seen) + 1))
    assert np.allclose(seen[0]["pose"]["x_mm"], patient.landmarks["Carina"][0])
