"""What the surgeon's role is asked: to describe a clip, to say which action comes next, to plan three of them.

The prompts factory of Xu et al. 2025 (section 2.2). Each function returns all messages that precede the answer; what is
fixed comes first and the question last, so that a model's cache of what is between is shared. A view of the past
decides what is told of it: pictures (DirNHFM) or captions (IndirNHFM), in any mode.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from loopwright.agents.surgery.history import MemoryView, NearStep
from loopwright.agents.surgery.knowledge import Knowledge, bundled_knowledge
from loopwright.errors import BadInput
from loopwright.models.images import image_block
from loopwright.schema import ImageRef

DESCRIBE = (
    "Describe what the pictures show, in one line of plain text: instruments and what each does, the targets they work "
    "on, what of the anatomy is seen, and bleeding, smoke or fluid."
)
NEXT = "Which action comes next?"
PLAN = (
    'Plan what comes next. Answer as {"progress":"how far it is","safety":"what to watch","actions":'
    '[{"action":"NAME","rationale":"why"},...]}: three different actions, best first.'
)


def caption_messages(images: Sequence[ImageRef], knowledge: Knowledge | None = None) -> list[BaseMessage]:
    """Ask for a caption of a clip's pictures, oldest first; the answer is in the form `CAPTION`.

    Raises:
        BadInput: there is no picture.
    """
    if not images:
        raise BadInput("There is no picture to describe. Give at least one, or take the captions of labels.")
    return [SystemMessage(caption_system(knowledge)), _shown(images, DESCRIBE)]


def caption_system(knowledge: Knowledge | None = None) -> str:
    """What whoever describes pictures is told before all else."""
    return f"You watch surgery. Procedure: {(knowledge or bundled_knowledge()).name}."


def next_action_messages(
    view: MemoryView, knowledge: Knowledge | None = None, *, goal: str = "", words: str = ""
) -> list[BaseMessage]:
    """Ask for the one action that comes next; the answer is in the form `NEXT_ACTION`. Arguments as `plan_messages`."""
    return _asked(view, knowledge, goal, words, NEXT)


def plan_messages(
    view: MemoryView, knowledge: Knowledge | None = None, *, goal: str = "", words: str = ""
) -> list[BaseMessage]:
    """Ask for a plan; the answer is in the form `PLAN`.

    Args:
        view: what is shown of the past.
        knowledge: of the procedure, None for the cholecystectomy.
        goal: what is aimed at, in plain language; "" for the procedure's usual goal.
        words: what the surgeon said since, if anything.
    """
    return _asked(view, knowledge, goal, words, PLAN)


def _asked(view: MemoryView, knowledge: Knowledge | None, goal: str, words: str, question: str) -> list[BaseMessage]:
    knowledge = knowledge or bundled_knowledge()
    meanings = " ".join(f"{action}: {meaning}" for action, meaning in knowledge.actions.items())
    system = (
        f"You assist the surgeon. Procedure: {knowledge.name}. {knowledge.process} Safety: {knowledge.safety} "
        f"Actions. {meanings}"
    )
    aim = f"Goal: {' '.join((goal or knowledge.goal).split())}"
    text = "\n".join([aim, *_told(view), *_heard(words), question])
    return [SystemMessage(system), _shown(view.images, text)]


def _told(view: MemoryView) -> list[str]:
    """A view in words, a line each; pictures are told by their numbers."""
    lines = []
    if view.earlier:
        lines.append(f"Long ago: {', '.join(f'{n} {action}' for action, n in sorted(view.earlier.items()))}.")
    if view.distant:
        lines.append(f"Before: {', '.join(view.distant)}.")
    n_shown = 0
    for step in view.near:
        lines.append(_near(step, view, n_shown))
        n_shown += len(step.images)
    return lines or ["Nothing was done yet."]


def _near(step: NearStep, view: MemoryView, n_shown: int) -> str:
    """One near step, such as "Now: Dissection, 34 s. Instruments: hook." """
    if step.is_imagined:
        return f"Then, planned: {step.action}."
    seen = [near for near in view.near if not near.is_imagined]
    facts = ([step.action] if step.action else []) + ([f"{step.duration_s} s"] if step.duration_s else [])
    if view.near_as == "captions":
        sight = step.caption or "Not described"
    elif step.images:
        sight = f"Picture {', '.join(str(n_shown + i) for i in range(1, len(step.images) + 1))}"
    else:
        sight = "No picture"
    told = ", ".join(facts)
    return f"{'Now' if step is seen[-1] else 'Near'}: {told}{'. ' if told else ''}{sight.rstrip('.')}."


def _shown(images: Sequence[ImageRef], text: str) -> HumanMessage:
    """Pictures, and then text; text alone is what any model takes."""
    if not images:
        return HumanMessage(text)
    blocks: list[str | dict[str, Any]] = [image_block(image) for image in images]
    return HumanMessage(content=[*blocks, {"type": "text", "text": text}])


def _heard(words: str) -> list[str]:
    """The surgeon's words on one line."""
    return [f'The surgeon says: "{" ".join(words.split())}"'] if words.strip() else []
