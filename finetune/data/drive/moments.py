"""Moments of simulated drives and what came of them, seen from any vehicle: what imagination is trained and judged on.

Every vehicle is a camera: a few of each drive are followed from begin to end. Test drives are for evaluations alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from loopwright.tools.drive.expected import expected_pose, moved
from loopwright.tools.drive.scenarios import SCENARIOS, ScenarioName
from loopwright.tools.drive.scene import FUTURE_STEPS, HISTORY_STEPS, STEP_S, Point, Pose, Scene
from loopwright.tools.drive.simulator import Simulation

HORIZONS_S = (0.5, 1.5, 3.0)
"""Of imagined frames."""
_CLIP_RAD = 1.5
"""An expected direction farther off than this is an artefact of standing still."""


class Track(NamedTuple):
    """One vehicle's drive: what it saw each half second, and where it was on the ground."""

    scenes: tuple[Scene, ...]
    poses: tuple[Pose, ...]

    def pose_after(self, now: int, steps: int) -> Pose:
        """Where it is `steps` later, in its frame of step `now`."""
        here, then = self.poses[now], self.poses[now + steps]
        return Pose(*here.to_inner(then.x_m, then.y_m), then.yaw_rad - here.yaw_rad)


class Future(NamedTuple):
    """A moment, and one to come seen from where the ego is expected (`pose`, in the frame of now)."""

    now: Scene
    horizon_s: float
    pose: Pose
    moved: Scene
    """The road users at constant velocity."""
    then: Scene
    """What came."""
    driven: tuple[Point, ...]
    """Where the vehicle really was at 0.5, 1.0, ... 3.0 s; fewer points where its drive ended before."""


def tracks(scenario: ScenarioName, seed: int, cameras: int, steps: int = 24) -> tuple[Track, ...]:
    """A simulated drive as its ego and `cameras` - 1 other vehicles see it, all driving by IDM and MOBIL.

    Of a vehicle that leaves the road map only what came before counts.
    """
    simulation = Simulation(scenario, seed)
    others = np.random.default_rng([seed, SCENARIOS.index(scenario)]).permutation(simulation.vehicles[1:]).tolist()
    followed = [simulation.vehicles[0], *others[: cameras - 1]]
    seen: dict[str, list[tuple[Scene, Pose]]] = {name: [] for name in followed}
    for step in range(steps + HISTORY_STEPS):
        if simulation.ended:
            break
        if step >= HISTORY_STEPS:  # before, histories are partly made up
            for name in sorted(set(followed) & set(simulation.vehicles)):
                scene = simulation.scene(name)
                if scene.lanes and len(seen[name]) == step - HISTORY_STEPS:
                    seen[name].append((scene, simulation.where(name)))
        simulation.follow(None)
    return tuple(Track(*zip(*kept, strict=True)) for kept in seen.values() if kept)


def futures(
    track: Track, horizons_s: Sequence[float], rng: np.random.Generator, planned: float = 0.5
) -> Iterator[Future]:
    """Every moment of `track` with one future, its horizon drawn from `horizons_s`.

    Args:
        track: a vehicle's drive.
        horizons_s: multiples of 0.5 s.
        rng: draws the horizon, and whose pose the future is seen from.
        planned: how often that is where the vehicle really went, as a planner would know; else the predictor's.
    """
    for now, scene in enumerate(track.scenes):
        horizon_s = float(rng.choice(list(horizons_s)))
        steps = round(horizon_s / STEP_S)
        is_planned = rng.random() < planned
        if now + steps < len(track.scenes):
            truly = track.pose_after(now, steps)
            pose = truly if is_planned else expected_pose(scene, horizon_s)
            if abs(pose.yaw_rad) > _CLIP_RAD:
                pose = pose._replace(yaw_rad=0.0)
            seen_from = Pose(*truly.to_inner(pose.x_m, pose.y_m), pose.yaw_rad - truly.yaw_rad)
            then = track.scenes[now + steps].seen_from(seen_from)
            last = min(FUTURE_STEPS, len(track.scenes) - 1 - now)
            driven = tuple(_rounded(track.pose_after(now, k)) for k in range(1, last + 1))
            yield Future(scene, horizon_s, pose, moved(scene, pose, horizon_s), then, driven)


def _rounded(pose: Pose) -> Point:
    return round(pose.x_m, 2), round(pose.y_m, 2)


def drives(seeds: Iterable[int]) -> Iterator[tuple[ScenarioName, int]]:
    """The drives of `seeds`, the scenarios in turn."""
    for k, seed in enumerate(seeds):
        yield SCENARIOS[k % len(SCENARIOS)], seed
