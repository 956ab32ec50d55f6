import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loopwright.schema import Verdict
from loopwright.settings import CArmSettings
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Direction, Motion, MotionLimits, Track, check_track
from loopwright.tools.carm.volume import Volume

LIMITS = MotionLimits(
    low_world=(-200, -100, -400),
    high_world=(200, 100, 0),
    alpha_range_deg=(-40, 110),
    beta_range_deg=(-45, 45),
    max_step_mm=150,
    max_step_deg=45,
    max_travel_mm=1000,
    max_exposures=8,
)
HERE = Pose(x_mm=0, y_mm=0, z_mm=-200)
FRESH = Track().at(HERE, 100.0)


def check_motion(motion: Motion, pose: Pose, track: Track, limits: MotionLimits, exposures: int = 1) -> Verdict:
    """What a session asks of a motion: the world's guard, then the loop's."""
    verdicts = (limits.check_step(motion, pose), limits.check_exposure(exposures))
    return next((v for v in verdicts if not v.ok), None) or check_track(motion, pose, track, limits)


def about(low: float, high: float) -> st.SearchStrategy[float]:
    """Mostly numbers that are near a limit on either side, sometimes anything a float can be."""
    return st.one_of(st.floats(low, high), st.floats(low, high), st.floats(low, high), st.floats())


motions = st.builds(
    lambda *values: Motion.model_construct(**dict(zip(Motion.model_fields, values, strict=True))),
    *[about(-160, 160)] * 3,
    *[about(-50, 50)] * 2,
)
"""As a careless caller could make them: past all validation."""
poses = st.builds(
    lambda *values: Pose.model_construct(**dict(zip(Pose.model_fields, values, strict=True))),
    about(-250, 250),
    about(-120, 120),
    about(-450, 50),
    about(-50, 120),
    about(-50, 50),
)


def inside(pose: Pose) -> bool:
    values = list(pose.model_dump().values())
    low = [*LIMITS.low_world, LIMITS.alpha_range_deg[0], LIMITS.beta_range_deg[0]]
    high = [*LIMITS.high_world, LIMITS.alpha_range_deg[1], LIMITS.beta_range_deg[1]]
    return all(lo <= v <= hi for lo, v, hi in zip(low, values, high, strict=True))


NOWHERE = Pose.model_construct(x_mm=math.nan, y_mm=0.0, z_mm=-200.0, alpha_deg=0.0, beta_deg=0.0)


@example(motion=Motion(), pose=NOWHERE, exposures=1, travel=0.0)
@example(motion=Motion(left_mm=-150.5), pose=HERE, exposures=1, travel=0.0)
@example(motion=Motion(beta_deg=-45.5), pose=HERE.model_copy(update={"beta_deg": 20.0}), exposures=1, travel=0.0)
@settings(max_examples=300, deadline=None)
@given(motion=motions, pose=poses, exposures=st.integers(0, 9), travel=st.floats(0, 1100))
def test_no_accepted_motion_ends_outside_whatever_goes_in(
    motion: Motion, pose: Pose, exposures: int, travel: float
) -> None:
    track = Track(visited=(pose,), travel_mm=travel)
    verdict = check_motion(motion, pose, track, LIMITS, exposures)
    if verdict.ok:
        assert inside(motion.applied_to(pose))
        assert all(abs(v) <= 150 for v in (motion.left_mm, motion.caudal_mm, motion.anterior_mm))
        assert all(abs(v) <= 45 for v in (motion.alpha_deg, motion.beta_deg))
        assert track.after(motion).travel_mm <= LIMITS.max_travel_mm
        assert exposures < LIMITS.max_exposures
    else:
        assert verdict.rule
        assert verdict.reason.endswith(".")


@settings(deadline=None)
@given(left=st.floats(-150, 150), caudal=st.floats(-150, 150))
def test_a_small_motion_from_the_middle_is_accepted_and_not_changed(left: float, caudal: float) -> None:
    motion = Motion(left_mm=left, caudal_mm=caudal)
    assert check_motion(motion, HERE, FRESH, LIMITS).ok
    assert (motion.left_mm, motion.caudal_mm) == (left, caudal)


@pytest.mark.parametrize(
    ("motion", "track", "rule", "words"),
    [
        ({"left_mm": 150.1}, FRESH, "step", ["`left_mm`", "150.1", "150 mm"]),
        ({"caudal_mm": -151}, FRESH, "step", ["`caudal_mm`", "-151", "150 mm"]),
        ({"beta_deg": 46}, FRESH, "step", ["`beta_deg`", "46", "45 deg"]),
        ({"anterior_mm": 101}, FRESH, "envelope", ["`y_mm`", "101", "-100 to 100 mm"]),
        ({"alpha_deg": -41}, FRESH, "envelope", ["`alpha_deg`", "-41", "-40 to 110 deg"]),
        ({"left_mm": 50}, FRESH.model_copy(update={"travel_mm": 951}), "travel", ["1001", "1000"]),
        ({"left_mm": 50}, FRESH.model_copy(update={"claimed_mm": (60, 70, 60, 61)}), "progress", ["60", "61", "3"]),
    ],
)
def test_each_rule_names_itself_the_value_and_the_limit(
    motion: dict[str, float], track: Track, rule: str, words: list[str]
) -> None:
    verdict = check_motion(Motion(**motion), HERE, track, LIMITS)
    assert (verdict.ok, verdict.rule) == (False, rule)
    for word in words:
        assert word in verdict.reason


