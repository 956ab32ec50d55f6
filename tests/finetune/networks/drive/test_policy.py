"""DQN and PPO as drivers: what they see, what their actions mean, and a training of a few steps."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tests.tools.drive.traffic import car, road

from loopwright.errors import BadInput
from loopwright.finetune.networks.drive.policy import ALGORITHMS, PolicyEnv, load, observed, taken, train
from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.planner import ACCELERATIONS_MPS2
from loopwright.tools.drive.simulator import Simulation


def test_the_nearest_are_seen_first_relative_to_the_ego() -> None:
    seen = observed(road(car(50.0, vx_mps=10.0), car(-10.0, 4.0, vx_mps=30.0), speed_mps=20.0), 28.0)
    assert seen[:6].tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0, -1.0, 1.4])
    assert seen[6:14].tolist() == pytest.approx([-0.2, 0.08, 0.5, 0.0, 1.0, 0.0, -0.5, 0.0])
    assert not seen[14:].any()


def test_an_action_names_a_side_and_an_acceleration() -> None:
    per_side, scene = len(ACCELERATIONS_MPS2), road(speed_mps=20.0)
    assert taken(scene, ACCELERATIONS_MPS2.index(0.0), 28.0)[-1] == pytest.approx((60.0, 0.0))
    assert taken(scene, per_side + ACCELERATIONS_MPS2.index(0.0), 28.0)[-1][1] == pytest.approx(4.0, abs=0.2)
    alone = road(speed_mps=20.0, lanes_m=(0.0,))
    assert taken(alone, per_side, 28.0)[-1][1] == 0.0
    assert all(check_envelope(taken(scene, action, 28.0), 20.0).ok for action in range(3 * per_side))


def test_its_drives_follow_gymnasiums_rules() -> None:
    check_env(PolicyEnv("roundabout"), skip_render_check=True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_policy_is_trained_kept_and_drives(algorithm: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    path = train(algorithm, "roundabout", tmp_path, 64)  # type: ignore[arg-type]  # from its own list
    policy = load(path)
    assert (policy.algorithm, policy.scenario) == (algorithm, "roundabout")
    assert np.isfinite(policy.choose(Simulation("roundabout", 1).scene())).all()


def test_what_is_no_policy_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ALGORITHM-SCENARIO\.zip"):
        load(tmp_path / "dqn-motorway.zip")
