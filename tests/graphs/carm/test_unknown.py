"""Over anatomy that nobody trained on the loop says so: real pictures, the bundled network, the gate as shipped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scenario import Begin, Patient, Use, moved, payloads

from loopwright.agents.carm.doubts import jump_mm
from loopwright.agents.carm.navigator import Sighting
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.describe import describe
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import report_session
from loopwright.memory import Memory
from loopwright.models.networks.carm import load_carm_network
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.render import make_renderer, to_uint8
from loopwright.tools.carm.sources import open_case

KNOWN: dict[str, Any] = {"volume": "phantom:30100", "start": "Carina", "target": "T12"}
STRANGE = {"volume": "stranger:pelvis:30000", "start": "0,0,150", "target": "T12"}


LIMIT_MM = 30.0


@pytest.fixture
def begin(memory: Memory, tmp_path: Path) -> Begin:
    """Start a session that sees with the bundled network."""
    return lambda run: LOOP.start(memory, devices=tmp_path / "devices", **run)


@pytest.fixture
def asked(begin: Begin) -> Session:
    """A session over a pelvis that asks what it sees."""
    session = begin({**STRANGE, "on_uncertain": "ask"})
    events = list(session.stream())
    assert session.status == "waiting" and moved(events) == []
    (question,) = [p["question"] for p in payloads(events, "asked")]
    assert question["about"] == "unknown" and question["text"].startswith("I do not know this anatomy: the surest")
    assert "it is not there" in question["options"]
    return session


@pytest.mark.parametrize(
    ("answer", "status"), [("it is not there", "not_found"), ("approve", "waiting"), ("go 20 mm cranial", "waiting")]
)
def test_a_clinician_ends_it_or_lets_it_go_on(
    asked: Session, memory: Memory, tmp_path: Path, answer: str, status: str
) -> None:
    asked.say(answer)
    session = LOOP.resume(asked.id, memory, devices=tmp_path / "devices")
    events = list(session.stream())
    assert session.status == status
    assert (moved(events) == []) == (status == "not_found")
    assert LOOP.replay(session.id, memory).difference is None


@pytest.mark.parametrize(("policy", "most"), [("proceed", 3), ("stop", 1)])
@pytest.mark.parametrize("kind", ["pelvis", "metal"])
def test_with_nobody_to_ask_it_is_not_found_within_a_few_exposures(
    begin: Begin, memory: Memory, kind: str, policy: str, most: int
) -> None:
    session = begin({**STRANGE, "volume": f"stranger:{kind}:30000", "on_uncertain": policy})
    events = list(session.stream())
    assert session.status == "not_found" and "I do not know this anatomy" in session.state["reason"]
    assert session.state["observation"]["exposures"] <= most
    assert payloads(events, "reached") == []
    assert LOOP.replay(session.id, memory).difference is None


def test_over_a_person_it_neither_asks_nor_doubts(begin: Begin) -> None:
    session = begin({**KNOWN, "on_uncertain": "ask"})
    events = list(session.stream())
    assert session.status == "succeeded"
    assert payloads(events, "asked") == payloads(events, "uncertain") == payloads(events, "contradicted") == []


def test_a_flat_posterior_is_asked_about(begin: Begin) -> None:
    """At a coverage of .90 a view of which nothing is plausible has an empty set, and no sure singleton."""
    case, network = open_case("stranger:noise:30001"), load_carm_network()
    renderer = make_renderer("numba", case.volume, Optics())
    poses = [Pose(x_mm=x, y_mm=case.volume.mid_coronal_y_mm, z_mm=z) for x in range(-60, 61, 30) for z in (-60, 0, 60)]
    seen = [network.localise(to_uint8(renderer.render(pose, 256)), coverage=0.90) for pose in poses]
    flat = next(pose for pose, one in zip(poses, seen, strict=True) if one.nearest_set == ())
    start = f"{flat.x_mm},{flat.y_mm},{flat.z_mm}"
    session = begin(
        {**STRANGE, "volume": "stranger:noise:30001", "start": start, "coverage": 0.90, "on_uncertain": "ask"}
    )
    assert session.run() == "waiting"


class TestJumps:
    @pytest.fixture
    def patient_begin(self, memory: Memory, tmp_path: Path, truth: Use, patient: Patient) -> Begin:
        """A localiser that puts T12 60 mm caudal, and once the view has gone anywhere else, in its middle."""
        start = patient.over("Carina")

        def see(pose: Pose) -> Localisation:
            seen, is_start = patient.truth(pose), pose.z_mm == pytest.approx(start.z_mm)
            offsets = {**seen.offsets_mm, "T12": (0.0, 60.0 if is_start else 0.0)}
            sigma = {**seen.sigma_mm, "T12": 30.0 if is_start else 3.0}
            return seen.model_copy(update={"offsets_mm": offsets, "sigma_mm": sigma, "known_jump_mm": LIMIT_MM})

        truth(see)
        return lambda run: LOOP.start(memory, devices=tmp_path / "devices", **run)

    @pytest.mark.parametrize(("policy", "status"), [("proceed", "not_found"), ("ask", "waiting")])
    def test_a_target_that_did_not_move_as_the_view_did_is_not_called_centred(
        self, patient: Patient, patient_begin: Begin, memory: Memory, policy: str, status: str
    ) -> None:
        session = patient_begin(patient.run(on_uncertain=policy))
        session.say("go 100 mm caudal")
        events = list(session.stream())
        assert session.status == status and payloads(events, "reached") == []
        why = "its place jumped by 40 mm against the motion that was made"
        assert why in (session.state["reason"] or payloads(events, "asked")[0]["question"]["text"])
        assert LOOP.replay(session.id, memory).difference is None

    def test_the_motion_drops_out(self) -> None:
        def at(x_mm: float, z_mm: float) -> list[Sighting]:
            return [Sighting(landmark="T12", x_mm=x_mm, z_mm=z_mm, sd_mm=3.0)]

        assert jump_mm("T12", at(0, 0), at(30, 40)) == 50
        assert np.isnan(jump_mm("T12", [], at(0, 0))) and np.isnan(jump_mm("T1", at(0, 0), at(0, 0)))


class TestContradictions:
    @pytest.fixture
    def misled(self, memory: Memory, tmp_path: Path) -> Session:
        """A finished session over a person whose landmarks file puts T12 80 mm too high."""
        case = open_case(KNOWN["volume"])
        places = {name: [float(v) for v in point] for name, point in case.landmarks.items()}
        places["T12"][2] += 80.0
        (tmp_path / "landmarks.json").write_text(json.dumps(places))
        session = LOOP.start(memory, devices=tmp_path / "d", **KNOWN, landmarks=tmp_path / "landmarks.json")
        assert session.run() == "succeeded"
        return session

    def test_a_claim_that_known_landmarks_contradict_is_warned_of(
        self, misled: Session, memory: Memory, tmp_path: Path
    ) -> None:
        (contradicted,) = payloads(misled.events, "contradicted")
        assert contradicted["target"] == "T12" and contradicted["known_mm"] == pytest.approx(80, abs=15)
        line = describe(next(e for e in misled.events if e.kind == "contradicted"))
        assert isinstance(line, Line) and line.tone == "bad" and "the known place of T12 is" in line.text
        page = report_session(memory, misled.id, tmp_path / "report.html", LOOP).read_text(encoding="utf-8")
        assert f"The known place of T12 is {contradicted['known_mm']:.0f} mm away" in page
        assert LOOP.replay(misled.id, memory).difference is None
