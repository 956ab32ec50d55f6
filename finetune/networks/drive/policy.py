"""DQN and PPO (stable-baselines3) that choose among the planner's candidates: the baselines of the closed loop.

A policy sees the ego and its nearest neighbours as numbers, and chooses where to (keep, left, right) and at which
acceleration. Its reward is that of `DriveWorld`. Needs the extra `dev`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from loopwright.errors import BadInput, MissingDependency
from loopwright.tools.drive.paths import Side, paths_of
from loopwright.tools.drive.planner import ACCELERATIONS_MPS2, Style, propose
from loopwright.tools.drive.scenarios import SCENARIO, SCENARIOS, ScenarioName, seeds_of
from loopwright.tools.drive.scene import STEP_S, Scene, Waypoints
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.world import REWARD_CRASHED, REWARD_UNCOMFORTABLE

Algorithm = Literal["dqn", "ppo"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
SIDES: tuple[Side, ...] = get_args(Side)
NEIGHBOURS = 8
STEPS = 20_000
_SCALE_M, _SCALE_MPS = 50.0, 20.0


class Policy(NamedTuple):
    """A trained policy, what it was trained by and for."""

    algorithm: str
    scenario: ScenarioName
    choose: Callable[[Scene], Waypoints]


def observed(scene: Scene, cruise_mps: float) -> NDArray[np.float32]:
    """(6 + 4 * NEIGHBOURS,) the ego, its lane and command; where each neighbour is, and its relative velocity."""
    paths = paths_of(scene)
    keep = paths.by_side["keep"]
    ego = [
        scene.speed_mps / _SCALE_MPS, scene.acceleration_mps2 / 5.0, keep.aside_m / keep.width_m, keep.yaw_rad,
        float(SIDES.index(paths.route)) - 1.0, cruise_mps / _SCALE_MPS,
    ]  # fmt: skip
    found = np.zeros((NEIGHBOURS, 4))
    near = sorted(scene.agents, key=lambda agent: agent.box.x_m**2 + agent.box.y_m**2)[:NEIGHBOURS]
    for row, agent in zip(found, near, strict=False):
        row[:2] = agent.box.x_m / _SCALE_M, agent.box.y_m / _SCALE_M
        row[2:] = (agent.vx_mps - scene.speed_mps) / _SCALE_MPS, agent.vy_mps / _SCALE_MPS
    seen: NDArray[np.float32] = np.clip(np.concatenate([ego, found.ravel()]), -5.0, 5.0).astype(np.float32)
    return seen


def taken(scene: Scene, action: int, cruise_mps: float) -> Waypoints:
    """The candidate that an action names; where there is no lane on its side, along the present one."""
    side, acceleration = SIDES[action // len(ACCELERATIONS_MPS2)], ACCELERATIONS_MPS2[action % len(ACCELERATIONS_MPS2)]
    candidates = propose(scene, Style(cruise_mps=cruise_mps))
    wanted = min(
        candidates, key=lambda one: (one.side != side, one.side != "keep", abs(one.acceleration_mps2 - acceleration))
    )
    return wanted.waypoints


class PolicyEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Drives of the training part, one after the other."""

    def __init__(self, scenario: ScenarioName) -> None:
        self._scenario: ScenarioName = scenario
        self.observation_space = spaces.Box(-5.0, 5.0, (6 + 4 * NEIGHBOURS,), np.float32)
        self.action_space = spaces.Discrete(len(SIDES) * len(ACCELERATIONS_MPS2))
        self._drive = Simulation(scenario, 0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The next drive, drawn by the environment's generator."""
        super().reset(seed=seed)
        part = seeds_of("train", 100_000)
        self._drive = Simulation(self._scenario, int(part[self.np_random.integers(len(part))]))
        return observed(self._drive.scene(), self._drive.cruise_mps), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Half a second."""
        before = self._drive.totals
        self._drive.follow(taken(self._drive.scene(), int(action), self._drive.cruise_mps))
        after = self._drive.totals
        if after.collisions or after.off_road:
            reward = REWARD_CRASHED
        else:
            reward = (after.progress_m - before.progress_m) / (SCENARIO[self._scenario].cruise_mps * STEP_S)
            reward += REWARD_UNCOMFORTABLE * (after.uncomfortable_steps - before.uncomfortable_steps)
        ended = self._drive.ended
        seen = observed(self._drive.scene(), self._drive.cruise_mps)
        return seen, reward, ended not in ("", "time"), ended == "time", {}


def train(algorithm: Algorithm, scenario: ScenarioName, out: Path, steps: int = STEPS, *, seed: int = 0) -> Path:
    """Train a policy for so many steps of 0.5 s; returns the file, `ALGORITHM-SCENARIO.zip` in `out`.

    Raises:
        MissingDependency: stable-baselines3 is not installed.
    """
    make = _algorithms()[algorithm]
    settings: dict[str, Any] = {"seed": seed, "device": "cpu", "verbose": 0, "gamma": 0.95}
    if algorithm == "dqn":
        settings |= {"learning_starts": min(500, steps // 4), "train_freq": 4, "target_update_interval": 500}
        settings |= {"buffer_size": steps, "exploration_fraction": 0.5, "learning_rate": 5e-4}
    else:
        settings |= {"n_steps": min(512, max(64, steps // 8)), "batch_size": 64, "learning_rate": 5e-4}
    model = make("MlpPolicy", PolicyEnv(scenario), **settings)
    model.learn(steps)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{algorithm}-{scenario}.zip"
    model.save(path)
    return path


def load(path: Path) -> Policy:
    """The policy that `train` wrote.

    Raises:
        BadInput: `path` is no such file.
        MissingDependency: stable-baselines3 is not installed.
    """
    algorithm, _, scenario = path.stem.partition("-")
    if algorithm not in ALGORITHMS or scenario not in SCENARIOS or not path.is_file():
        raise BadInput(f"`{path}` is no policy; expected a file `ALGORITHM-SCENARIO.zip` of `train drive-policy`.")
    model = _algorithms()[algorithm].load(path, device="cpu")
    cruise = SCENARIO[scenario].cruise_mps

    def choose(scene: Scene) -> Waypoints:
        action, _ = model.predict(observed(scene, cruise), deterministic=True)
        return taken(scene, int(action), cruise)

    return Policy(algorithm, scenario, choose)


def _algorithms() -> dict[str, Any]:
    try:
        from stable_baselines3 import DQN, PPO
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "DQN and PPO need stable-baselines3, which is not installed: `pip install 'stable-baselines3'`."
        ) from error
    return {"dqn": DQN, "ppo": PPO}
