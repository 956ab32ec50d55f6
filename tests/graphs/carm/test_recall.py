"""What a clinician pointed out in one session is known to the next one over the same patient, where the run says so."""

from tests.graphs.oracle import end_distance_mm
from tests.scenario import Begin, Patient, Use, payloads, saying

from loopwright.graphs.carm import LOOP
from loopwright.memory import Memory
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose


def test_what_a_clinician_pointed_out_is_known_to_the_next_session_over_the_patient(
    patient: Patient, begin: Begin, truth: Use, memory: Memory
) -> None:
    def lost(pose: Pose) -> Localisation:
        """Wherever it is, T12 seems to be 60 mm further to the left than it is."""
        seen = patient.truth(pose)
        left_mm, caudal_mm = seen.offsets_mm["T12"]
        return seen.model_copy(update={"offsets_mm": {**seen.offsets_mm, "T12": (left_mm + 60, caudal_mm)}})

    truth(lost)
    told = begin(patient.run("T12"))
    (corrected,) = payloads(saying(told, {("localised", 0): "that is the T12"}), "corrected")
    assert (corrected["landmark"], corrected["text"]) == ("T12", "that is the T12")
    found = {}
    for recall in (False, True):
        session = begin(patient.run("Carina", recall=recall))
        session.run()
        found[recall] = end_distance_mm(patient, session, "T12")
        assert [p["read"] for p in payloads(session.events, "recalled")] == ["corrections"] * recall
        assert LOOP.replay(session.id, memory).difference is None
    assert found[True] < 15 < found[False]