def test_no_motion_follows_the_last_exposure() -> None:
    verdict = LIMITS.check_exposure(8)
    assert (verdict.ok, verdict.rule) == (False, "exposures") and "8" in verdict.reason
    assert LIMITS.check_exposure(7).ok


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_motion(bad: float) -> None:
    with pytest.raises(ValidationError):
        Motion(left_mm=bad)
    forced = Motion.model_construct(left_mm=bad, caudal_mm=0.0, anterior_mm=0.0, alpha_deg=0.0, beta_deg=0.0)
    assert check_motion(forced, HERE, FRESH, LIMITS).rule == "finite"


def walk(*steps: dict[str, float]) -> tuple[Pose, Track]:
    """Make the motions, each of which must be allowed."""
    pose, track = HERE, Track().at(HERE, None)
    for step in steps:
        motion = Motion(**step)
        verdict = check_motion(motion, pose, track, LIMITS)
        assert verdict.ok, verdict.reason
        pose = motion.applied_to(pose)
        track = track.after(motion).at(pose, None)
    return pose, track


def test_going_to_and_fro_is_stopped_when_it_repeats_and_not_before() -> None:
    pose, track = walk({"left_mm": 40}, {"left_mm": -40})
    assert check_motion(Motion(left_mm=40), pose, track, LIMITS).rule == "oscillation"
    assert check_motion(Motion(left_mm=38, caudal_mm=1), pose, track, LIMITS).rule == "oscillation"
    assert check_motion(Motion(caudal_mm=40), pose, track, LIMITS).ok
    assert check_motion(Motion(left_mm=40), pose, track.for_new_goal(), LIMITS).ok


def test_a_longer_round_is_found_too() -> None:
    pose, track = walk({"left_mm": 40}, {"caudal_mm": 40}, {"left_mm": -40, "caudal_mm": -40})
    assert check_motion(Motion(left_mm=41), pose, track, LIMITS).rule == "oscillation"


def test_small_steps_in_one_direction_and_rotations_are_no_oscillation() -> None:
    walk(*[{"left_mm": 2.0}] * 6)
    walk(*[{"alpha_deg": 10.0}] * 4)


def test_progress_counts_from_the_navigators_last_own_motion() -> None:
    track = Track()
    for claimed in (100.0, 110.0, 105.0, 100.0):
        track = track.at(HERE, claimed)
    there = Motion(left_mm=50)
    assert check_motion(there, HERE, track, LIMITS).rule == "progress"
    assert check_motion(there, HERE, track.at(HERE, None), LIMITS).ok
    assert check_motion(there, HERE, track.for_new_goal(), LIMITS).ok
    assert check_motion(there, HERE, track.at(HERE, 99.0), LIMITS).ok


def test_progress_is_towards_one_thing_at_a_time() -> None:
    track = Track()
    for claimed, towards in (
        (300.0, "Left elbow"),
        (150.0, "Left elbow"),
        (5.0, "Left elbow"),
        (250.0, ""),
        (260.0, ""),
    ):
        track = track.at(HERE, claimed, towards)
    there = Motion(left_mm=50)
    assert check_motion(there, HERE, track, LIMITS).ok  # at the elbow the wrist is as far as it always was
    assert check_motion(there, HERE, track.at(HERE, 255.0).at(HERE, 250.0), LIMITS).rule == "progress"


def test_the_envelope_is_the_volume_and_the_settings_margin(block_volume: Volume) -> None:
    limits = MotionLimits.of(CArmSettings(envelope_margin_mm=10), block_volume)
    assert limits.low_world == pytest.approx((-134, -84, -214))
    assert limits.high_world == pytest.approx((126, 96, 6))
    assert limits.check_pose(Pose(x_mm=126, y_mm=0, z_mm=0)).ok
    assert limits.check_pose(Pose(x_mm=126.1, y_mm=0, z_mm=0)).rule == "envelope"
    assert MotionLimits.model_validate_json(limits.model_dump_json()) == limits


@pytest.mark.parametrize(
    ("direction", "moved"),
    [
        ("left", {"x_mm": -20}),
        ("right", {"x_mm": 20}),
        ("cranial", {"z_mm": -180}),
        ("caudal", {"z_mm": -220}),
        ("anterior", {"y_mm": 20}),
        ("posterior", {"y_mm": -20}),
    ],
)
def test_directions_are_the_patients_and_move_the_view(direction: Direction, moved: dict[str, Any]) -> None:
    motion = Motion.towards(direction, 20)
    assert motion.applied_to(HERE) == HERE.model_copy(update=moved)
    assert motion.describe() == f"20 mm {direction}"
    assert motion.length_mm == 20


def test_a_motion_describes_itself() -> None:
    assert Motion().describe() == "nowhere"
    assert Motion(left_mm=-3.25, caudal_mm=10, alpha_deg=-5).describe() == "10 mm caudal, 3.25 mm right, -5 deg alpha"
