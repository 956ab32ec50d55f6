"""The atlas navigator: what it proposes for what was seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.carm.navigator import (
    Anchor,
    AtlasNavigator,
    Decision,
    Sighting,
    Situation,
    sightings_in,
    to_patient_mm,
)
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import ImageRef
from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM, expected_offset_mm
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS

HERE = Pose(x_mm=0, y_mm=0, z_mm=0)
FAR = (400.0, 400.0)
IMAGE = ImageRef(sha256="a" * 64, width_px=128, height_px=128)


def seeing(offsets: dict[str, tuple[float, float]], sigma_mm: float = 5.0, far_sigma_mm: float = 200.0) -> Localisation:
    """A localisation with some landmarks where `offsets` says, all others far away and unsure."""
    return Localisation(
        nearest={n: 1.0 if n in offsets else 0.0 for n in LANDMARKS},
        offsets_mm={n: offsets.get(n, FAR) for n in LANDMARKS},
        sigma_mm={n: sigma_mm if n in offsets else far_sigma_mm for n in LANDMARKS},
    )


def decide(target: str, seen: Localisation, **more: object) -> Decision:
    return AtlasNavigator().decide(situation(target, seen, **more))


def situation(target: str, seen: Localisation, **more: object) -> Situation:
    limits = {"field_of_view_mm": 154.8, "max_step_mm": 150.0, "arrival_radius_mm": 7.5}
    return Situation.model_validate(
        {"target": target, "pose": HERE, "localisation": seen, "image": IMAGE, **limits, **more}
    )


def test_a_target_in_view_decides_by_itself() -> None:
    found = decide("T12", seeing({"T12": (20.0, -30.0), "Carina": (0.0, 0.0)}))
    assert (found.motion.left_mm, found.motion.caudal_mm, found.source) == (20, -30, "in view")


def test_a_target_close_to_the_centre_is_reached() -> None:
    found = decide("T12", seeing({"T12": (3.0, 4.0)}))
    assert found.arrived
    assert found.motion.length_mm == 0


def test_out_of_view_the_atlas_leads_from_what_is_in_view() -> None:
    found = decide("T12", seeing({"T1": (10.0, 0.0)}, far_sigma_mm=1e6))
    left_mm, caudal_mm = expected_offset_mm("T1", "T12")
    assert not found.arrived
    assert np.allclose(
        [found.motion.left_mm, found.motion.caudal_mm], np.array([10 + left_mm, caudal_mm]) * 150 / caudal_mm, atol=0.1
    )
    assert found.distance_mm == pytest.approx(np.hypot(10 + left_mm, caudal_mm), abs=0.1)


@given(st.floats(-600, 600), st.floats(-600, 600), st.integers(0, 3))
def test_no_proposal_exceeds_a_step_and_refusals_halve_it(left_mm: float, caudal_mm: float, refused: int) -> None:
    seen = seeing({"T12": (left_mm, caudal_mm)}, sigma_mm=1.0)
    motion = decide("T12", seen, refusals=("no",) * refused).motion
    assert max(abs(motion.left_mm), abs(motion.caudal_mm)) <= 150 / 2**refused + 0.05


def test_a_clinicians_finger_outranks_the_network() -> None:
    here = Anchor(landmark="Carina", x_mm=0, z_mm=0)
    found = decide("Carina", seeing({"Carina": (50.0, 0.0)}), anchors=(here,))
    assert (found.arrived, found.source) == (True, "clinician")
    found = decide("T12", seeing({"Carina": (70.0, 0.0), "T12": (0.0, 0.0)}), anchors=(here,))
    assert (found.arrived, found.source) == (False, "atlas")
    assert found.motion.caudal_mm > 100


def test_a_denied_target_is_not_believed_to_be_in_view() -> None:
    assert not decide("Carina", seeing({"Carina": (0.0, 0.0), "T1": (0.0, -60.0)}), denied=("Carina",)).arrived


def test_several_pictures_err_less_than_one() -> None:
    before = tuple(Sighting(landmark="T12", x_mm=-10, z_mm=0, sd_mm=5) for _ in range(3))
    found = decide("T12", seeing({"T12": (0.0, 0.0)}), sightings=before)
    assert 2 < found.distance_mm < 10
    assert found.source == "in view"


def test_a_sighting_is_where_the_landmark_was() -> None:
    pose = Pose(x_mm=10, y_mm=0, z_mm=-100)
    (sighting,) = sightings_in(situation("T12", seeing({"Carina": (20.0, 30.0)}), pose=pose))
    assert (sighting.landmark, sighting.x_mm, sighting.z_mm) == ("Carina", -10, -130)


def test_a_lost_wrist_is_looked_for_along_the_arm() -> None:
    seen = seeing({"T1": (0.0, 0.0), "Left humeral head": (140.0, 0.0)})
    found = decide("Left wrist", seen)
    assert "by way of Left humeral head" in found.rationale
    assert found.towards == "Left humeral head" and found.distance_mm == pytest.approx(140, abs=2)
    assert found.motion.left_mm > 0
    at_shoulder = tuple(Sighting(landmark=n, x_mm=-140, z_mm=0, sd_mm=4) for n in ("Left humeral head", "Left elbow"))
    straight = decide("Left wrist", seen, sightings=at_shoulder)
    assert "by way" not in straight.rationale and straight.towards == ""


@given(st.floats(-40, 40), st.floats(-30, 30), st.floats(-70, 70), st.floats(-70, 70))
def test_in_plane_offsets_come_back_as_patient_directions(
    alpha: float, beta: float, left: float, caudal: float
) -> None:
    pose = Pose(x_mm=5, y_mm=6, z_mm=7, alpha_deg=alpha, beta_deg=beta)
    there = pose.moved(left_mm=left, caudal_mm=caudal).isocentre_world
    assert np.allclose(to_patient_mm(in_plane_offset_mm(there, pose).tolist(), pose), [left, caudal], atol=1e-6)


def test_every_pair_of_landmarks_has_a_way() -> None:
    for start in ATLAS_OFFSETS_MM:
        for target in ATLAS_OFFSETS_MM:
            found = decide(target, seeing({start: (0.0, 0.0)}))
            assert found.arrived == (start == target)
