"""The paper's short-term predictor (VLA-World, section A.2, eq. 3-5): where the ego will be in a moment, by its inertia
and its command. Neither the weight lambda nor the command's displacements are published: they are settings.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, FiniteFloat

from loopwright.errors import BadInput
from loopwright.schema import Frozen
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Command, Point, Scene


class Displacement(Frozen):
    """What a command asks for within the predictor's horizon, from the present position, m in the ego frame."""

    forward_m: FiniteFloat | None = Field(default=None, description="None: as far as at the present speed")
    left_m: FiniteFloat = 0.0


class ShortTermPredictor(Frozen):
    """Constant acceleration, of which `weight` is the command's and the rest is that of the last two steps.

    With `weight` = 1 it lands exactly on the command's displacement. The default displacements are what 1 m/s^2 to a
    side gives.
    """

    weight: Annotated[FiniteFloat, Field(ge=0, le=1, description="the paper's lambda")] = 0.5
    horizon_s: Annotated[FiniteFloat, Field(gt=0, description="of the displacements, the paper's tau")] = 0.5
    displacements: Mapping[Command, Displacement] = Field(
        default={
            "straight": Displacement(),
            "left": Displacement(left_m=0.125),
            "right": Displacement(left_m=-0.125),
        }
    )

    def predict(self, history: Sequence[Point], command: Command, horizon_s: float | None = None) -> Point:
        """The ego's position after `horizon_s`, in the frame of `history`, whose last points are `STEP_S` apart.

        A command's acceleration is that of the predictor's own horizon, kept up for longer or shorter.

        Raises:
            BadInput: fewer than three points, or a command without a displacement.
        """
        if len(history) < 3:
            raise BadInput(f"`history` has {len(history)} points; expected three or more, {STEP_S:g} s apart.")
        if command not in self.displacements:
            raise BadInput(f"`displacements` has no {command!r}; it has {', '.join(self.displacements)}. Add it.")
        ideal, after = self.displacements[command], self.horizon_s if horizon_s is None else horizon_s
        before_last, before, now = history[-3:]
        velocity = [(b - a) / STEP_S for a, b in zip(before, now, strict=True)]
        earlier = [(b - a) / STEP_S for a, b in zip(before_last, before, strict=True)]
        wanted = (velocity[0] * self.horizon_s if ideal.forward_m is None else ideal.forward_m, ideal.left_m)
        found = []
        for position, v, v_before, offset in zip(now, velocity, earlier, wanted, strict=True):
            inertia = (v - v_before) / STEP_S
            goal = 2 / self.horizon_s**2 * (offset - v * self.horizon_s)
            acceleration = (1 - self.weight) * inertia + self.weight * goal
            found.append(position + v * after + acceleration * after**2 / 2)
        return found[0], found[1]

    def waypoints(self, scene: Scene) -> tuple[Point, ...]:
        """The predicted positions at 0.5, 1.0, ... 3.0 s."""
        return tuple(self.predict(scene.history, scene.command, STEP_S * step) for step in range(1, FUTURE_STEPS + 1))
