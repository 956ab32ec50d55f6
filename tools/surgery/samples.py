"""Samples of next-action prediction: the clips so far, and the action of the clip that follows."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from loopwright.schema import Frozen
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.vocabulary import Action


class HistoryRules(Frozen):
    """How much of the past a sample holds."""

    near_clips: int = Field(default=5, ge=1, description="clips in detail; before them only actions are known")
    min_clips: int = Field(default=1, ge=1, description="samples with fewer clips before them are left out")


class Sample(Frozen):
    """What is known at the end of a clip, and what came next. Nothing in it but the answers knows the next clip."""

    video: str
    index: int = Field(description="of the last clip that is known")
    actions: tuple[Action, ...] = Field(description="of all clips so far, the last one included")
    near: tuple[Clip, ...] = Field(description="the last clips in detail, oldest first")
    next: Action
    after_next: Action | None = Field(description="None where the next clip is the video's last")


def samples_of(clips: Sequence[Clip], rules: HistoryRules) -> Iterator[Sample]:
    """The samples of one video's clips: one a clip that has enough before it and one after it."""
    actions: tuple[Action, ...] = tuple(clip.action for clip in clips)
    for index in range(rules.min_clips - 1, len(clips) - 1):
        yield Sample(
            video=clips[index].video,
            index=index,
            actions=actions[: index + 1],
            near=tuple(clips[max(0, index + 1 - rules.near_clips) : index + 1]),
            next=actions[index + 1],
            after_next=actions[index + 2] if index + 2 < len(actions) else None,
        )
