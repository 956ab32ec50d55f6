"""The road's world beyond the shared contract: replayed drives, gymnasium's checker and vectors, and bad input."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv
from tests.tools.drive.driving import along_route

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Act
from loopwright.tools.drive import world as module
from loopwright.tools.drive.scenarios import SCENARIOS
from loopwright.tools.drive.tools import drive as drive_tool
from loopwright.tools.drive.world import ENV_ID, REWARD_CRASHED, DriveWorld


def act(waypoints: Any) -> Act:
    return Act(tool="drive", arguments={"waypoints": [list(point) for point in waypoints]})


def onward(world: DriveWorld, speed_mps: float = 7.0) -> Act:
    return act(along_route(world.scene, speed_mps))


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function after which nothing of any drive is left in the process."""
    yield module._KEPT.clear


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gymnasium_accepts_it(scenario: str) -> None:
    world = gym.make(ENV_ID, scenario=scenario, render_mode="rgb_array").unwrapped
    check_env(world, skip_render_check=True)
    image = world.render()
    assert isinstance(image, np.ndarray) and image.shape == (128, 128, 3)


def test_a_drive_is_replayed_to_the_same_bit(tmp_path: Path, forgetful: Any) -> None:
    world = DriveWorld("intersection", 7, device=tmp_path / "d.sqlite")
    for step in range(8):
        assert world.apply(f"{step}", onward(world), 1).status == "done"
    before = world.scene.model_dump_json(), world.totals, world.snapshot()
    forgetful()
    again = DriveWorld("intersection", 7, device=tmp_path / "d.sqlite")
    assert (again.scene.model_dump_json(), again.totals, again.snapshot()) == before
    followed = onward(world)
    outcome = world.apply("8", followed, 1)
    forgetful()
    fork = DriveWorld("intersection", 7, device=tmp_path / "fork.sqlite")
    fork.restore(before[2], "back", 1)
    assert fork.apply("8", followed, 1).result == outcome.result
    assert fork.scene == world.scene
    world.restore(before[2], "rewound", 1)
    assert world.scene.model_dump_json() == before[0]


def test_what_is_tried_on_its_simulation_stays_there() -> None:
    world = DriveWorld("merge", 1)
    before = world.scene
    world.simulation.follow(None)
    world.simulation.futures(along_route(before, 25.0))
    assert world.scene == before


def test_an_episode_earns_its_progress(tmp_path: Path) -> None:
    world = DriveWorld("intersection", 3)
    _, info = world.reset(options={"seed": 3})
    assert (info["scenario"], info["seed"], info["progress_m"]) == ("intersection", 3, 0.0)
    rewards = []
    while True:
        observation, reward, terminated, truncated, info = world.step(np.array(along_route(world.scene, 9.0)))
        rewards.append(reward)
        if terminated or truncated:
            break
    assert info["ended"] == "arrived" and terminated and not truncated
    assert sum(rewards) == pytest.approx(info["progress_m"] / 4.5 - 0.2 * info["uncomfortable_steps"])
    assert observation["history"].shape == (5, 2) and world.observation_space.contains(observation)
    _, reward, terminated, _, info = world.step(np.array(along_route(world.scene, 9.0)))
    assert (reward, terminated) == (REWARD_CRASHED, True) and "ended: the drive is over: arrived" in info["refused"]


def test_a_crash_costs() -> None:
    world = DriveWorld("intersection", 0)
    world.reset(options={"seed": 0})
    while True:
        _, reward, terminated, _, info = world.step(np.array([[5.0 * k, 0.0] for k in range(1, 7)]))
        if terminated:
            break
    assert (info["ended"], reward) == ("crashed", REWARD_CRASHED)


def test_resets_draw_training_drives() -> None:
    world = DriveWorld("merge", 2_000_000)
    first, _ = world.reset(seed=4)
    seed = world.seed
    assert 0 <= seed < 1_000_000
    world.reset()
    assert world.seed != seed, "without a seed the draw goes on"
    again, _ = world.reset(seed=4)
    assert world.seed == seed and (again["top"] == first["top"]).all()
    world.reset(options={"scenario": "highway", "seed": 11})
    assert (world.scenario, world.seed) == ("highway", 11)


def test_many_at_once_in_processes_drive_as_one_does() -> None:
    scenarios = ("merge", "intersection")
    alone = [DriveWorld(scenario, views=("top",)) for scenario in scenarios]
    vector: gym.vector.VectorEnv[Any, Any, Any] = AsyncVectorEnv(
        [lambda scenario=scenario: DriveWorld(scenario, views=("top",)) for scenario in scenarios]  # type: ignore[misc]  # a default binds
    )
    try:
        together, _ = vector.reset(seed=[3, 4])  # type: ignore[arg-type]  # its base class is typed for one
        for world, seed in zip(alone, (3, 4), strict=True):
            world.reset(seed=seed)
        for _ in range(3):
            actions = np.array([along_route(world.scene, 8.0) for world in alone], dtype=np.float32)
            together, rewards, *_ = vector.step(actions)
            stepped = [world.step(action) for world, action in zip(alone, actions, strict=True)]
            assert rewards.tolist() == [reward for _, reward, *_ in stepped]
            assert (together["top"] == np.stack([observation["top"] for observation, *_ in stepped])).all()
    finally:
        vector.close()


