"""Who says which action comes next in a procedure: what usually follows, the simulator's exact odds, or a model.

A policy is given the steps so far and answers with probabilities over the actions that may come next. An action never
follows itself, as clips of one action are merged. Knows no loop and writes nothing down.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from langchain_core.language_models import BaseChatModel
from numpy.typing import NDArray

from loopwright.agents.role import ClosedQuestion, choose_each
from loopwright.agents.surgery.formats import next_action_form
from loopwright.agents.surgery.history import MemorySettings, Step, view
from loopwright.agents.surgery.knowledge import Knowledge, bundled_knowledge
from loopwright.agents.surgery.prompts import next_action_messages
from loopwright.errors import BadInput
from loopwright.schema import CancelToken
from loopwright.tools.surgery.bayes import next_action_from
from loopwright.tools.surgery.procedure import Procedure, bundled_procedure
from loopwright.tools.surgery.statistics import START, ClipStatistics, bundled_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

Array = NDArray[np.float64]

_WEIGHT = 1.0
"""Imagined clips by which a context's counts are drawn towards those of the coarser context."""


class Policy(Protocol):
    """Says what comes next."""

    def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
        """P(next action | steps) over the actions that may come next; they sum to 1.

        Args:
            steps: all so far, oldest first; imagined ones at the end count as performed.
            goal: what is aimed at, in plain language; "" for the procedure's usual goal.
            words: what the surgeon said since, if anything.
        """
        ...

    def next_actions(
        self, pasts: Sequence[Sequence[Step]], *, goal: str = "", words: str = ""
    ) -> Iterator[dict[Action, float]]:
        """`next_action` after each of `pasts`. Who answers many questions faster together does so."""
        return (self.next_action(steps, goal=goal, words=words) for steps in pasts)


class NgramPolicy(Policy):
    """What usually follows the last two actions, before and after the first clipping. It reads no goal and no words.

    A context that was seldom seen is drawn towards the coarser one: the last two actions at this stage, the last two,
    the last, any. The statistics tell the stages after the first clipping apart in hindsight, so here they are one.
    """

    def __init__(self, statistics: ClipStatistics | None = None, *, choices: Sequence[Action] = ACTIONS) -> None:
        """Take the counts of some patients' clips, by default the bundled ones; only `choices` ever come next."""
        statistics = statistics or bundled_statistics()
        self._choices = tuple(choices)
        self._first = np.array(statistics.first, dtype=np.float64)
        by_stage = np.array(statistics.trigrams, dtype=np.float64)
        self._unclipped, self._clipped = by_stage[0], by_stage[1:].sum(axis=0)

    def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
        """See `Policy`."""
        allowed = admissible(steps, self._choices)
        mask = np.array([float(action in allowed) for action in ACTIONS])
        odds = mask / mask.sum()
        for counts in self._counts([ACTIONS.index(step.action) for step in steps]):
            weights = (counts + _WEIGHT * odds) * mask
            odds = weights / weights.sum()
        return {action: float(odds[ACTIONS.index(action)]) for action in allowed}

    def _counts(self, numbers: Sequence[int]) -> list[Array]:
        """(5,) how often each action came next, from the coarsest context to the finest."""
        if not numbers:
            return [self._first]
        before, now = (numbers[-2] if len(numbers) > 1 else START), numbers[-1]
        everywhere = self._unclipped + self._clipped
        here = self._clipped if ACTIONS.index("Vessel Clipping") in numbers else self._unclipped
        return [everywhere[:, now].sum(axis=0), everywhere[before, now], here[before, now]]


class BayesPolicy(Policy):
    """The exact odds of a simulated procedure, given what is truly visible. It reads no goal and no words."""

    def __init__(self, procedure: Procedure | None = None, *, choices: Sequence[Action] = ACTIONS) -> None:
        """Take the procedure that goes on, by default that of the bundled statistics; only `choices` ever come next."""
        self._procedure = procedure
        self._choices = tuple(choices)

    def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
        """See `Policy`.

        Raises:
            BadInput: what is truly visible at the last seen step is not known, or what is imagined cannot follow.
        """
        seen = [step for step in steps if not step.is_imagined]
        if not seen or seen[-1].truth is None:
            raise BadInput("The exact odds need what is truly visible, which only a simulated patient's steps tell.")
        actions: list[Action] = [step.action for step in steps]
        past, planned = actions[: len(seen)], actions[len(seen) :]
        odds = next_action_from(self._procedure or bundled_procedure(), past, seen[-1].truth, planned)
        allowed = admissible(steps, self._choices)
        total = sum(odds[action] for action in allowed)
        return {action: odds[action] / total if total else 1 / len(allowed) for action in allowed}


class ModelPolicy(Policy):
    """What a chat model says, given the view of the past that the settings show it."""

    def __init__(
        self,
        model: BaseChatModel,
        memory: MemorySettings | None = None,
        knowledge: Knowledge | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> None:
        """Ask `model`, which has the adapter of its role (`LocalChatModel.with_adapter`) where it has one."""
        self._model = model
        self._memory = memory or MemorySettings()
        self._knowledge = knowledge or bundled_knowledge()
        self._cancel = cancel

    def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
        """See `Policy`.

        Raises:
            OperatorError, Stopped, Paused: as `loopwright.agents.role.choose`.
        """
        return next(self.next_actions([steps], goal=goal, words=words))

    def next_actions(
        self, pasts: Sequence[Sequence[Step]], *, goal: str = "", words: str = ""
    ) -> Iterator[dict[Action, float]]:
        """See `Policy`. A local model is asked all at once, when the first answer is wanted.

        Raises:
            OperatorError, Stopped, Paused: as `loopwright.agents.role.choose`.
        """
        asked = [next_action_question(steps, self._memory, self._knowledge, goal=goal, words=words) for steps in pasts]
        for steps, found in zip(pasts, choose_each(self._model, asked, cancel=self._cancel), strict=True):
            odds: dict[Action, float] = {a: found.probabilities[a] for a in ACTIONS if a in found.probabilities}
            yield following(odds, steps)


def next_action_question(
    steps: Sequence[Step], memory: MemorySettings, knowledge: Knowledge, *, goal: str = "", words: str = ""
) -> ClosedQuestion[Action]:
    """The question that `ModelPolicy` asks, for whoever asks it with a record kept.

    The choices tell no more than the view: the last action is among them where it is not shown (`following`).
    """
    shown = view(steps, memory)
    last = shown.near[-1].action if shown.near else None
    choices: tuple[Action, ...] = tuple(action for action in knowledge.choices if action != last)
    messages = next_action_messages(shown, knowledge, goal=goal, words=words)
    return ClosedQuestion(messages, choices, next_action_form(choices))


def following(odds: Mapping[Action, float], steps: Sequence[Step]) -> dict[Action, float]:
    """`odds` without the last action performed, where that was offered."""
    left: dict[Action, float] = {action: p for action, p in odds.items() if action in admissible(steps)}
    total = sum(left.values()) if len(left) < len(odds) else 1.0
    return {action: p / total for action, p in left.items()}


def admissible(steps: Sequence[Step], choices: Sequence[Action] = ACTIONS) -> tuple[Action, ...]:
    """The actions that may come next: all of `choices` but the last one performed."""
    return tuple(action for action in choices if not steps or action != steps[-1].action)
