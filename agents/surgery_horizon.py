"""A plan to a goal: actions that follow one another, each as probable as a policy takes it to be after those before it.

Beam search over the policy's own probabilities. Plain beams never get to a goal that takes rare actions, as what is
common pushes them out. So chains compete only with those that are as far on the way to the goal (the banks of Hokamp
and Liu, "Lexically Constrained Decoding for Sequence Generation Using Grid Beam Search", ACL 2017) and end in the same
action, which makes the search exact, Viterbi's, for a policy that looks at one action back. A chain that reaches the
goal ends there: no chain begins another, chains of any lengths can be compared, and the probabilities of all sum to 1.
They are given that the procedure goes on, as a policy knows no end. Writes nothing down.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from loopwright.agents.surgery_goals import Goal
from loopwright.agents.surgery_history import Step, imagined
from loopwright.agents.surgery_planner import Policy
from loopwright.errors import BadInput
from loopwright.schema import CancelToken, Frozen
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

HORIZON, WIDTH = 30, 3


class PlannedAction(Frozen):
    """An action of a chain, and how probable it is after the actions before it."""

    action: Action
    probability: float = Field(gt=0, le=1)


class Chain(Frozen):
    """Planned actions, the next one first; none where the goal is reached already."""

    steps: tuple[PlannedAction, ...]
    log_probability: float = Field(le=0, description="natural logarithm of the product of the steps' probabilities")
    reaches_goal: bool = Field(description="at its last step; else it ends at the horizon")

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions, without their probabilities."""
        return tuple(step.action for step in self.steps)


class HorizonPlan(Frozen):
    """The chains that were found, those that reach the goal first, then the more probable ones."""

    goal: Goal
    horizon: int
    width: int
    chains: tuple[Chain, ...] = Field(min_length=1)

    @property
    def best(self) -> Chain:
        """The plan."""
        return self.chains[0]


class _Beam(NamedTuple):
    """A chain that grows."""

    actions: tuple[Action, ...] = ()
    probabilities: tuple[float, ...] = ()
    log_probability: float = 0.0

    def then(self, action: Action, probability: float) -> "_Beam":
        return _Beam(
            (*self.actions, action), (*self.probabilities, probability), self.log_probability + math.log(probability)
        )

    def ended(self, *, reaches_goal: bool) -> Chain:
        steps = zip(self.actions, self.probabilities, strict=True)
        return Chain(
            steps=tuple(PlannedAction(action=action, probability=p) for action, p in steps),
            log_probability=self.log_probability,
            reaches_goal=reaches_goal,
        )


def plan_to_goal(
    policy: Policy,
    steps: Sequence[Step],
    goal: Goal,
    *,
    horizon: int = HORIZON,
    width: int = WIDTH,
    words: str = "",
    cancel: CancelToken | None = None,
) -> HorizonPlan:
    """The most probable chains from `steps` to the goal, at most `width` of them.

    With a width no smaller than the number of chains there are, the result is that of trying them all.

    Args:
        policy: what comes next, asked with imagined steps behind those that were seen, and with the goal's name.
        steps: what was performed so far, oldest first.
        goal: where the chains end.
        horizon: actions that a chain has at most.
        width: chains followed at a time, of those that are equally far on the way to the goal and end in one action.
        words: what the surgeon said, if anything.
        cancel: looked at between any two questions to the policy.

    Raises:
        BadInput: `horizon` or `width` is less than 1.
        Stopped, Paused: `cancel` was set.
    """
    for name, value in (("horizon", horizon), ("width", width)):
        if value < 1:
            raise BadInput(f"`{name}` is {value!r}; expected 1 or more.")
    past: list[Action] = [step.action for step in steps]
    reached: list[_Beam] = []
    open_ = [_Beam()]
    if goal.is_reached(past):
        reached, open_ = open_, []
    for _ in range(horizon):
        if not open_ or _is_settled(reached, open_, width):
            break
        grown = []
        for beam in open_:
            if cancel is not None:
                cancel.raise_if_set()
            odds = policy.next_action(imagined(steps, beam.actions), goal=goal.name, words=words)
            grown += [beam.then(action, min(p, 1.0)) for action, p in odds.items() if p > 0]
        banks: defaultdict[tuple[int, Action], list[_Beam]] = defaultdict(list)
        for beam in grown:
            banks[goal.done(past, beam.actions), beam.actions[-1]].append(beam)
        reached = _best(reached + banks.pop((len(goal.actions), goal.actions[-1]), []), width)
        open_ = [beam for bank in banks.values() for beam in _best(bank, width)]
    chains = [beam.ended(reaches_goal=True) for beam in reached]
    chains += [beam.ended(reaches_goal=False) for beam in _best(open_, width - len(reached))]
    return HorizonPlan(goal=goal, horizon=horizon, width=width, chains=tuple(chains))


def _best(beams: Sequence[_Beam], n: int) -> list[_Beam]:
    """The most probable; of equal ones those whose actions come first in the vocabulary."""
    return sorted(beams, key=lambda beam: (-beam.log_probability, tuple(map(ACTIONS.index, beam.actions))))[:n]


def _is_settled(reached: Sequence[_Beam], open_: Sequence[_Beam], width: int) -> bool:
    """Whether nothing that is still open can come among the chains that are wanted: they only get less probable."""
    return len(reached) == width and reached[-1].log_probability > max(beam.log_probability for beam in open_)
