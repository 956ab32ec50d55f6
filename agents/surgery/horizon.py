"""Plans to a goal: actions that follow one another, each as probable as a policy takes it to be after those before it.

A chain that reaches the goal ends there: no chain begins another, chains of any lengths can be compared, and the
probabilities of all sum to 1. They are given that the procedure goes on, as a policy knows no end. Writes nothing down.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from loopwright.agents.surgery.goals import Goal
from loopwright.agents.surgery.history import Step, imagined
from loopwright.agents.surgery.policies import Policy
from loopwright.errors import BadInput
from loopwright.schema import CancelToken, Frozen
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

HORIZON, WIDTH, DRAWS = 30, 3, 32


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
    """Chains, those that reach the goal first, each time the best ones first."""

    goal: Goal
    horizon: int = Field(description="actions that a chain has at most")
    chains: tuple[Chain, ...] = Field(min_length=1)
    reached: float | None = Field(default=None, description="share of the drawn chains that reach the goal")

    @property
    def best(self) -> Chain:
        """The plan."""
        return self.chains[0]


class Roll(NamedTuple):
    """What chains are rolled from."""

    policy: Policy
    """Asked with imagined steps behind those that were seen, and with the goal's name."""
    steps: Sequence[Step]
    """What was performed so far, oldest first."""
    goal: Goal
    """Where chains end."""
    horizon: int = HORIZON
    """Actions that a chain has at most."""
    words: str = ""
    """What the surgeon said, if anything."""
    cancel: CancelToken | None = None
    """Looked at between any two questions to the policy."""

    @property
    def past(self) -> tuple[Action, ...]:
        """The actions of `steps`."""
        return tuple(step.action for step in self.steps)

    def odds(self, chains: Iterable[Sequence[Action]]) -> Iterator[dict[Action, float]]:
        """What may come after each of `chains`, as the policy has it."""
        pasts = [imagined(self.steps, actions) for actions in chains]
        found = iter(self.policy.next_actions(pasts, goal=self.goal.name, words=self.words))
        for _ in pasts:
            if self.cancel is not None:
                self.cancel.raise_if_set()
            yield {action: min(p, 1.0) for action, p in next(found).items() if p > 0}


class _Beam(NamedTuple):
    """A chain that grows."""

    actions: tuple[Action, ...] = ()
    probabilities: tuple[float, ...] = ()
    log_probability: float = 0.0

    def then(self, action: Action, probability: float) -> "_Beam":
        return _Beam(
            (*self.actions, action), (*self.probabilities, probability), self.log_probability + math.log(probability)
        )

    def drawn(self, odds: Mapping[Action, float], rng: np.random.Generator) -> "_Beam":
        chances = np.array(list(odds.values()))
        action = list(odds)[int(rng.choice(len(odds), p=chances / chances.sum()))]
        return self.then(action, odds[action])

    def ended(self, *, reaches_goal: bool) -> Chain:
        steps = zip(self.actions, self.probabilities, strict=True)
        return Chain(
            steps=tuple(PlannedAction(action=action, probability=p) for action, p in steps),
            log_probability=self.log_probability,
            reaches_goal=reaches_goal,
        )


def likeliest(roll: Roll, *, width: int = WIDTH) -> HorizonPlan:
    """The most probable chains, at most `width` of them, by beam search.

    Plain beams never get to a goal that takes rare actions, as what is common pushes them out. So chains compete only
    with those that are as far on the way to the goal (the banks of Hokamp and Liu, "Lexically Constrained Decoding for
    Sequence Generation Using Grid Beam Search", ACL 2017) and end in the same action, which makes the search exact,
    Viterbi's, for a policy that looks one action back. With a width no smaller than the number of chains there are, the
    result is that of trying them all, for any policy.

    Raises:
        BadInput: `width` or the horizon is less than 1.
        Stopped, Paused: the cancel token was set.
    """
    _check(horizon=roll.horizon, width=width)
    goal, past = roll.goal, roll.past
    reached: list[_Beam] = []
    open_ = [_Beam()]
    if goal.is_reached(past):
        reached, open_ = open_, []
    for _ in range(roll.horizon):
        if not open_ or _is_settled(reached, open_, width):
            break
        banks: defaultdict[tuple[int, Action], list[_Beam]] = defaultdict(list)
        for beam, odds in zip(open_, roll.odds(beam.actions for beam in open_), strict=True):
            for action, p in odds.items():
                longer = beam.then(action, p)
                banks[goal.done(past, longer.actions), action].append(longer)
        reached = _best(reached + banks.pop((len(goal.actions), goal.actions[-1]), []), width)
        open_ = [beam for bank in banks.values() for beam in _best(bank, width)]
    chains = [beam.ended(reaches_goal=True) for beam in reached]
    chains += [beam.ended(reaches_goal=False) for beam in _best(open_, width - len(reached))]
    return HorizonPlan(goal=goal, horizon=roll.horizon, chains=tuple(chains))


