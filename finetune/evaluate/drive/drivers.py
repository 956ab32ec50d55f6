"""Who drives in the closed loop: the planner by what it foresees, and what it is compared with.

A driver is asked every half second; one that needs to remember is made anew for each drive.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.agents.drive.prompts import Asked
from loopwright.errors import BadInput
from loopwright.finetune.data.drive.moments import HORIZONS_S
from loopwright.finetune.evaluate.drive.imagination import imagined
from loopwright.finetune.networks.drive.policy import Policy
from loopwright.models.networks.drive import ImageTokenizer
from loopwright.tools.drive.expected import expected_pose, moved
from loopwright.tools.drive.futures import Foresee, constant_velocity, keeping_pace, of_moments, standing
from loopwright.tools.drive.imagination import Frame
from loopwright.tools.drive.planner import Style, choose, propose
from loopwright.tools.drive.predictor import ShortTermPredictor
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Scene, Waypoints
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.views import top_view

ORACLE_WITHIN_M = 120.0
"""Who is further away now does not come to matter within 3 s."""
Driver = Callable[[Simulation], Waypoints | None]
"""What is driven next; None: as the simulator's own vehicles drive, by IDM and MOBIL."""
MakeDriver = Callable[[int], Driver]
"""A driver for the drive with this seed."""
Foresight = Callable[[Simulation, Scene], Foresee]
"""What is known of the futures of a moment."""


def planned(foresight: Foresight) -> MakeDriver:
    """The planner, by what it foresees."""

    def drive(simulation: Simulation) -> Waypoints:
        scene = simulation.scene()
        style = Style(cruise_mps=simulation.cruise_mps)
        return choose(scene, foresight(simulation, scene), style).candidate.waypoints

    return lambda seed: drive


def oracle(simulation: Simulation, scene: Scene) -> Foresee:
    """What really comes of a trajectory, other drivers' reactions to it included."""
    return lambda waypoints: of_moments(simulation.futures(waypoints, ORACLE_WITHIN_M))


IMAGINED, TOKENISED = "imagined", "constant-velocity, tokenised"
OF_FRAMES = frozenset({IMAGINED, TOKENISED})
Codes = Callable[[Sequence[Asked]], NDArray[np.int64]]
"""(N, T) visual tokens of the frames to come, from what is asked of a driver."""


def in_frames(tokenizer: ImageTokenizer, codes_of: Codes) -> Foresight:
    """What is read from frames that were written as tokens, at the horizons that a model is trained on.

    They are seen from where the short-term predictor expects the ego, and serve every candidate.
    """
    predictor = ShortTermPredictor()

    def foresight(simulation: Simulation, scene: Scene) -> Foresee:
        poses = [expected_pose(scene, horizon_s, predictor) for horizon_s in HORIZONS_S]
        at = list(zip(HORIZONS_S, poses, strict=True))
        drawn = [top_view(moved(scene, pose, horizon_s), tokenizer.size_px) for horizon_s, pose in at]
        asked = [
            Asked(horizon_s=horizon_s, expected=(pose.x_m, pose.y_m), moved=tuple(codes))
            for (horizon_s, pose), codes in zip(at, tokenizer.encode(np.stack(drawn)).tolist(), strict=True)
        ]
        pictures = tokenizer.decode(codes_of(asked))
        futures = [
            Frame.of(picture, pose, horizon_s).future() for picture, (horizon_s, pose) in zip(pictures, at, strict=True)
        ]
        return lambda waypoints: futures

    return foresight


def of_frames(tokenizer: ImageTokenizer, model: Any) -> dict[str, MakeDriver]:
    """The planner by what a chat model imagines, and by constant velocities as far as tokens can show them."""
    return {
        IMAGINED: planned(in_frames(tokenizer, lambda asked: imagined(model, asked, tokenizer)[0])),
        TOKENISED: planned(in_frames(tokenizer, lambda asked: np.array([each.moved for each in asked]))),
    }


FORESIGHTS: Mapping[str, Foresight] = {
    "oracle": oracle,
    "constant-velocity": lambda simulation, scene: partial(constant_velocity, scene),
    "present": lambda simulation, scene: partial(keeping_pace, scene),
    "present, standing": lambda simulation, scene: partial(standing, scene),
}
"""The same planner with perfect foresight, with constant velocities, and with the present frame alone, in two readings:
what is around the ego stays around it, or stays where it is."""


def idm(seed: int) -> Driver:
    """As the simulator's own vehicles."""
    return lambda simulation: None


def constant(seed: int) -> Driver:
    """Straight on at the present speed."""

    def drive(simulation: Simulation) -> Waypoints:
        speed = simulation.scene().speed_mps
        return tuple((round(speed * STEP_S * (k + 1), 3), 0.0) for k in range(FUTURE_STEPS))

    return drive


def at_random(seed: int) -> Driver:
    """Any of the planner's candidates."""
    draws = np.random.default_rng([seed, 1])

    def drive(simulation: Simulation) -> Waypoints:
        found = propose(simulation.scene(), Style(cruise_mps=simulation.cruise_mps))
        return found[draws.integers(len(found))].waypoints

    return drive


HEADROOM: Mapping[str, MakeDriver] = {name: planned(foresight) for name, foresight in FORESIGHTS.items()}
OTHERS: Mapping[str, MakeDriver] = {"idm": idm, "random": at_random, "constant": constant}


def of_policies(policies: Sequence[Policy]) -> dict[str, MakeDriver]:
    """A driver for each algorithm: in every scenario the policy that was trained there."""
    found: dict[str, dict[str, Policy]] = {}
    for policy in policies:
        found.setdefault(policy.algorithm, {})[policy.scenario] = policy
    return {algorithm: partial(_by_policy, by_scenario) for algorithm, by_scenario in found.items()}


def _by_policy(by_scenario: Mapping[str, Policy], seed: int) -> Driver:
    def drive(simulation: Simulation) -> Waypoints:
        if simulation.scenario not in by_scenario:
            raise BadInput(f"No policy was trained for {simulation.scenario!r}; there are {', '.join(by_scenario)}.")
        return by_scenario[simulation.scenario].choose(simulation.scene())

    return drive
