"""What a moment of surgery teaches: the role's own questions about the past, and the answers that what came next gives.

Questions are built by `loopwright.agents.surgery.prompts` over the views of `loopwright.agents.surgery.history`, as at
inference; answers are in the forms of `loopwright.agents.surgery.formats`. Only what came next is an answer: of the
next clip a prompt shows nothing. Knows no file.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from langchain_core.messages import BaseMessage
from pydantic import Field

from loopwright.agents.surgery.formats import CAPTION, NEXT_ACTION, PLAN, Plan, caption_of
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, NearAs, Step, view
from loopwright.agents.surgery.prompts import caption_messages, next_action_messages, plan_messages
from loopwright.finetune.data.surgery.plan_texts import plan_of
from loopwright.schema import Frozen
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.samples import Sample
from loopwright.tools.surgery.vocabulary import Action

Task = Literal["next", "plan", "caption"]
TASKS: tuple[Task, ...] = get_args(Task)
DRAWN_MODES: dict[MemoryMode, float] = {"all": 0.4, "near-action": 0.2, "near": 0.2, "image-action": 0.2}
"""How often each view of the past is drawn, so that one adapter can be asked in all of them."""

Question = tuple[list[BaseMessage], str]


class TaskSettings(Frozen):
    """What is asked about a moment. The next action always is, where it is among the tasks."""

    tasks: tuple[Task, ...] = Field(default=TASKS, min_length=1)
    near_as: NearAs = "captions"
    mode: MemoryMode | None = Field(default=None, description="the view of the past; None: drawn for each question")
    near_steps: int = Field(default=1, ge=1)
    distant_steps: int = Field(default=20, ge=0)
    plan_share: float = Field(default=0.15, ge=0, le=1, description="moments for which a plan is asked")
    caption_share: float = Field(default=0.3, ge=0, le=1, description="moments with pictures that are described")
    undescribed_share: float = Field(
        default=0.1, ge=0, le=1, description="questions without captions or pictures: there is not always one"
    )


class Scene(NamedTuple):
    """A sample with what may be shown of it: its past as steps, and what is truly visible, None where nobody knows.

    `odds` are of the next action, as far as they are known: they rank a plan's actions behind what came next.
    """

    sample: Sample
    steps: tuple[Step, ...]
    odds: Mapping[Action, float]
    state: VisibleState | None = None


def questions(
    scene: Scene, asked: TaskSettings, rng: np.random.Generator, distilled: Plan | None = None
) -> Iterator[Question]:
    """Messages up to the answer, and the answer.

    Args:
        scene: the moment.
        asked: which tasks, and what is shown of the past.
        rng: draws views and tasks; every moment takes the same number of draws.
        distilled: a stronger model's plan for this moment; the next action comes first in it.
    """
    draws = rng.random(5)
    if "next" in asked.tasks:
        shown = _shown(scene, asked, draws[0])
        yield next_action_messages(view(shown, _memory(asked, draws[1]))), NEXT_ACTION.render(scene.sample.next)
    if "plan" in asked.tasks and (distilled is not None or draws[2] < asked.plan_share):
        memory = _memory(asked, draws[3])
        plan = distilled or _plan(scene, memory)
        yield plan_messages(view(scene.steps, memory)), PLAN.render(plan)
    images = scene.steps[-1].images
    if "caption" in asked.tasks and images and asked.near_as == "pictures" and draws[4] < asked.caption_share:
        yield caption_messages(images), CAPTION.render(caption_of(scene.sample.near[-1], scene.state))


def _memory(asked: TaskSettings, draw: float) -> MemorySettings:
    """The view of the past: the mode that is set, or one by a number in [0, 1)."""
    place = int(np.searchsorted(np.cumsum(list(DRAWN_MODES.values())), draw, side="right"))
    return MemorySettings(
        mode=asked.mode or list(DRAWN_MODES)[min(place, len(DRAWN_MODES) - 1)],
        near_as=asked.near_as,
        near_steps=asked.near_steps,
        distant_steps=asked.distant_steps,
    )


def _shown(scene: Scene, asked: TaskSettings, draw: float) -> Sequence[Step]:
    if draw >= asked.undescribed_share:
        return scene.steps
    return [step.model_copy(update={"caption": "", "images": ()}) for step in scene.steps]


def _plan(scene: Scene, memory: MemorySettings) -> Plan:
    """What came next, then what else was likely."""
    others: list[Action] = [action for action in scene.odds if action != scene.sample.next]
    others.sort(key=lambda action: -scene.odds[action])
    past = scene.sample.actions if memory.mode == "all" else None
    return plan_of((scene.sample.next, *others), scene.sample.near[-1], scene.state, past)
