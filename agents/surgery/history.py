"""What the surgeon's role is shown of the past: views over its steps, near ones in detail, others as labels.

The near-history focus memory of Xu et al. 2025 (section 2.2, equations 1 to 3) and the four modes of its ablation
(Fig. 4). A view holds what a prompt may tell and nothing else. Knows no prompt and no model.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from loopwright.schema import Frozen, ImageRef
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.samples import Sample
from loopwright.tools.surgery.vocabulary import Action

MemoryMode = Literal["image-action", "near", "near-action", "all"]
"""What of the past is shown, in the order (i) to (iv) of the ablation:

(i) `image-action`: the last step's last picture (or its caption) and its action;
(ii) `near`: the near steps in detail, without their actions;
(iii) `near-action`: the near steps in detail, with their actions;
(iv) `all`: these, and the actions of all steps before them. The paper's choice.
"""
NearAs = Literal["pictures", "captions"]
"""How near steps are shown: to a model that sees (DirNHFM), or in words to one that need not (IndirNHFM)."""


class MemorySettings(Frozen):
    """Which view of the past is shown."""

    mode: MemoryMode = "all"
    near_as: NearAs = "captions"
    near_steps: int = Field(default=1, ge=1, description="steps in detail; the paper has the last one")
    distant_steps: int = Field(
        default=20, ge=0, description="actions before them, one by one; of still earlier ones only how many there were"
    )


class Step(Frozen):
    """One clip of the past, or an action that is imagined to follow it."""

    action: Action
    duration_s: int | None = Field(default=None, ge=1)
    caption: str = ""
    images: tuple[ImageRef, ...] = Field(default=(), description="oldest first")
    is_imagined: bool = Field(default=False, description="nobody saw it: a plan that is rolled out goes through it")
    truth: VisibleState | None = Field(
        default=None, description="what was truly visible at its end, where that is known; no view shows it"
    )


class NearStep(Frozen):
    """What is shown of a near step; None, "" and () where that is not shown."""

    action: Action | None = None
    duration_s: int | None = None
    caption: str = ""
    images: tuple[ImageRef, ...] = ()
    is_imagined: bool = False


class MemoryView(Frozen):
    """What is shown of the past, oldest first."""

    earlier: dict[Action, int] = Field(default={}, description="how often each action came before `distant`")
    distant: tuple[Action, ...] = Field(default=(), description="of the steps before the near ones")
    near: tuple[NearStep, ...] = Field(default=(), description="() before the first step")
    near_as: NearAs = "captions"

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """Every picture that is shown."""
        return tuple(image for step in self.near for image in step.images)


def view(steps: Sequence[Step], settings: MemorySettings | None = None) -> MemoryView:
    """What is shown of `steps`, all of them so far, oldest first.

    Imagined steps at the end are near, whatever the window, and so is what was seen last before them; where actions are
    not shown, imagined steps, of which nothing else is known, are left out.
    """
    settings = settings or MemorySettings()
    seen = len(steps)
    while seen and steps[seen - 1].is_imagined:
        seen -= 1
    n_near = 1 if settings.mode == "image-action" else settings.near_steps
    first = max(0, seen - n_near)
    near = [_near(step, settings) for step in steps[first:] if settings.mode != "near" or not step.is_imagined]
    before: list[Action] = [step.action for step in steps[:first]] if settings.mode == "all" else []
    listed = max(0, len(before) - settings.distant_steps)
    return MemoryView(
        earlier=dict(Counter(before[:listed])),
        distant=tuple(before[listed:]),
        near=tuple(near),
        near_as=settings.near_as,
    )


def imagined(steps: Sequence[Step], actions: Sequence[Action]) -> tuple[Step, ...]:
    """`steps`, and then `actions` as if they had been performed."""
    return (*steps, *(Step(action=action, is_imagined=True) for action in actions))


def step_of(clip: Clip, *, caption: str = "", images: Sequence[ImageRef] = ()) -> Step:
    """The step that a clip is, with how it is described and shown."""
    return Step(action=clip.action, duration_s=clip.duration_s, caption=caption, images=tuple(images))


def steps_of(sample: Sample, describe: Callable[[Clip], Step] = step_of) -> tuple[Step, ...]:
    """The past of a sample: its near clips as `describe` has them; of those before only actions are known."""
    distant = sample.actions[: len(sample.actions) - len(sample.near)]
    return (*(Step(action=action) for action in distant), *map(describe, sample.near))


def _near(step: Step, settings: MemorySettings) -> NearStep:
    is_pictures = settings.near_as == "pictures"
    images = step.images if is_pictures else ()
    return NearStep(
        action=None if settings.mode == "near" else step.action,
        duration_s=None if settings.mode == "image-action" else step.duration_s,
        caption="" if is_pictures else step.caption,
        images=images[-1:] if settings.mode == "image-action" else images,
        is_imagined=step.is_imagined,
    )
