"""The road's tools: look at it, drive on, say how the drive stands. Knows no planner."""

from typing import Annotated, Any, cast

from pydantic import Field, FiniteFloat

from loopwright.errors import DeveloperError
from loopwright.schema import Act, Frozen, ImageRef
from loopwright.tools.contract import Acting, Tool, ToolContext, tool
from loopwright.tools.drive.driver_tools import DRIVER_TOOLS
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Scene
from loopwright.tools.drive.totals import Totals
from loopwright.tools.drive.world import DriveWorld

Place = Annotated[tuple[FiniteFloat, ...], Field(min_length=2, max_length=2)]


class Nothing(Frozen):
    """No arguments."""


class Images(Frozen):
    """The pictures of a moment, by the world's views; null where it has no such view."""

    top: ImageRef | None = None
    F: ImageRef | None = None
    FL: ImageRef | None = None
    FR: ImageRef | None = None
    B: ImageRef | None = None
    BL: ImageRef | None = None
    BR: ImageRef | None = None


class SeenRoad(Frozen):
    """The road as it is seen."""

    scene: Scene
    images: Images
    totals: Totals


class Trajectory(Frozen):
    """What `drive` is given."""

    waypoints: tuple[Place, ...] = Field(
        min_length=FUTURE_STEPS,
        max_length=FUTURE_STEPS,
        description="where the ego's centre is to be in 0.5, 1.0, ... 3.0 s: forward and to the left of where it is, m",
    )


def _in_words(args: Trajectory) -> str:
    """What a trajectory comes to within its 3 s."""
    x, y = args.waypoints[-1]
    side = "" if abs(y) < 0.5 else f" and {abs(y):.1f} m to the {'left' if y > 0 else 'right'}"
    return f"drive {x:.0f} m ahead{side} in {FUTURE_STEPS * STEP_S:g} s, of which half a second is driven now"


@tool(effect="write", timeout_s=60)
def look_at_road(args: Nothing, context: ToolContext) -> SeenRoad:
    """Look at the road, from above and through the cameras, and say what is where."""
    world = _road(context)
    images = {view: context.keep(world.picture(view)) for view in world.views}
    return SeenRoad(scene=world.scene, images=Images(**images), totals=world.totals)


@tool(effect="read", timeout_s=30)
def road_status(args: Nothing, context: ToolContext) -> Totals:
    """Say what the drive has come to so far: progress, collisions, comfort, and whether it is over."""
    return _road(context).totals


@tool(effect="actuate", timeout_s=60, consent="guard", words=_in_words)
def drive(args: Trajectory, context: ToolContext) -> Acting[Totals]:
    """Follow a trajectory of six waypoints for half a second; then look again."""
    outcome = yield Act(tool="drive", arguments=args.model_dump(mode="json"))
    return Totals.model_validate(outcome.result)


TOOLS: tuple[Tool[Any, Any], ...] = (*DRIVER_TOOLS, drive, look_at_road, road_status)


def _road(context: ToolContext) -> DriveWorld:
    if not all(hasattr(context.world, name) for name in ("scene", "picture", "views")):
        raise DeveloperError(f"The world {context.world!r} has no road; give the `ToolContext` a `DriveWorld`.")
    return cast(DriveWorld, context.world)
