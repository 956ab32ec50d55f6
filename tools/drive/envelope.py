"""The kinematic envelope of a trajectory: what no vehicle of the drive world is asked to do. Rejects, never clamps."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import atan2, hypot, pi

from loopwright.schema import Verdict
from loopwright.tools.drive.scene import STEP_S

MAX_SPEED_MPS = 40.0
MAX_ACCELERATION_MPS2 = 6.0
MAX_BRAKING_MPS2 = 9.0
MAX_LATERAL_MPS2 = 9.0
MAX_CURVATURE_PER_M = 0.2
_SLACK_M = 0.15
"""Rounding: waypoints may come in tenths of a metre."""
_STANDING_M = 0.3
"""Below this between two waypoints, their direction is noise."""


def check_envelope(waypoints: Sequence[tuple[float, float]], speed_mps: float) -> Verdict:
    """Whether a vehicle that drives at `speed_mps` can drive through `waypoints`, given in its own frame.

    The rules: `reversing`, `speed`, `acceleration`, `braking`, `steering` (curvature) and `lateral` (acceleration),
    each between neighbouring waypoints.
    """
    for rule, reason in _broken(waypoints, speed_mps):
        return Verdict(ok=False, rule=rule, reason=reason)
    return Verdict(ok=True)


def _broken(waypoints: Sequence[tuple[float, float]], speed_mps: float) -> Iterator[tuple[str, str]]:
    slack_mps2 = 2 * _SLACK_M / STEP_S**2
    speed, yaw, since_s = speed_mps, 0.0, STEP_S / 2
    for number, ((ax, ay), (bx, by)) in enumerate(pairwise([(0.0, 0.0), *waypoints]), 1):
        where = f"waypoint {number} ({bx:g}, {by:g}) m"
        length, heading = hypot(bx - ax, by - ay), atan2(by - ay, bx - ax)
        then = length / STEP_S
        turn = 0.0 if length < _STANDING_M else (heading - yaw + pi) % (2 * pi) - pi
        if abs(turn) > pi / 2:
            yield "reversing", f"{where} lies behind the one before; expected waypoints that lead on."
        if then > MAX_SPEED_MPS + _SLACK_M / STEP_S:
            yield "speed", f"{where} needs {then:.1f} m/s; expected up to {MAX_SPEED_MPS:g}."
        gained = (then - speed) / since_s
        if gained > MAX_ACCELERATION_MPS2 + slack_mps2:
            yield "acceleration", f"{where} needs {gained:.1f} m/s^2; expected up to {MAX_ACCELERATION_MPS2:g}."
        if -gained > MAX_BRAKING_MPS2 + slack_mps2:
            yield "braking", f"{where} needs braking at {-gained:.1f} m/s^2; expected up to {MAX_BRAKING_MPS2:g}."
        turn = max(0.0, abs(turn) - _SLACK_M / max(length, _SLACK_M))
        if turn > MAX_CURVATURE_PER_M * length:
            yield "steering", f"{where} turns by {turn:.2f} rad within {length:.1f} m; expected a wider bend."
        lateral = then * turn / STEP_S
        if lateral > MAX_LATERAL_MPS2:
            yield "lateral", f"{where} needs {lateral:.1f} m/s^2 to the side; expected up to {MAX_LATERAL_MPS2:g}."
        speed, since_s = then, STEP_S
        yaw = yaw if length < _STANDING_M else heading
