import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Act
from loopwright.settings import CArmSettings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose, project_to_image
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import ENV_ID, CArmWorld, optics_of

SMALL = CArmSettings(image_size_px=32, max_exposures=5)
EXPOSE = Act(tool="take_exposure")


@pytest.fixture
def world(block_case: Case, tmp_path: Path) -> CArmWorld:
    return CArmWorld(block_case, device=tmp_path / "device.sqlite", settings=SMALL, target="T12")


def move(**arguments: Any) -> Act:
    return Act(tool="move_c_arm", arguments=arguments)


def test_gymnasiums_checker_is_content(block_case: Case) -> None:
    """Its one remaining advice is actions between -1 and 1; ours are millimetres and degrees on purpose."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        env = gym.make(ENV_ID, case=block_case, settings=SMALL, target="T1", render_mode="rgb_array")
        check_env(env.unwrapped, skip_render_check=False)
        env.close()
    said = [str(w.message) for w in warned if "WARN" in str(w.message)]
    assert all("symmetric and normalized" in s for s in said), said


def test_the_registered_id_makes_a_world_without_a_file(block_case: Case) -> None:
    env = gym.make(ENV_ID, case=block_case, settings=SMALL, render_mode="rgb_array")
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (32, 32, 3)
    world = env.unwrapped
    assert isinstance(world, CArmWorld)
    assert world.device is None
    env.close()


def test_a_world_for_every_phantom() -> None:
    env = gym.make(ENV_ID, case="phantom:3", settings=SMALL)
    assert env.reset(seed=0)[0]["image"].max() == 255
    env.close()


def test_patient_directions_move_the_view(world: CArmWorld) -> None:
    before = world.pose
    outcome = world.apply("k", move(left_mm=30, caudal_mm=20, anterior_mm=5, alpha_deg=10, beta_deg=-5), 1)
    assert outcome.status == "done"
    moved = before.moved(left_mm=30, caudal_mm=20, anterior_mm=5, alpha_deg=10, beta_deg=-5)
    assert world.pose == moved == Pose.model_validate(outcome.result["pose"])


def test_a_bone_that_the_view_moves_away_from_leaves_to_the_other_side(world: CArmWorld, block_volume: Volume) -> None:
    """The bright bone lies where the projection equations say, and the view moved left shows it further right-of-body,
    which is the image's left."""
    bone_world = block_volume.to_world([11, 9, 12])
    for key, motion in (("a", {}), ("b", {"left_mm": 20})):
        world.apply(f"move-{key}", move(**motion), 1)
        world.apply(f"expose-{key}", EXPOSE, 1)
        u, _ = project_to_image(bone_world, world.pose, world.optics, 32)
        profile = world.image()[10:22].astype(float).mean(axis=0)
        bright = np.average(np.arange(32) + 0.5, weights=np.clip(profile - np.percentile(profile, 70), 0, None))
        assert bright == pytest.approx(u, abs=1.5)


def test_the_image_is_held_from_the_last_exposure(world: CArmWorld) -> None:
    with pytest.raises(BadInput, match="no exposure was taken yet"):
        world.image()
    world.apply("e1", EXPOSE, 1)
    held = world.image()
    world.apply("m", move(left_mm=40), 1)
    np.testing.assert_array_equal(world.image(), held)
    assert world.exposures == 1
    world.apply("e2", EXPOSE, 1)
    assert world.exposures == 2
    assert (world.image() != held).any()
    other = CArmWorld(world.case, device=world.device, settings=SMALL)
    np.testing.assert_array_equal(other.image(), world.image())


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (move(left_mm=151), ["step", "`left_mm` is 151 mm", "150 mm"]),
        (move(alpha_deg=-41), ["envelope", "`alpha_deg` would be -41 deg", "-40 to 110 deg"]),
        (move(anterior_mm=130), ["envelope", "`y_mm`"]),
        (move(left_mm=float("nan")), ["`left_mm`", "finite"]),
        (move(left_mm=float("inf")), ["`left_mm`", "finite"]),
        (move(left_mm="far"), ["`left_mm`", "number"]),
        (move(sideways_mm=10), ["`sideways_mm`"]),
        (Act(tool="take_exposure", arguments={"kv": 120}), ["no arguments"]),
        (Act(tool="eject"), ["'eject'", "move_c_arm, take_exposure"]),
    ],
)
def test_what_a_device_will_not_do_it_refuses_whole(world: CArmWorld, act: Act, words: list[str]) -> None:
    before = world.snapshot()
    outcome = world.apply("k", act, 1)
    assert outcome.status == "refused"
    for word in words:
        assert word in outcome.reason
    assert world.snapshot() == before
    assert world.exposures == 0
    assert world.outcome_of("k") == outcome


def test_the_exposure_budget_is_the_devices_too(world: CArmWorld) -> None:
    for i in range(SMALL.max_exposures):
        assert world.apply(f"e{i}", EXPOSE, 1).status == "done"
    refused = world.apply("e-more", EXPOSE, 1)
    assert (refused.status, refused.reason.split(":")[0]) == ("refused", "exposures")
    assert world.exposures == SMALL.max_exposures


