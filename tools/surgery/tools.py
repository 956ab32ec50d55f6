"""The surgery world's tools: see the clip that the video stands at, record a plan, go on. Knows no planner."""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loopwright.errors import DeveloperError
from loopwright.schema import Act, Frozen, ImageRef
from loopwright.tools.contract import Acting, Tool, ToolContext, tool
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

MAX_CLIPS = 4096
"""Of one video; a procedure has some dozens."""


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

    @property
    def performed(self) -> Mapping[int, Action]:
        """What the simulator's surgeon did instead of what the video had, by clip."""
        ...

    @property
    def truth(self) -> VisibleState | None:
        """What is truly visible, where that is known."""
        ...

    def image(self) -> NDArray[np.uint8] | None:
        """The clip's last picture, where it has one."""
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


class InView(Frozen):
    """What the labels say is in view or worked on."""

    name: str = Field(max_length=40)
    seconds: int = Field(ge=0, description="for how long, s")


class Performed(Frozen):
    """What the simulator's surgeon did instead of what the video had."""

    clip: int = Field(ge=0, description="index of the clip")
    action: Action


class ShownClip(Frozen):
    """The clip that the video stands at: its labels, its last picture, and what is truly visible, where known."""

    video: str = Field(max_length=80)
    clip: int = Field(ge=0, description="index of the clip")
    action: Action
    start_s: int = Field(ge=0, description="its first second, s")
    end_s: int = Field(ge=0, description="its last second, s")
    labelled_s: int = Field(ge=1, description="how much of it carries its action, s")
    instruments: tuple[InView, ...] = Field(max_length=20)
    targets: tuple[InView, ...] = Field(max_length=20)
    image: ImageRef | None = Field(description="null where it has none")
    truth: VisibleState | None = Field(description="null where nobody knows")
    is_last: bool = Field(description="whether no clip follows")
    performed: tuple[Performed, ...] = Field(max_length=MAX_CLIPS, description="in the simulator, so far")

    def as_clip(self) -> Clip:
        """The clip itself."""
        fields = self.model_dump(include={"video", "action", "start_s", "end_s", "labelled_s"})
        in_view: dict[str, Any] = {
            name: {one.name: one.seconds for one in getattr(self, name)} for name in ("instruments", "targets")
        }
        return Clip(index=self.clip, **fields, **in_view)


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
    action: Action = Field(description="what is done in it")


@tool(effect="write", timeout_s=60)
def show_clip(args: NothingToSay, context: ToolContext) -> ShownClip:
    """Show the clip that the video stands at, with its last picture."""
    video = _video(context)
    clip, image = video.clip, video.image()
    return ShownClip(
        **clip.model_dump(include={"video", "action", "start_s", "end_s", "labelled_s"}),
        clip=clip.index,
        instruments=_in_view(clip.instruments),
        targets=_in_view(clip.targets),
        image=None if image is None else context.keep(image),
        truth=video.truth,
        is_last=video.is_last,
        performed=tuple(Performed(clip=index, action=action) for index, action in video.performed.items()),
    )


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


@tool(effect="actuate", timeout_s=30, words=lambda args: f"recommend {args.actions[0]}")
def record_plan(args: Recommended, context: ToolContext) -> Acting[ClipReached]:
    """Record what is recommended to follow the present clip; a later plan for the same clip replaces it."""
    outcome = yield Act(tool="record_plan", arguments=args.model_dump(mode="json"))
    return ClipReached.model_validate(outcome.result)


@tool(
    effect="actuate",
    timeout_s=30,
    consent="guard",
    words=lambda args: f"have the surgeon do {args.instead} next" if args.instead else "go on to the next clip",
)
def next_clip(args: Following, context: ToolContext) -> Acting[ClipReached]:
    """Go on to the next clip, as the video does, or in the simulator with another action."""
    outcome = yield Act(tool="next_clip", arguments=args.model_dump(mode="json", exclude_none=True))
    return ClipReached.model_validate(outcome.result)


TOOLS: tuple[Tool[Any, Any], ...] = (next_clip, record_plan, show_clip, surgery_status)


def _in_view(seconds: Mapping[str, int]) -> tuple[InView, ...]:
    return tuple(InView(name=name, seconds=n) for name, n in seconds.items())


def _video(context: ToolContext) -> ClipByClip:
    if not all(hasattr(context.world, name) for name in ("clip", "is_last", "plans")):
        raise DeveloperError(f"The world {context.world!r} is no video; give the `ToolContext` a `SurgicalVideoWorld`.")
    return cast(ClipByClip, context.world)
