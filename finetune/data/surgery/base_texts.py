"""Texts of the surgeon's roles that no picture goes with: what they write, and questions that a text itself answers.

Any action follows any other in them: what they teach is to write and to read, not surgery.
"""

import numpy as np

from loopwright.agents.surgery.formats import PLAN, caption_of
from loopwright.agents.surgery.history import MemoryView, NearStep
from loopwright.agents.surgery.prompts import next_action_messages
from loopwright.finetune.data.corpus import Turn
from loopwright.finetune.data.surgery.plan_texts import plan_of
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, TARGETS, Action

ACTION_ALONE, TOLD_STATE = 0.2, 0.5
"""How often a writing is one action, and how often a visible state is spoken of."""
MOST_BEFORE = 10
"""Actions that a view to be read lists at most."""


def writing(rng: np.random.Generator) -> str:
    """A plan for any state, any action after any other; or one action by itself."""
    order: list[Action] = [ACTIONS[k] for k in rng.permutation(len(ACTIONS))]
    one, *others = order
    if rng.random() < ACTION_ALONE:
        return one
    state = _state(rng)
    target = TARGETS[rng.integers(len(TARGETS))]
    clip = Clip(video="none", index=0, action=one, start_s=0, end_s=0, labelled_s=1, targets={target: 1})
    past = _past(rng, 1, 39)
    return PLAN.render(plan_of(others, clip, state if rng.random() < TOLD_STATE else None, past))


def reading(rng: np.random.Generator) -> Turn:
    """The past as the surgeon is told it, and one thing that it says."""
    before, (now,) = _past(rng, 2, MOST_BEFORE), _past(rng, 1, 1)
    caption = _caption(rng)
    near = NearStep(action=now, duration_s=int(rng.integers(3, 300)), caption=caption)
    told = str(next_action_messages(MemoryView(distant=tuple(before), near=(near,)))[-1].content).rpartition("\n")[0]
    sought = ACTIONS[rng.integers(len(ACTIONS))]
    asked = {
        "now": ("Which action is it now?", now),
        "before": ("Which action was before it?", before[-1]),
        "earlier": ("Which action was two before it?", before[-2]),
        "first": ("Which action was first?", before[0]),
        "ever": (f"Was there {sought} before?", "yes" if sought in before else "no"),
        "caption": ("What is in view?", caption),
    }
    about = list(asked)[rng.integers(len(asked))]
    return Turn((about,), f"{told}\n{asked[about][0]}", asked[about][1])


def _past(rng: np.random.Generator, least: int, most: int) -> list[Action]:
    """Any actions, `least` to `most` of them."""
    return [ACTIONS[k] for k in rng.integers(len(ACTIONS), size=rng.integers(least, most + 1))]


def _state(rng: np.random.Generator) -> VisibleState:
    return VisibleState(progress=int(rng.integers(len(PROGRESS))), bleeding=BLEEDING[rng.integers(len(BLEEDING))])


def _caption(rng: np.random.Generator) -> str:
    instruments, targets = (
        {names[k]: int(rng.integers(1, 10)) for k in rng.choice(len(names), size=rng.integers(1, 4), replace=False)}
        for names in (INSTRUMENTS, TARGETS)
    )
    clip = Clip(
        video="none", index=0, action=ACTIONS[0], start_s=0, end_s=9, labelled_s=10,
        instruments=instruments, targets=targets,
    )  # fmt: skip
    return caption_of(clip, _state(rng) if rng.random() < TOLD_STATE else None)
