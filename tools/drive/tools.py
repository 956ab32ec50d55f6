"""The road's tools: look at it, drive on, say how the drive stands. Knows no planner."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from loopwright.schema import Act, Frozen, ImageRef
from loopwright.tools.contract import Acting, Tool, ToolContext, tool
from loopwright.tools.drive.driver_tools import DRIVER_TOOLS
from loopwright.tools.drive.road import Trajectory, road_of
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Scene
from loopwright.tools.drive.sensing import sensed
from loopwright.tools.drive.totals import Totals

MOST_FAULTS = 600
Fault = Annotated[str, StringConstraints(max_length=200)]


class Nothing(Frozen):
    """No arguments."""


class Images(Frozen):
    """The pictures of a moment, by the world's views; null where it has no such view, or none came."""

    top: ImageRef | None = None
    F: ImageRef | None = None
    FL: ImageRef | None = None
    FR: ImageRef | None = None
    B: ImageRef | None = None
    BL: ImageRef | None = None
    BR: ImageRef | None = None


class SeenRoad(Frozen):
    """The road as it is seen."""

    scene: Scene | None = Field(description="without what is no number; null where the ego's own motion is none")
    images: Images
    totals: Totals
    faults: tuple[Fault, ...] = Field(default=(), max_length=MOST_FAULTS, description="what is missing, or no number")


def _in_words(args: Trajectory) -> str:
    """What a trajectory comes to within its 3 s."""
    x, y = args.waypoints[-1]
    side = "" if abs(y) < 0.5 else f" and {abs(y):.1f} m to the {'left' if y > 0 else 'right'}"
    return f"drive {x:.0f} m ahead{side} in {FUTURE_STEPS * STEP_S:g} s, of which half a second is driven now"


@tool(effect="write", timeout_s=60)
def look_at_road(args: Nothing, context: ToolContext) -> SeenRoad:
    """Look at the road, from above and through the cameras, and say what is where."""
    world = road_of(context)
    taken = {view: world.taken(view) for view in world.views}
    images = {view: context.keep(picture) for view, picture in taken.items() if picture is not None}
    seen = sensed(world.scene)
    faults = (*seen.faults, *(f"no picture of {view}" for view in taken if view not in images))
    return SeenRoad(scene=seen.scene, images=Images(**images), totals=world.totals, faults=faults)


@tool(effect="read", timeout_s=30)
def road_status(args: Nothing, context: ToolContext) -> Totals:
    """Say what the drive has come to so far: progress, collisions, comfort, and whether it is over."""
    return road_of(context).totals


@tool(effect="actuate", timeout_s=60, words=_in_words)
def drive(args: Trajectory, context: ToolContext) -> Acting[Totals]:
    """Follow a trajectory of six waypoints for half a second; then look again."""
    outcome = yield Act(tool="drive", arguments=args.model_dump(mode="json"))
    return Totals.model_validate(outcome.result)


TOOLS: tuple[Tool[Any, Any], ...] = (*DRIVER_TOOLS, drive, look_at_road, road_status)
