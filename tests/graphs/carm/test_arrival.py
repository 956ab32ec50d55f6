"""A C-arm that may well be somewhere else does not say that it is there: it asks, or says that it found nothing."""

from pathlib import Path

import pytest
from tests.scenario import Begin, Patient, Use, payloads

from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import CArmRun
from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import report_session
from loopwright.memory import Memory
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.landmarks import LANDMARKS


@pytest.fixture(autouse=True)
def unsure(patient: Patient, truth: Use) -> None:
    """The localiser sees T12 where it is, and says that it might as well be 50 mm away."""

    def see(pose: Pose) -> Localisation:
        return patient.truth(pose).model_copy(update={"sigma_mm": {**dict.fromkeys(LANDMARKS, 3.0), "T12": 50.0}})

    truth(see)


@pytest.mark.parametrize("on_uncertain", ["proceed", "stop"])
def test_with_nobody_to_ask_the_target_was_not_found(
    patient: Patient, begin: Begin, memory: Memory, on_uncertain: str
) -> None:
    session = begin(patient.run(on_uncertain=on_uncertain))
    events = list(session.stream())
    assert session.status == "not_found"
    assert payloads(events, "finished")[0]["reason"] == "T12 was not found: it may be 50 mm from here"
    assert payloads(events, "reached") == []
    assert LOOP.replay(session.id, memory).difference is None


def test_the_report_does_not_say_that_it_was_reached(patient: Patient, begin: Begin, memory: Memory) -> None:
    session = begin(patient.run("T1", ("Carina", "T12")))
    session.run()
    report = report_session(memory, session.id, patient.volume.with_name("report.html"), LOOP)
    page = report.read_text(encoding="utf-8")
    assert "Carina ✓" in page and "T12 ✓" not in page
    assert page.count("not reached") == 1
    assert "T12 was not found: it may be 50 mm from here" in page


def test_a_run_may_be_less_particular(patient: Patient, begin: Begin) -> None:
    assert begin(patient.run(max_arrival_sd_mm=60)).run() == "succeeded"


def test_what_was_reached_before_stays_reached(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run("T1", ("Carina", "T12")))
    assert session.run() == "not_found"
    assert session.state["reached"] == ["Carina"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [("approve", "succeeded"), ("that is the T12", "succeeded"), ("go 20 mm cranial", "waiting"), ("hm", "waiting")],
)
def test_a_clinician_says_whether_it_is_there(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path, answer: str, status: str
) -> None:
    session = asked(begin(patient.run(on_uncertain="ask")))
    session.say(answer)
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert session.run() == status
    assert session.state["reached"] == (["T12"] if status == "succeeded" else [])
    assert LOOP.replay(session.id, memory).difference is None


def test_after_a_no_it_is_not_claimed_on_this_picture_again(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path
) -> None:
    session = asked(begin(patient.run(on_uncertain="ask")))
    step = memory.events.read(session.id)[-1].step
    session.say("no")
    LOOP.resume(session.id, memory, devices=tmp_path / "devices").run()
    assert LOOP.replay(session.id, memory).difference is None
    later = [e.payload for e in memory.events.read(session.id) if e.kind == "decided" and e.step == step]
    assert [p["arrived"] for p in later] == [True, False]
    assert "earlier" not in later[1]["rationale"]


def test_a_no_to_being_there_says_nothing_of_what_is_nearest(
    patient: Patient, begin: Begin, memory: Memory, tmp_path: Path, truth: Use
) -> None:
    def see(pose: Pose) -> Localisation:
        seen = patient.truth(pose)
        nearest = {**dict.fromkeys(LANDMARKS, 0.0), "Carina": 1.0}
        return seen.model_copy(update={"nearest": nearest, "sigma_mm": dict.fromkeys(LANDMARKS, 50.0)})

    truth(see)
    session = asked(begin(patient.run(on_uncertain="ask")))
    session.say("no")
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    denied = [session.state["denied"] for _ in session.stream()]
    assert ["T12"] in denied and all(names in ([], ["T12"]) for names in denied)


def test_a_yes_beside_a_motion_is_no_yes(patient: Patient, begin: Begin, memory: Memory, tmp_path: Path) -> None:
    session = asked(begin(patient.run(on_uncertain="ask")))
    session.say("go 20 mm cranial")
    session.say("approve")
    session = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert session.run() == "waiting" and session.state["reached"] == []
    assert any(e.payload["source"] == "clinician" for e in memory.events.read(session.id) if e.kind == "decided")


@pytest.mark.parametrize("value", [0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="max_arrival_sd_mm"):
        CArmRun(volume="phantom:7", start="Carina", target=("T12",), max_arrival_sd_mm=value)


def asked(session: Session) -> Session:
    """`session`, run until it asks whether it has arrived."""
    questions = [p["question"] for p in payloads(list(session.stream()), "asked")]
    assert session.status == "waiting"
    assert [q["about"] for q in questions] == ["arrival"]
    assert questions[0]["text"] == "Is T12 centred? I take it to be, but it may be 50 mm from here."
    return session
