"""What a planner of recorded drives has to beat: kinematics, and what the ego's own past says.

A predictor is given scenes and never a future. A learnt one is fitted to samples of other logs than those it is tested
on. Another one is one more entry of `BASELINES`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.predictor import ShortTermPredictor
from loopwright.tools.drive.scene import FUTURE_STEPS, HISTORY_STEPS, STEP_S, Sample, Scene

Floats = NDArray[np.float64]
Predictor = Callable[[Sequence[Scene]], Floats]
"""Scenes (n) -> (n, 6, 2) waypoints."""
Fit = Callable[[Sequence[Sample]], Predictor]

AFTER_S = STEP_S * np.arange(1, FUTURE_STEPS + 1)
SMOOTH_MPS3 = 2.0
"""Jerk of a comfortable drive: a history with more of it says less about the acceleration."""
_PRIOR = 0.1
"""How much, beside the data, the regression is drawn to constant acceleration; its rows differ little from .1 to 1."""
_ROUNDS = 30
_LEAST_M = 0.05


def constant_velocity(_: Sequence[Sample]) -> Predictor:
    """On at the velocity of the last step."""
    return lambda scenes: _velocity(_past(scenes))[:, None] * AFTER_S[:, None]


def constant_acceleration(_: Sequence[Sample]) -> Predictor:
    """On at the velocity of the last step, which changes as it did over the last two."""

    def predict(scenes: Sequence[Scene]) -> Floats:
        past = _past(scenes)
        return _velocity(past)[:, None] * AFTER_S[:, None] + _acceleration(past)[:, None] * _HALF_SQUARES[:, None]

    return predict


def short_term(_: Sequence[Sample]) -> Predictor:
    """The paper's short-term predictor (eq. 3-5) with its usual settings, kept up for 3 s; it reads the command."""
    predictor = ShortTermPredictor()
    return lambda scenes: np.array([predictor.waypoints(scene) for scene in scenes]).reshape(-1, FUTURE_STEPS, 2)


def ego_history(_: Sequence[Sample]) -> Predictor:
    """The parabola through the present that fits the past 2 s best, carried on."""
    before_s = STEP_S * np.arange(-HISTORY_STEPS, 0)
    solve = np.linalg.pinv(np.column_stack([before_s, before_s**2]))
    carry = np.column_stack([AFTER_S, AFTER_S**2])
    return lambda scenes: np.einsum("hk,kt,ntd->nhd", carry, solve, _past(scenes)[:, :-1])


def mean_by_command(training: Sequence[Sample]) -> Predictor:
    """The mean training trajectory of each command, that of all for a new one: all that is left without ego status."""
    futures = np.array([_future(sample) for sample in training])
    commands = np.array([sample.scene.command for sample in training])
    means = {command: _mean_known(futures[commands == command]) for command in set(commands.tolist())}
    overall = _mean_known(futures)
    return lambda scenes: np.array([means.get(scene.command, overall) for scene in scenes])


def ego_history_regression(training: Sequence[Sample]) -> Predictor:
    """Constant velocity, and at each horizon a learnt share of the last acceleration, as far as the history is smooth.

    One coefficient a horizon, for both axes: least mean error, which is what L2 averages, and drawn to constant
    acceleration. Without ego status it stands still.
    """
    past = _past([sample.scene for sample in training])
    futures = np.array([_future(sample) for sample in training])
    rest = futures - _velocity(past)[:, None] * AFTER_S[:, None]
    feature = _smooth_acceleration(past)
    learnt = np.array([_least_error(feature, rest[:, h], _HALF_SQUARES[h]) for h in range(FUTURE_STEPS)])

    def predict(scenes: Sequence[Scene]) -> Floats:
        past = _past(scenes)
        on: Floats = _velocity(past)[:, None] * AFTER_S[:, None] + _smooth_acceleration(past)[:, None] * learnt[:, None]
        return on

    return predict


REGRESSION = "ego-history regression"
REFERENCE = "constant velocity"
BASELINES: Mapping[str, Fit] = {
    REFERENCE: constant_velocity,
    "constant acceleration": constant_acceleration,
    "short-term predictor": short_term,
    "ego history, parabola": ego_history,
    REGRESSION: ego_history_regression,
    "mean by command": mean_by_command,
}
LEARNT = (REGRESSION, "mean by command")


def without_status(scene: Scene) -> Scene:
    """The scene as one sees it who is not told the ego's own speed and past."""
    hidden = {"speed_mps": 0.0, "acceleration_mps2": 0.0, "history": ((0.0, 0.0),) * (HISTORY_STEPS + 1)}
    return scene.model_copy(update=hidden)


_HALF_SQUARES = AFTER_S**2 / 2


def _past(scenes: Sequence[Scene]) -> Floats:
    return np.array([scene.history for scene in scenes], dtype=np.float64).reshape(-1, HISTORY_STEPS + 1, 2)


def _future(sample: Sample) -> Floats:
    return np.array([point or (np.nan, np.nan) for point in sample.future], dtype=np.float64)


def _mean_known(futures: Floats) -> Floats:
    """(6, 2) means of (n, 6, 2), NaN left out; 0 where nothing is known."""
    n = np.isfinite(futures).all(axis=2).sum(axis=0)
    found: Floats = np.nansum(futures, axis=0) / np.maximum(1, n)[:, None]
    return found


def _velocity(past: Floats) -> Floats:
    found: Floats = (past[:, -1] - past[:, -2]) / STEP_S
    return found


def _acceleration(past: Floats) -> Floats:
    found: Floats = np.diff(past, 2, axis=1)[:, -1] / STEP_S**2
    return found


def _smooth_acceleration(past: Floats) -> Floats:
    """(n, 2) the last acceleration, less the more it changed over the past."""
    jerk = np.linalg.norm(np.diff(past, 3, axis=1), axis=2).max(axis=1) / STEP_S**3
    found: Floats = _acceleration(past) / (1 + (jerk / SMOOTH_MPS3) ** 2)[:, None]
    return found


def _least_error(feature: Floats, rest: Floats, prior: float) -> float:
    """The b that makes the mean length of `rest` - b * `feature`, both (n, 2), least: reweighted least squares."""
    known = np.isfinite(rest).all(axis=1)
    feature, rest, b = feature[known], rest[known], prior
    drawn = _PRIOR * len(rest)
    for _ in range(_ROUNDS):
        weight = 1 / np.maximum(np.linalg.norm(rest - b * feature, axis=1), _LEAST_M)
        squares = (weight[:, None] * feature * feature).sum() + drawn
        b = float(((weight[:, None] * feature * rest).sum() + drawn * prior) / squares) if squares else prior
    return b
