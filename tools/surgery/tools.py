"""The surgery world's tools: see where the video stands, record a plan, go on. Knows no planner."""

from collections.abc import Mapping
from typing import Protocol, cast

from pydantic import Field

from loopwright.errors import DeveloperError
from loopwright.schema import Act, Frozen
from loopwright.tools.contract import Acting, ToolContext, tool
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.vocabulary import ACTIONS, Action


class ClipByClip(Protocol):
    """What these tools read of a world."""

    @property
    def clip(self) -> Clip:
        """Where it stands."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether no clip follows."""
        ...

    @property
    def plans(self) -> Mapping[int, tuple[Action, ...]]:
        """What was recorded at each clip."""
        ...


class NothingToSay(Frozen):
    """No arguments."""


class VideoStatus(Frozen):
    """Where the video stands."""

    video: str = Field(max_length=80)
    clip: int = Field(ge=0, description="index of the clip")
    action: Action = Field(description="what is done in it")
    duration_s: int = Field(ge=1, description="length of the clip, s")
    is_last: bool = Field(description="whether no clip follows")
    planned: tuple[Action, ...] = Field(max_length=len(ACTIONS), description="what was recorded to follow, best first")


class Recommended(Frozen):
    """What `record_plan` is given."""

    actions: tuple[Action, ...] = Field(
        min_length=1, max_length=len(ACTIONS), description="what is recommended to follow, best first, each once"
    )


class Following(Frozen):
    """What `next_clip` is given."""

    instead: Action | None = Field(
        default=None, description="what the simulator's surgeon does next; null to go on as the video does"
    )


class ClipReached(Frozen):
    """Where the video stands now."""

    clip: int = Field(ge=0, description="index of the clip")


@tool(effect="read", timeout_s=10)
def surgery_status(args: NothingToSay, context: ToolContext) -> VideoStatus:
    """Say which clip the video shows, what is done in it, and what was recorded as the plan to follow it."""
    video = _video(context)
    clip = video.clip
    return VideoStatus(
        video=clip.video,
        clip=clip.index,
        action=clip.action,
        duration_s=clip.duration_s,
        is_last=video.is_last,
        planned=video.plans.get(clip.index, ()),
    )


@tool(effect="actuate", timeout_s=30)
def record_plan(args: Recommended, context: ToolContext) -> Acting[ClipReached]:
    """Record what is recommended to follow the present clip; a later plan for the same clip replaces it."""
    outcome = yield Act(tool="record_plan", arguments=args.model_dump(mode="json"))
    return ClipReached(clip=outcome.result["clip"])


@tool(effect="actuate", timeout_s=30)
def next_clip(args: Following, context: ToolContext) -> Acting[ClipReached]:
    """Go on to the next clip, as the video does, or in the simulator with another action."""
    outcome = yield Act(tool="next_clip", arguments=args.model_dump(mode="json"))
    return ClipReached(clip=outcome.result["clip"])


def _video(context: ToolContext) -> ClipByClip:
    if not all(hasattr(context.world, name) for name in ("clip", "is_last", "plans")):
        raise DeveloperError(f"The world {context.world!r} is no video; give the `ToolContext` a `SurgicalVideoWorld`.")
    return cast(ClipByClip, context.world)
