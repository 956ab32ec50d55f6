"""What the road's tools share: the world that they look at, and places and trajectories as arguments."""

from typing import Annotated, cast

from pydantic import Field, FiniteFloat

from loopwright.errors import DeveloperError
from loopwright.schema import Frozen
from loopwright.tools.contract import ToolContext
from loopwright.tools.drive.scene import FUTURE_STEPS
from loopwright.tools.drive.world import DriveWorld

Place = Annotated[tuple[FiniteFloat, ...], Field(min_length=2, max_length=2)]
"""x and y, m in the ego frame."""


class Trajectory(Frozen):
    """What `drive` and `check_trajectory` are given."""

    waypoints: tuple[Place, ...] = Field(
        min_length=FUTURE_STEPS,
        max_length=FUTURE_STEPS,
        description="where the ego's centre is to be in 0.5, 1.0, ... 3.0 s: forward and to the left of where it is, m",
    )


def road_of(context: ToolContext) -> DriveWorld:
    """The context's world.

    Raises:
        DeveloperError: it is none with a road.
    """
    if not all(hasattr(context.world, name) for name in ("scene", "taken", "views")):
        raise DeveloperError(f"The world {context.world!r} has no road; give the `ToolContext` a `DriveWorld`.")
    return cast(DriveWorld, context.world)