def typical(roll: Roll, *, draws: int = DRAWS, width: int = WIDTH, seed: int = 0) -> HorizonPlan:
    """Of chains that are drawn by their probabilities, those nearest to all that were drawn, at most `width` of them.

    The most probable chain is seldom a typical one: what comes rarely is at any moment most probable to come at once,
    if it is to come at all. The chain with the least mean edit distance to the drawn ones that reach the goal is the
    minimum-Bayes-risk decision (Kumar and Byrne, "Minimum Bayes-Risk Decoding for Statistical Machine Translation",
    NAACL 2004).

    Args:
        roll: what chains are rolled from.
        draws: chains that are drawn. The policy is asked once for what several begin with.
        width: chains of the result.
        seed: the same seed draws the same chains.

    Raises:
        BadInput: `draws`, `width` or the horizon is less than 1.
        Stopped, Paused: the cancel token was set.
    """
    _check(horizon=roll.horizon, draws=draws, width=width)
    rng = np.random.default_rng(seed)
    drawn: list[Chain] = []
    open_ = [_Beam()] * draws
    while True:
        drawn += [beam.ended(reaches_goal=True) for beam in open_ if roll.goal.is_reached(roll.past, beam.actions)]
        open_ = [beam for beam in open_ if not roll.goal.is_reached(roll.past, beam.actions)]
        if not open_ or len(open_[0].actions) == roll.horizon:
            break
        begun = dict.fromkeys(beam.actions for beam in open_)
        known = dict(zip(begun, roll.odds(begun), strict=True))
        open_ = [beam.drawn(known[beam.actions], rng) for beam in open_]
    drawn += [beam.ended(reaches_goal=False) for beam in open_]
    wanted = [chain.actions for chain in drawn if chain.reaches_goal] or [chain.actions for chain in drawn]
    distances = {
        chain: sum(edit_distance(chain.actions, other) for other in wanted) / len(wanted) for chain in set(drawn)
    }
    ranked = sorted(distances, key=lambda chain: (not chain.reaches_goal, distances[chain], *_order(chain)))
    reached = sum(chain.reaches_goal for chain in drawn) / draws
    return HorizonPlan(goal=roll.goal, horizon=roll.horizon, chains=tuple(ranked[:width]), reached=reached)


def edit_distance(one: Sequence[Action], other: Sequence[Action]) -> float:
    """The least insertions, deletions and replacements that make one of the other, by the longer length; 0 to 1.

    Levenshtein's, normalised; two empty chains are equal.
    """
    row = list(range(len(other) + 1))
    for i, here in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, there in enumerate(other, 1):
            before, row[j] = row[j], min(before + (here != there), row[j] + 1, row[j - 1] + 1)
    return row[-1] / max(len(one), len(other), 1)


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise BadInput(f"`{name}` is {value!r}; expected 1 or more.")


def _order(chain: _Beam | Chain) -> tuple[float, tuple[int, ...]]:
    """Sorts the more probable first; of equal ones that whose actions come first in the vocabulary."""
    return -chain.log_probability, tuple(map(ACTIONS.index, chain.actions))


def _best(beams: Sequence[_Beam], n: int) -> list[_Beam]:
    return sorted(beams, key=_order)[:n]


def _is_settled(reached: Sequence[_Beam], open_: Sequence[_Beam], width: int) -> bool:
    """Whether nothing that is still open can come among the chains that are wanted: they only get less probable."""
    return len(reached) == width and reached[-1].log_probability > max(beam.log_probability for beam in open_)
