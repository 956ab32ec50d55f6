"""Chains to a goal: probabilities multiply, a goal ends, wide beams find what trying all finds, draws are fair."""

import itertools
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loopwright.agents.surgery.goals import Goal, read_goal
from loopwright.agents.surgery.history import Step
from loopwright.agents.surgery.horizon import Chain, HorizonPlan, Roll, edit_distance, likeliest, typical
from loopwright.agents.surgery.policies import NgramPolicy, Policy, admissible
from loopwright.errors import BadInput, Paused
from loopwright.schema import CancelToken
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

D: Action = "Dissection"
R: Action = "Tissue Retraction"
V: Action = "Vessel Clipping"
PAST = tuple(Step(action=action, duration_s=9, caption="hook") for action in (R, D, R))


class Whim(Policy):
    """A policy of nobody's: odds that hang on every action so far, and on the seed; it notes what it was asked."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.asked: list[tuple[tuple[Step, ...], str, str]] = []

    def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
        self.asked.append((tuple(steps), goal, words))
        choices = admissible(steps)
        rng = np.random.default_rng([self.seed, zlib.crc32(" ".join(step.action for step in steps).encode())])
        odds = rng.dirichlet(np.ones(len(choices)))
        return {action: float(p) for action, p in zip(choices, odds, strict=True)}


def exhaustive(policy: Whim, goal: Goal, horizon: int) -> list[tuple[tuple[Action, ...], float, bool]]:
    """Every chain that ends at the goal or the horizon, with its probability, those that reach the goal first."""
    past: list[Action] = [step.action for step in PAST]
    found = {}
    for actions in itertools.product(ACTIONS, repeat=horizon):
        n = goal.reached_after(past, actions)
        chain = actions[:n] if n is not None else actions
        steps, p = list(PAST), 1.0
        for action in chain:
            p *= policy.next_action(steps).get(action, 0.0)
            steps.append(Step(action=action, is_imagined=True))
        if p > 0:
            found[chain] = (p, n is not None)
    ranked = [(chain, p, reaches) for chain, (p, reaches) in found.items()]
    return sorted(ranked, key=lambda one: (not one[2], -one[1]))


SHORT_GOALS = ("the next Coagulation", "2 more dissections", "the vessels are clipped")


@given(st.integers(0, 1000), st.sampled_from(SHORT_GOALS), st.integers(1, 3))
@hypothesis_settings(max_examples=25)
def test_beams_as_wide_as_there_are_chains_try_them_all(seed: int, said: str, horizon: int) -> None:
    goal, policy = read_goal(said), Whim(seed)
    best = exhaustive(policy, goal, horizon)
    found = likeliest(Roll(policy, PAST, goal, horizon=horizon), width=len(ACTIONS) ** horizon).chains
    assert [(chain.actions, chain.reaches_goal) for chain in found] == [(chain, r) for chain, _, r in best]
    assert [math.exp(chain.log_probability) for chain in found] == pytest.approx([p for _, p, _ in best])
    assert sum(math.exp(chain.log_probability) for chain in found) == pytest.approx(1)


@given(st.integers(0, 1000), st.sampled_from(SHORT_GOALS))
@hypothesis_settings(max_examples=25)
def test_one_beam_finds_the_best_chain_of_a_policy_that_looks_one_action_back(seed: int, said: str) -> None:
    class Forgetful(Whim):
        def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
            return super().next_action(steps[-1:])

    goal, policy = read_goal(said), Forgetful(seed)
    chains = exhaustive(policy, goal, 4)
    _, p, reaches = chains[0]
    best = [actions for actions, q, r in chains if r == reaches and q == pytest.approx(p)]
    found = likeliest(Roll(policy, PAST, goal, horizon=4), width=1).best
    assert found.actions in best and found.reaches_goal == reaches
    assert math.exp(found.log_probability) == pytest.approx(p)


def checked(plan: HorizonPlan, policy: Whim, width: int) -> None:
    """What holds for every plan."""
    past: list[Action] = [step.action for step in PAST]
    assert 1 <= len(plan.chains) <= width
    assert len({chain.actions for chain in plan.chains}) == len(plan.chains)
    assert [chain.reaches_goal for chain in plan.chains] == sorted((c.reaches_goal for c in plan.chains), reverse=True)
    for chain in plan.chains:
        steps = list(PAST)
        for step in chain.steps:
            assert step.probability == pytest.approx(policy.next_action(steps)[step.action])
            steps.append(Step(action=step.action, is_imagined=True))
        assert chain.log_probability == pytest.approx(sum(math.log(step.probability) for step in chain.steps))
        assert plan.goal.reached_after(past, chain.actions) == (len(chain.steps) if chain.reaches_goal else None)
        assert chain.reaches_goal or len(chain.steps) == plan.horizon


@given(st.integers(0, 1000), st.sampled_from(SHORT_GOALS), st.integers(1, 12), st.integers(1, 4))
def test_every_plan_is_of_probable_chains_that_end_at_the_goal(seed: int, said: str, horizon: int, width: int) -> None:
    plan = likeliest(Roll(Whim(seed), PAST, read_goal(said), horizon=horizon), width=width)
    checked(plan, Whim(seed), width)
    order = [(not chain.reaches_goal, -chain.log_probability) for chain in plan.chains]
    assert order == sorted(order)
    assert plan == likeliest(Roll(Whim(seed), PAST, read_goal(said), horizon=horizon), width=width)


@given(st.integers(0, 200), st.integers(1, 3))
def test_a_search_stops_when_nothing_better_can_come(seed: int, width: int) -> None:
    goal, policy = read_goal("the next Coagulation"), Whim(seed)
    found = likeliest(Roll(policy, PAST, goal, horizon=40), width=width)
    assert all(chain.reaches_goal for chain in found.chains)
    assert len(policy.asked) < 40 * width * (len(ACTIONS) - 1)


def test_what_is_common_does_not_push_out_what_the_goal_takes() -> None:
    """Among the two most probable chains of any length is none with a clipping, so plain beams never get there."""

    class Commonplace(Whim):
        def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
            choices = admissible(steps)
            rare = 0.001 if V in choices else 0.0
            return {a: rare if a == V else (1 - rare) / (len(choices) - (V in choices)) for a in choices}

    plan = likeliest(Roll(Commonplace(), PAST, read_goal("3 clippings"), horizon=9), width=2)
    assert plan.best.reaches_goal and plan.best.actions.count(V) == 3


def test_the_policy_is_told_the_goal_and_the_words_and_what_is_imagined() -> None:
    policy = Whim()
    likeliest(
        Roll(policy, PAST, read_goal("until both vessels are clipped"), horizon=3, words="mind the duct"), width=2
    )
    for steps, told, words in policy.asked:
        assert (told, words) == ("the vessels are clipped", "mind the duct")
        assert steps[: len(PAST)] == PAST and all(step.is_imagined for step in steps[len(PAST) :])
    assert {len(steps) for steps, _, _ in policy.asked} == {3, 4, 5}


def test_a_goal_that_is_reached_already_takes_no_step_and_no_question() -> None:
    policy = Whim()
    plan = likeliest(Roll(policy, PAST, read_goal("the first Dissection")))
    assert plan.chains == (Chain(steps=(), log_probability=0.0, reaches_goal=True),) and not policy.asked


def test_a_goal_out_of_reach_leaves_chains_to_the_horizon() -> None:
    plan = likeliest(Roll(Whim(), PAST, read_goal("3 more clippings"), horizon=4), width=3)
    assert [(len(chain.steps), chain.reaches_goal) for chain in plan.chains] == [(4, False)] * 3


def test_the_first_step_of_a_procedure_can_be_planned() -> None:
    plan = likeliest(Roll(NgramPolicy(), (), read_goal("the artery is clipped")), width=3)
    assert plan.best.reaches_goal and plan.best.actions[-1] == V


@pytest.mark.parametrize(
    ("horizon", "width", "draws", "wrong"),
    [(0, 3, 9, "`horizon` is 0"), (9, -1, 9, "`width` is -1"), (9, 3, 0, "`draws` is 0")],
)
def test_sizes_are_checked(horizon: int, width: int, draws: int, wrong: str) -> None:
    roll = Roll(Whim(), PAST, read_goal("the first clipping"), horizon=horizon)
    with pytest.raises(BadInput, match=f"{wrong}; expected 1 or more"):
        typical(roll, draws=draws, width=width)
    if draws:
        with pytest.raises(BadInput, match=f"{wrong}; expected 1 or more"):
            likeliest(roll, width=width)


@pytest.mark.parametrize("search", [likeliest, typical])
def test_a_search_can_be_halted(search: Callable[[Roll], HorizonPlan]) -> None:
    cancel = CancelToken()

    class Interrupted(Whim):
        def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
            if len(self.asked) == 3:
                cancel.pause("enough")
            return super().next_action(steps, goal=goal, words=words)

    policy = Interrupted()
    with pytest.raises(Paused):
        search(Roll(policy, PAST, read_goal("3 clippings"), cancel=cancel))
    assert len(policy.asked) == 4


@given(st.integers(0, 1000), st.sampled_from(SHORT_GOALS), st.integers(1, 12), st.integers(0, 3))
@hypothesis_settings(max_examples=25)
def test_what_is_drawn_is_chains_that_end_at_the_goal(seed: int, said: str, horizon: int, draw: int) -> None:
    roll = Roll(Whim(seed), PAST, read_goal(said), horizon=horizon)
    plan = typical(roll, draws=20, width=4, seed=draw)
    checked(plan, Whim(seed), width=4)
    assert plan == typical(roll, draws=20, width=4, seed=draw)
    assert plan.reached is not None and (plan.reached > 0) == plan.best.reaches_goal


def test_chains_are_drawn_as_often_as_they_are_probable() -> None:
    goal = read_goal("the next Coagulation")
    p = sum(p for _, p, reaches in exhaustive(Whim(5), goal, 3) if reaches)
    n = 400
    reached = typical(Roll(Whim(5), PAST, goal, horizon=3), draws=n).reached
    assert reached == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def test_the_typical_chain_takes_its_time_and_the_most_probable_does_not() -> None:
    """One in ten actions is clipping: it comes after ten or so, and at no place more probably than at once."""

    class Patient(Whim):
        def next_action(self, steps: Sequence[Step], *, goal: str = "", words: str = "") -> dict[Action, float]:
            choices = admissible(steps)
            return {action: 0.1 if action == V else 0.9 / (len(choices) - 1) for action in choices}

    roll = Roll(Patient(), PAST, read_goal("the artery is clipped"))
    assert likeliest(roll).best.actions == (V,)
    assert 6 <= np.median([len(typical(roll, seed=seed).best.actions) for seed in range(15)]) <= 9  # 7 of a geometric


def plain_distance(one: tuple[Action, ...], other: tuple[Action, ...]) -> int:
    """As it is defined."""
    if not one or not other:
        return len(one) + len(other)
    shorter = plain_distance(one[1:], other), plain_distance(one, other[1:]), plain_distance(one[1:], other[1:])
    return min(shorter[0] + 1, shorter[1] + 1, shorter[2] + (one[0] != other[0]))


short = st.lists(st.sampled_from(ACTIONS), max_size=5).map(tuple)


@given(short, short)
def test_edit_distances_are_levenshteins_by_the_longer_length(
    one: tuple[Action, ...], other: tuple[Action, ...]
) -> None:
    found = edit_distance(one, other)
    assert found * max(len(one), len(other), 1) == pytest.approx(plain_distance(one, other))
    assert found == edit_distance(other, one) and 0 <= found <= 1 and (found == 0) == (one == other)
