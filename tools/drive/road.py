"""What the road's tools share: the world that they look at, and a place as an argument."""

from typing import Annotated, cast

from pydantic import Field, FiniteFloat

from loopwright.errors import DeveloperError
from loopwright.tools.contract import ToolContext
from loopwright.tools.drive.world import DriveWorld

Place = Annotated[tuple[FiniteFloat, ...], Field(min_length=2, max_length=2)]
"""x and y, m in the ego frame."""


def road_of(context: ToolContext) -> DriveWorld:
    """The context's world.

    Raises:
        DeveloperError: it is none with a road.
    """
    if not all(hasattr(context.world, name) for name in ("scene", "taken", "views")):
        raise DeveloperError(f"The world {context.world!r} has no road; give the `ToolContext` a `DriveWorld`.")
    return cast(DriveWorld, context.world)
