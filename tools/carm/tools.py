"""The C-arm's tools: look at where it stands, move it, take an exposure. Knows no goal and no picture."""

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loopwright.errors import DeveloperError
from loopwright.schema import Act, Frozen, ImageRef
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion, MotionLimits
from loopwright.tools.contract import Acting, Tool, ToolContext, tool


class CArm(Protocol):
    """What these tools read of a world: any C-arm that has it will do."""

    @property
    def pose(self) -> Pose:
        """Where it stands."""
        ...

    @property
    def exposures(self) -> int:
        """Taken so far."""
        ...

    @property
    def limits(self) -> MotionLimits:
        """What bounds it."""
        ...

    def image(self) -> NDArray[np.uint8]:
        """The picture of the last exposure, (N, N) uint8."""
        ...


class NoArguments(Frozen):
    """Nothing to say."""


class CArmPlace(Frozen):
    """Where the C-arm stands."""

    pose: Pose
    exposures: int = Field(ge=0, description="number of exposures taken so far")


class Exposure(CArmPlace):
    """A picture, and where it was taken."""

    image: ImageRef


class RangeMm(Frozen):
    """Least and greatest value."""

    low_mm: float = Field(description="mm")
    high_mm: float = Field(description="mm")


class RangeDeg(Frozen):
    """Least and greatest value."""

    low_deg: float = Field(description="degrees")
    high_deg: float = Field(description="degrees")


class CArmStatus(CArmPlace):
    """Where the C-arm stands, and what it may still do."""

    exposures_left: int = Field(ge=0, description="number of exposures left in the budget")
    max_step_mm: float = Field(description="longest motion along one axis, mm")
    max_step_deg: float = Field(description="largest motion in one angle, degrees")
    x: RangeMm
    y: RangeMm
    z: RangeMm
    alpha: RangeDeg
    beta: RangeDeg


@tool(effect="read", timeout_s=10)
def c_arm_status(args: NoArguments, context: ToolContext) -> CArmStatus:
    """Say where the C-arm stands (mm, degrees), how many exposures were taken and are left, and what bounds it."""
    c_arm = _c_arm(context)
    limits, exposures = c_arm.limits, c_arm.exposures
    low, high = limits.low_world, limits.high_world
    (low_alpha, high_alpha), (low_beta, high_beta) = limits.alpha_range_deg, limits.beta_range_deg
    return CArmStatus(
        pose=c_arm.pose,
        exposures=exposures,
        exposures_left=max(0, limits.max_exposures - exposures),
        max_step_mm=limits.max_step_mm,
        max_step_deg=limits.max_step_deg,
        x=RangeMm(low_mm=low[0], high_mm=high[0]),
        y=RangeMm(low_mm=low[1], high_mm=high[1]),
        z=RangeMm(low_mm=low[2], high_mm=high[2]),
        alpha=RangeDeg(low_deg=low_alpha, high_deg=high_alpha),
        beta=RangeDeg(low_deg=low_beta, high_deg=high_beta),
    )


@tool(effect="actuate", timeout_s=30, words=lambda motion: f"move the view {motion.describe()}")
def move_c_arm(args: Motion, context: ToolContext) -> Acting[CArmPlace]:
    """Move the C-arm's view in the patient's directions (mm) and swing it (degrees). Takes no exposure."""
    outcome = yield Act(tool="move_c_arm", arguments=args.model_dump())
    return CArmPlace.model_validate(outcome.result)


@tool(effect="actuate", timeout_s=30, consent="guard", words=lambda _: "take an exposure")
def take_exposure(args: NoArguments, context: ToolContext) -> Acting[Exposure]:
    """Take one X-ray exposure where the C-arm stands; it counts towards the budget."""
    outcome = yield Act(tool="take_exposure")
    return Exposure(**outcome.result, image=context.keep(_c_arm(context).image()))


TOOLS: tuple[Tool[Any, Any], ...] = (c_arm_status, move_c_arm, take_exposure)


def _c_arm(context: ToolContext) -> CArm:
    if not all(hasattr(context.world, name) for name in ("limits", "image")):
        raise DeveloperError(f"The world {context.world!r} is no C-arm; give the `ToolContext` a `CArmWorld`.")
    return cast(CArm, context.world)
