"""The surgery world beyond the shared contract: recorded and simulated videos, plans, and gymnasium's own checker."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tests.tools.surgery.cholec_files import labels_of, seconds_of, write_cholect45
from tests.tools.surgery.test_dataset import write_pictures

from loopwright.errors import BadInput
from loopwright.schema import Act
from loopwright.tools.surgery.clips import ClipRules, clips_of
from loopwright.tools.surgery.dataset import SurgeryData, build
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.video import RecordedVideo, SimulatedVideo, open_video
from loopwright.tools.surgery.vocabulary import ACTIONS
from loopwright.tools.surgery.world import ENV_ID, SurgicalVideoWorld

NEXT = Act(tool="next_clip")


def recorded(letters: str = "RRRDDDRRRCCC", video: str = "VID01") -> RecordedVideo:
    return RecordedVideo(clips_of(labels_of(seconds_of(letters), video), ClipRules())[0])


def bleeding(world: SurgicalVideoWorld) -> str:
    assert world.truth is not None
    return world.truth.bleeding


def coagulate() -> Act:
    return Act(tool="next_clip", arguments={"instead": "Coagulation"})


def test_it_passes_gymnasiums_own_checks() -> None:
    check_env(gym.make(ENV_ID, video="simulated:3").unwrapped, skip_render_check=True)


def test_a_recorded_video_is_shown_clip_by_clip() -> None:
    world = SurgicalVideoWorld(recorded())
    observation, info = world.reset()
    assert observation["has_image"] == 0 and not observation["image"].any() and info["state"] is None
    shown, rewards, ended = [world.clip.action], [], False
    while not ended:
        _, reward, ended, _, _ = world.step(np.int64(ACTIONS.index("Tissue Retraction")))
        shown.append(world.clip.action)
        rewards.append(reward)
    assert shown == ["Tissue Retraction", "Dissection", "Tissue Retraction", "Coagulation"]
    assert rewards == [0.0, 1.0, 0.0]
    assert [clip.index for clip in world.clips] == [0, 1, 2, 3]
    assert world.plans == dict.fromkeys(range(3), ("Tissue Retraction",))
    _, reward, ended, _, info = world.step(np.int64(0))
    assert (reward, ended) == (0.0, True) and "finished" in info["refused"]


def test_a_simulated_patient_is_the_simulators(procedure: Procedure) -> None:
    world = SurgicalVideoWorld("simulated:7")
    moments = list(simulate(procedure, 7))
    for moment in moments:
        assert (world.clip, world.truth) == (moment.clip, moment.state)
        assert world.is_last == (moment is moments[-1])
        world.apply(f"next-{moment.clip.index}", NEXT, 1)
    refused = world.apply("beyond", NEXT, 1)
    assert refused.status == "refused" and "simulated-7 ends with clip" in refused.reason


def test_what_the_surgeon_does_instead_changes_the_patient(procedure: Procedure) -> None:
    seed, at = next(
        (seed, moment.clip.index)
        for seed in range(100)
        for moment in simulate(procedure, seed)
        if moment.state.bleeding == "oozing" and moment.clip.action != "Coagulation"
    )
    world = SurgicalVideoWorld(f"simulated:{seed}")
    for i in range(at):
        world.apply(f"next-{i}", NEXT, 1)
    assert bleeding(world) == "oozing"
    before = world.snapshot()
    same = Act(tool="next_clip", arguments={"instead": world.clip.action})
    assert world.apply("instead", same, 1).status == "refused"
    assert world.snapshot() == before
    retract = next(name for name in ("Tissue Retraction", "Dissection") if name != world.clip.action)
    assert world.apply("wait", Act(tool="next_clip", arguments={"instead": retract}), 1).status == "done"
    assert world.clip.action == retract and bleeding(world) != "none"
    assert world.restore(before, "back", 1).status == "done"
    assert world.apply("act", coagulate(), 1).status == "done"
    assert world.clip.action == "Coagulation"


def test_a_recorded_video_shows_nothing_else() -> None:
    world = SurgicalVideoWorld(recorded())
    outcome = world.apply("k", coagulate(), 1)
    assert outcome.status == "refused" and "VID01 is recorded" in outcome.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"actions": []}, "at least 1"),
        ({"actions": ["Suturing"]}, "`actions.0`"),
        ({"actions": ["Dissection", "Dissection"]}, "may be recommended once"),
        ({"plan": ["Dissection"]}, "`plan`"),
    ],
)
def test_a_wrong_plan_is_refused(arguments: dict[str, list[str]], said: str) -> None:
    world = SurgicalVideoWorld(recorded())
    outcome = world.apply("k", Act(tool="record_plan", arguments=arguments), 1)
    assert outcome.status == "refused" and outcome.reason.startswith("arguments: ") and said in outcome.reason
    assert world.plans == {}
    assert world.apply("j", Act(tool="sing"), 1).reason.startswith("Unknown act 'sing'")


def test_a_later_plan_for_a_clip_replaces_the_earlier() -> None:
    world = SurgicalVideoWorld(recorded())
    for key, name in (("a", "Dissection"), ("b", "Coagulation")):
        world.apply(key, Act(tool="record_plan", arguments={"actions": [name]}), 1)
    assert world.plans == {0: ("Coagulation",)}


def test_a_device_belongs_to_its_video(tmp_path: Path) -> None:
    device = tmp_path / "device.sqlite"
    world = SurgicalVideoWorld(recorded(), device=device)
    world.apply("k", NEXT, 1)
    assert SurgicalVideoWorld(recorded(), device=device).clip.index == 1
    with pytest.raises(BadInput, match="is at 'VID01', not at 'VID02'"):
        SurgicalVideoWorld(recorded(video="VID02"), device=device)
    other = SurgicalVideoWorld(recorded(video="VID02")).snapshot()
    for i, wrong in enumerate((other, {}, {**world.snapshot(), "clip": 99})):
        outcome = world.restore(wrong, f"back-{i}", 1)
        assert outcome.status == "refused" and "is not of VID01" in outcome.reason


def test_resetting_with_a_seed_draws_a_training_patient() -> None:
    world = SurgicalVideoWorld("simulated:2000000", frame_px=32)
    world.reset(seed=1)
    first = world.clip.video
    assert world.reset()[1]["video"] == first, "without a seed the same patient again"
    assert world.reset(seed=1)[1]["video"] == first
    assert world.reset(seed=2)[1]["video"] != first
    assert 0 <= int(first.removeprefix("simulated-")) < 1_000_000
    assert world.reset(options={"video": recorded()})[1]["video"] == "VID01"


def test_a_built_folder_is_opened_with_its_pictures(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path / "45", {"VID79": seconds_of("RRRDDDRRR")})
    write_pictures(folder / "data", "VID79", 9)
    build(tmp_path / "out", folder, SurgeryData(data_set="cholect45", split="all"))
    world = SurgicalVideoWorld(f"{tmp_path / 'out'}:VID79", frame_px=32, render_mode="rgb_array")
    image = world.image()
    assert image is not None and image.shape == (9, 16, 3) and image[0, 0].tolist() == [160, 2, 80]
    observation, _ = world.reset()
    assert observation["has_image"] == 1 and observation["image"].shape == (32, 32, 3)
    assert observation["image"][16, 16].tolist() == [160, 2, 80] and not observation["image"][0].any(), "padded"
    rendered = world.render()
    assert rendered is not None and np.array_equal(rendered, observation["image"])
    (folder / "data" / "VID79" / "000002.png").unlink()
    with pytest.raises(BadInput, match=r"000002.png`, which clip 0 of VID79 shows, cannot be read"):
        world.image()
    with pytest.raises(BadInput, match=r"has no clips of VID02. It holds VID79"):
        open_video(f"{tmp_path / 'out'}:VID02")


@pytest.mark.parametrize("spec", ["simulated", "simulated:-1", "simulated:x", "nowhere:VID01", "nowhere:who"])
def test_what_is_no_video_is_refused(spec: str) -> None:
    with pytest.raises(BadInput):
        open_video(spec)


def test_clips_of_one_video_make_a_recorded_video() -> None:
    with pytest.raises(BadInput, match="0 clips of 0 videos"):
        RecordedVideo([])
    assert isinstance(open_video("simulated:1"), SimulatedVideo)