@pytest.mark.parametrize(
    ("waypoints", "reason"),
    [
        ([[math.nan, 0.0]] * 6, "finite number"),
        ([[math.inf, 0.0]] * 6, "finite number"),
        ([[1.0, 0.0]] * 5, "at least 6 items"),
        ([[1.0, 0.0]] * 7, "at most 6 items"),
        ([[1.0, 0.0, 0.0]] * 6, "waypoints.0"),
        ("straight on", "valid tuple"),
        ([["far", 0.0]] * 6, "valid number"),
        ([[-2.0 * k, 0.0] for k in range(1, 7)], "reversing: waypoint 1"),
        ([[30.0 * k, 0.0] for k in range(1, 7)], "expected up to 40"),
    ],
)
def test_what_cannot_be_driven_is_refused_and_nothing_moves(waypoints: Any, reason: str) -> None:
    world = DriveWorld("intersection", 7)
    before = world.snapshot()
    act = Act.model_construct(tool="drive", arguments={"waypoints": waypoints})
    outcome = world.apply("k", act, 1)
    assert outcome.status == "refused" and reason in outcome.reason
    assert world.snapshot() == before
    verdict = world.check(act)
    assert not verdict.ok and verdict.rule in outcome.reason


def test_a_step_with_nan_ends_the_episode_where_it_stood() -> None:
    world = DriveWorld("intersection", 7)
    before = world.scene
    _, reward, terminated, _, info = world.step(np.full((6, 2), np.nan, dtype=np.float32))
    assert (reward, terminated) == (REWARD_CRASHED, True) and "finite number" in info["refused"]
    assert world.scene == before


def test_other_acts_are_unknown() -> None:
    assert "Unknown act 'fly'" in DriveWorld("merge", 7).apply("k", Act(tool="fly"), 1).reason
    with pytest.raises(UnknownName, match="Unknown act 'fly'"):
        DriveWorld("merge", 7).check(Act(tool="fly"))


def test_the_guard_knows_that_a_drive_is_over() -> None:
    world = DriveWorld("intersection", 0)
    while not world.totals.ended:
        world.perform(act([[5.0 * k, 0.0] for k in range(1, 7)]))
    verdict = world.check(onward(world))
    assert (verdict.ok, verdict.rule, verdict.reason) == (False, "ended", "the drive is over: crashed.")


def test_a_device_is_at_one_drive_and_of_one_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DriveWorld("merge", 7, device=tmp_path / "d.sqlite")
    with pytest.raises(BadInput, match="is at merge 7, not at merge 8"):
        DriveWorld("merge", 8, device=tmp_path / "d.sqlite")
    with pytest.raises(BadInput, match="is at merge 7, not at highway 7"):
        DriveWorld("highway", 7, device=tmp_path / "d.sqlite")
    monkeypatch.setattr(module, "_engine", lambda: "highway-env 9.9")
    with pytest.raises(BadInput, match=r"simulated by highway-env 1\.\S+, this is highway-env 9\.9"):
        DriveWorld("merge", 7, device=tmp_path / "d.sqlite")


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"scenario": "highway"}, {"ended": "arrived"}, {"driven": [[[1.0, 0.0]]]}, {"driven": "far"}],
)
def test_snapshots_of_another_drive_are_refused(change: dict[str, Any]) -> None:
    world = DriveWorld("intersection", 7)
    world.apply("a", onward(world), 1)
    before = world.snapshot()
    outcome = world.restore({**before, **change}, "back", 1)
    assert outcome.status == "refused" and "is not of intersection 7" in outcome.reason
    assert world.snapshot() == before


def test_what_is_no_world_is_refused() -> None:
    with pytest.raises(UnknownName, match="Unknown scenario 'motorway'"):
        DriveWorld("motorway")
    with pytest.raises(UnknownName, match="Unknown view 'TOP'"):
        DriveWorld(views=("TOP",))  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(BadInput, match="`seed` = -3"):
        DriveWorld(seed=-3)


def test_an_act_reads_as_a_sentence() -> None:
    assert drive_tool.in_words({"waypoints": [[4.0 * k, 0.5 * k] for k in range(1, 7)]}) == (
        "drive 24 m ahead and 3.0 m to the left in 3 s, of which half a second is driven now"
    )
