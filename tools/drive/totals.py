"""What a drive came to: collisions, off-road, progress and comfort, measured tick by tick. Knows no simulator."""

from math import pi
from typing import Literal

from pydantic import Field

from loopwright.schema import Frozen
from loopwright.tools.drive.scene import STEP_S, Pose

COMFORT_ACCELERATION_MPS2 = (-4.05, 2.40)
COMFORT_LATERAL_MPS2 = 4.89
COMFORT_JERK_MPS3 = 8.37
"""The bounds of nuPlan, which NAVSIM's comfort term takes over."""
Ended = Literal["", "crashed", "off_road", "arrived", "time"]
"""Why a drive is over: "arrived" at the end of the road or past an exit, "time" at the scenario's limit; "" goes on."""
_STANDING_MPS = 0.1
_TICKS_A_STEP = 5
_TICK_S = STEP_S / _TICKS_A_STEP


class Totals(Frozen):
    """A drive so far."""

    ended: Ended = Field(description='why it is over, "" if it goes on')
    time_s: float = Field(description="since the start, s")
    progress_m: float = Field(description="along the route, m")
    mean_speed_mps: float = Field(description="on average, m/s")
    collisions: int = Field(description="number of collisions; the first ends the drive")
    at_fault: bool = Field(description="whether it neither stood nor was hit from behind when it crashed")
    off_road: int = Field(description="number of times it left the road; the first ends the drive")
    on_route: bool = Field(description="whether it is where the route goes")
    steps: int = Field(description="number of steps of 0.5 s begun")
    uncomfortable_steps: int = Field(description="number of steps with more than comfortable acceleration or jerk")
    worst_braking_mps2: float = Field(description="mean over a step, m/s^2")
    worst_lateral_mps2: float = Field(description="mean over a step, m/s^2")


class Meter:
    """Measures a drive, tick by tick and step by step."""

    def __init__(self, speed_mps: float, yaw_rad: float) -> None:
        """At the start."""
        self._speeds, self._yaws = [speed_mps], [yaw_rad]
        self._acceleration: float | None = None
        self._travelled_m = self._braking = self._lateral = 0.0
        self._ticks = self._uncomfortable = 0
        self._at_fault = False

    def add(self, speed_mps: float, yaw_rad: float, struck: Pose | None, length_m: float) -> None:
        """One tick later; `struck` is where, in the ego's frame, the other vehicle of a collision lies."""
        if struck is not None:
            self._at_fault = self._speeds[-1] > _STANDING_MPS and struck.x_m > -length_m / 2
        self._ticks += 1
        self._travelled_m += speed_mps * _TICK_S
        self._speeds.append(speed_mps)
        self._yaws.append(yaw_rad)
        if self._ticks % _TICKS_A_STEP == 0:
            self._end_step()

    def totals(self, *, ended: Ended, progress_m: float, on_route: bool) -> Totals:
        """What it came to; rounded to what matters."""
        time_s = self._ticks * _TICK_S
        return Totals(
            ended=ended,
            time_s=round(time_s, 1),
            progress_m=round(progress_m, 2),
            mean_speed_mps=round(self._travelled_m / time_s, 2) if time_s else round(self._speeds[0], 2),
            collisions=int(ended == "crashed"),
            at_fault=ended == "crashed" and self._at_fault,
            off_road=int(ended == "off_road"),
            on_route=on_route,
            steps=-(-self._ticks // _TICKS_A_STEP),
            uncomfortable_steps=self._uncomfortable,
            worst_braking_mps2=round(self._braking, 2),
            worst_lateral_mps2=round(self._lateral, 2),
        )

    def _end_step(self) -> None:
        acceleration = (self._speeds[-1] - self._speeds[0]) / STEP_S
        turned = sum((b - a + pi) % (2 * pi) - pi for a, b in zip(self._yaws, self._yaws[1:], strict=False))
        lateral = abs(turned) / STEP_S * sum(self._speeds[1:]) / _TICKS_A_STEP
        jerk = 0.0 if self._acceleration is None else abs(acceleration - self._acceleration) / STEP_S
        low, high = COMFORT_ACCELERATION_MPS2
        is_comfortable = low <= acceleration <= high and lateral <= COMFORT_LATERAL_MPS2 and jerk <= COMFORT_JERK_MPS3
        self._uncomfortable += not is_comfortable
        self._braking, self._lateral = max(self._braking, -acceleration), max(self._lateral, lateral)
        self._acceleration = acceleration
        self._speeds, self._yaws = self._speeds[-1:], self._yaws[-1:]
