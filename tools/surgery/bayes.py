"""The best that anybody can do on simulated procedures: exact next-action probabilities, with and without vision.

    history+frame   all actions so far and the last clip's frame (the paper's memory mode iv)
    history         all actions so far, no vision: the visible state is filtered exactly
    frame+action    the last clip's frame and action (mode iii)
    frame           the last clip's frame alone (mode ii)

A frame shows the visible state and the instruments in view. Durations tell nothing that the actions do not.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from loopwright.errors import BadInput
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import BLEEDING, Array, Procedure, VisibleState
from loopwright.tools.surgery.simulator import Moment
from loopwright.tools.surgery.statistics import START
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

Known = Literal["history+frame", "history", "frame+action", "frame"]
KNOWN: tuple[Known, ...] = get_args(Known)


class BayesScore(NamedTuple):
    """Of the best predictor over some moments: top-1, top-2 and top-3 accuracy, expected and as it turned out."""

    expected: tuple[float, float, float]
    hit: tuple[float, float, float]
    n: int


def next_action(
    procedure: Procedure, known: Known, actions: Sequence[Action], last: Moment | None = None
) -> dict[Action, float]:
    """P(next action | what is known), exact, given that a next clip follows.

    Args:
        procedure: the one that made the clips.
        known: what the predictor may use of the rest.
        actions: of all clips so far.
        last: the last clip and its visible state; needed where a frame is known.

    Raises:
        BadInput: there is no clip yet, a frame is known and `last` is missing, or the procedure would never have come
            here by itself (something was performed instead).
    """
    if not actions:
        raise BadInput("There is no clip yet; expected the actions of one or more.")
    numbers = [ACTIONS.index(action) for action in actions]
    if known == "history":
        odds = _filtered(procedure, numbers)
    elif last is None:
        raise BadInput(f"`known` = {known!r} needs `last`, the clip whose frame is known.")
    else:
        odds = _seen(procedure, known, numbers, last.clip, last.state)
    if not odds.sum() > 0:
        raise BadInput(f"What is known cannot have come about by itself in this procedure: {', '.join(actions)}.")
    return {action: float(p) for action, p in zip(ACTIONS, odds / odds.sum(), strict=True)}


def next_action_from(
    procedure: Procedure, actions: Sequence[Action], state: VisibleState, planned: Sequence[Action] = ()
) -> dict[Action, float]:
    """P(next action | what is known), exact, once `planned` was performed too, which nobody saw.

    Args:
        procedure: the one that goes on.
        actions: of all clips so far, one or more.
        state: what is truly visible at the end of the last of them.
        planned: actions after them; what becomes visible is summed over.

    Raises:
        BadInput: there is no clip yet, or what is planned cannot follow.
    """
    if not actions:
        raise BadInput("There is no clip yet; expected the actions of one or more.")
    before, now = [START, *map(ACTIONS.index, actions)][-2:]
    belief = np.zeros_like(procedure.initial)
    belief[state.progress, BLEEDING.index(state.bleeding)] = 1.0
    odds = _onward(procedure, belief, before, [now, *map(ACTIONS.index, planned)])
    if not odds.sum() > 0:
        raise BadInput(f"{', '.join(planned)} cannot follow {actions[-1]} at {state!r} in this procedure.")
    return {action: float(p) for action, p in zip(ACTIONS, odds / odds.sum(), strict=True)}


def bayes_score(procedure: Procedure, known: Known, procedures: Iterable[Sequence[Moment]]) -> BayesScore:
    """The best predictor's score on simulated procedures: one prediction after each clip that another follows.

    The expectation is over what may come next at these very moments, so it has less noise than the hits.

    Raises:
        BadInput: no clip is followed by another.
    """
    expected, hits = [], []
    for moments in procedures:
        actions: list[Action] = [moment.clip.action for moment in moments]
        for i, following in enumerate(actions[1:]):
            odds = next_action(procedure, known, actions[: i + 1], moments[i])
            ranked = sorted(odds, key=lambda action: -odds[action])
            expected.append(np.cumsum([odds[action] for action in ranked[:3]]))
            hits.append([following in ranked[:k] for k in (1, 2, 3)])
    if not hits:
        raise BadInput("No clip is followed by another; expected procedures of two clips or more.")
    return BayesScore(_triple(expected), _triple(hits), len(hits))


def population_score(procedure: Procedure, known: Known) -> tuple[float, float, float]:
    """Top-1, top-2 and top-3 accuracy of the best predictor over all procedures, exact, by summing the chain.

    Raises:
        BadInput: for `history`, whose number of cases grows without end; use `bayes_score`.
    """
    joint = procedure.visits[..., None] * procedure.policy
    if known == "history+frame":
        cases = joint
    elif known == "frame+action":
        cases = joint.sum(axis=0)
    elif known == "frame":
        cases = np.einsum("ijpbn,js->pbsn", joint, _instrument_odds(procedure))
    else:
        raise BadInput(f"`known` = {known!r} has no finite sum; use `bayes_score` on simulated procedures.")
    ranked = -np.sort(-cases.reshape(-1, len(ACTIONS)), axis=1)
    top = (ranked.sum(axis=0).cumsum() / ranked.sum())[:3]
    return float(top[0]), float(top[1]), float(top[2])


def _seen(procedure: Procedure, known: Known, numbers: Sequence[int], clip: Clip, state: VisibleState) -> Array:
    place = (state.progress, BLEEDING.index(state.bleeding))
    if known == "history+frame":
        before = numbers[-2] if len(numbers) > 1 else START
        return np.asarray(procedure.policy[before, numbers[-1], *place])
    shown = np.eye(len(ACTIONS))[numbers[-1]]
    if known == "frame":
        names = "+".join(clip.instruments)
        shown = np.array([procedure.instruments(action).get(names, 0.0) for action in ACTIONS])
    odds: Array = np.einsum("ij,j,ijn->n", procedure.visits[:, :, *place], shown, procedure.policy[:, :, *place])
    return odds


def _filtered(procedure: Procedure, numbers: Sequence[int]) -> Array:
    """The next action's odds given the actions: an exact forward filter over what is visible, unseen."""
    belief = np.einsum("pb,pbqc->qc", procedure.initial, procedure.dynamics[numbers[0]])
    return _onward(procedure, belief, START, numbers)


def _onward(procedure: Procedure, belief: Array, before: int, numbers: Sequence[int]) -> Array:
    """The next action's odds after `numbers`, from P(visible (10, 3)) at the end of the first of them."""
    now = numbers[0]
    for following in numbers[1:]:
        belief = belief * (1 - procedure.end) * procedure.policy[before, now, ..., following]
        belief = np.einsum("pb,pbqc->qc", belief / (belief.sum() or 1.0), procedure.dynamics[following])
        before, now = now, following
    odds: Array = np.einsum("pb,pbn->n", belief * (1 - procedure.end), procedure.policy[before, now])
    return odds


def _instrument_odds(procedure: Procedure) -> Array:
    """(actions, sets) P(instruments in view | action)."""
    odds = [procedure.instruments(action) for action in ACTIONS]
    sets = sorted(set().union(*odds))
    return np.array([[seen.get(names, 0.0) for names in sets] for seen in odds])


def _triple(rows: Sequence[object]) -> tuple[float, float, float]:
    top = np.array(rows, dtype=np.float64).mean(axis=0)
    return float(top[0]), float(top[1]), float(top[2])