def test_restoring_brings_back_the_pose_and_the_picture_but_no_radiation(world: CArmWorld) -> None:
    world.apply("e1", EXPOSE, 1)
    snapshot, picture = world.snapshot(), world.image()
    world.apply("m", move(left_mm=40), 1)
    world.apply("e2", EXPOSE, 1)
    assert world.restore(snapshot, "back", 1).status == "done"
    assert world.snapshot() == {**snapshot, "exposures": 2}
    np.testing.assert_array_equal(world.image(), picture)
    assert world.apply("m", move(left_mm=40), 1).status == "done"
    assert world.snapshot() == {**snapshot, "exposures": 2}, "a key that was applied stays applied"
    another = CArmWorld(world.case, settings=world.settings)
    another.restore(snapshot, "as there", 1)
    assert another.snapshot() == snapshot, "another device counts on"


@pytest.mark.parametrize("snapshot", [{}, {"pose": None, "exposed": None}, {"pose": {"x_mm": 0}, "exposed": None}])
def test_what_is_no_snapshot_is_refused(world: CArmWorld, snapshot: dict[str, Any]) -> None:
    before = world.snapshot()
    outcome = world.restore(snapshot, "back", 1)
    assert outcome.status == "refused" and "`snapshot`" in outcome.reason
    assert world.snapshot() == before


def test_an_episode_ends_at_the_target(world: CArmWorld) -> None:
    observation, info = world.reset(options={"start": "T1"})
    assert observation["exposures"] == 1
    assert info["distance_mm"] == pytest.approx(np.hypot(10, 140))
    observation, reward, terminated, truncated, info = world.step(np.array([0.0, 100, 0, 0, 0]))
    assert reward == pytest.approx(np.hypot(10, 140) - np.hypot(10, 40))
    assert (terminated, truncated) == (False, False)
    assert observation["exposures"] == 2
    observation, reward, terminated, truncated, info = world.step(np.array([-10.0, 40, 0, 0, 0]))
    assert terminated
    assert info["distance_mm"] == pytest.approx(0, abs=1e-9)
    assert observation["pose"].tolist() == [10, world.case.volume.mid_coronal_y_mm, -170, 0, 0]


def test_a_refused_step_takes_no_exposure_and_the_budget_truncates(world: CArmWorld) -> None:
    world.reset(options={"start": "T1"})
    _, reward, _, _, info = world.step(np.array([150.0, 0, 0, 45, 0]) * [1, 0, 0, -1, 0])
    assert (reward, world.exposures) == (0.0, 1)
    assert "envelope" in info["refused"]
    steps = [world.step(np.zeros(5)) for _ in range(4)]
    assert [s[3] for s in steps] == [False, False, False, True]
    assert "refused" in world.step(np.zeros(5))[4]


def test_its_guard_judges_a_motion_and_an_exposure_before_they_are_sent(world: CArmWorld) -> None:
    world.reset(options={"start": "T1"})
    assert world.spent() == {"exposures": 1} and world.check(move(left_mm=10)).ok
    assert world.check(move(left_mm=151)).rule == "step"
    assert world.check(move(left_mm=150, alpha_deg=-45)).rule == "envelope"
    for _ in range(4):
        world.step(np.zeros(5))
    assert world.check(Act(tool="take_exposure")).rule == "exposures"
    assert world.check(move(left_mm=10)).rule == "exposures"  # nothing could be seen after it
    with pytest.raises(UnknownName, match="move_c_arm"):
        world.check(Act(tool="fly"))


def test_resetting_is_seeded_and_keeps_the_targets_plane(world: CArmWorld) -> None:
    first, again, other = (world.reset(seed=s)[0]["pose"] for s in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()
    assert first[1] == world.case.volume.mid_coronal_y_mm
    assert world.reset(options={"target": "Carina", "start": "T12"})[1]["target"] == "Carina"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"start": "Skull"}, BadInput, "`Skull` is not among the landmarks"),
        ({"target": "Left wrist"}, BadInput, "`Left wrist` is not among"),
        ({"target": "karina"}, UnknownName, "Carina"),
        ({"start": Pose(x_mm=900, y_mm=0, z_mm=0)}, BadInput, "`x_mm` would be 900"),
    ],
)
def test_a_reset_to_nowhere_is_refused_and_changes_nothing(
    world: CArmWorld, options: dict[str, Any], error: type[BadInput], words: str
) -> None:
    before = world.snapshot()
    with pytest.raises(error, match=words):
        world.reset(options=options)
    assert world.snapshot() == before


def test_a_start_outside_the_envelope_and_impossible_optics_are_refused(block_case: Case) -> None:
    with pytest.raises(BadInput, match="envelope"):
        CArmWorld(block_case, settings=SMALL, start=Pose(x_mm=0, y_mm=0, z_mm=500))
    with pytest.raises(BadInput, match="`source_isocentre_mm` = 1100 must be smaller"):
        optics_of(CArmSettings(source_isocentre_mm=1100))


def test_the_settings_decide_the_optics_the_margin_and_the_limits(block_case: Case) -> None:
    wide = CArmSettings(image_size_px=32, envelope_margin_mm=100, max_step_mm=30, detector_mm=400)
    world = CArmWorld(block_case, settings=wide)
    assert world.optics.detector_mm == 400
    assert world.limits.high_world[0] == 216
    assert world.apply("k", move(left_mm=31), 1).status == "refused"
    world.close()


def test_the_chest_shows_the_heart_on_the_images_right(chest: Case) -> None:
    """The patient's left is the image's right, and the liver's dome lies beneath the right lung."""
    world = CArmWorld(chest, settings=CArmSettings(image_size_px=64, max_exposures=5))
    world.reset(options={"start": "Right hemidiaphragm"})
    dome = world.image()[:, 20:40].astype(float)
    assert dome[44:].mean() > dome[:16].mean() + 50
    world.close()
