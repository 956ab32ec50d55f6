"""Runs the semi-Markov procedure: a patient's clips and what is visible at their ends, one after the other.

A seed is a patient. Each clip has random numbers of its own, so an action that somebody asks for instead changes what
follows from it and nothing else. Knows no picture.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from loopwright.errors import BadInput
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import BLEEDING, DUCT_CLIPPED, Array, Procedure, VisibleState
from loopwright.tools.surgery.splits import Part
from loopwright.tools.surgery.statistics import START, Stage
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

FIRST_SEED: Mapping[Part, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
"""A simulated patient's seed says which part the patient is for."""
SEEDS_A_PART = 1_000_000
_PHASE_OF: Mapping[Stage, str] = {
    "calot": "calot-triangle-dissection",
    "clipping": "clipping-and-cutting",
    "liver bed": "gallbladder-dissection",
    "cleaning": "cleaning-and-coagulation",
}
_LONGEST_S = 600.0
_SHORTEST_S = 3.0


class Moment(NamedTuple):
    """A clip, what is visible at its end, and what of the instruments."""

    clip: Clip
    state: VisibleState


def seeds_of(part: Part, count: int) -> range:
    """The first `count` simulated patients of a part.

    Raises:
        BadInput: a part has not so many.
    """
    if not 0 <= count <= SEEDS_A_PART:
        raise BadInput(f"`count` = {count}; a part has 0 to {SEEDS_A_PART} simulated patients.")
    return range(FIRST_SEED[part], FIRST_SEED[part] + count)


def video_name(seed: int) -> str:
    """`simulated-7`."""
    return f"simulated-{seed}"


def seed_of(video: str) -> int | None:
    """The seed in a simulated patient's name; None where it is none."""
    prefix, _, digits = video.rpartition("-")
    return int(digits) if prefix == "simulated" and digits.isascii() and digits.isdigit() else None


def simulate(procedure: Procedure, seed: int, instead: Mapping[int, Action] | None = None) -> Iterator[Moment]:
    """A patient's procedure, clip by clip, to its end. The same seed gives the same patient.

    Args:
        procedure: the fitted chain.
        seed: of the patient, 0 or more.
        instead: actions that are performed at these clips, whatever the procedure would have done.

    Raises:
        BadInput: an action in `instead` is that of the clip before it, which would make the two one clip.
    """
    start_s, index, before, now = 0, 0, START, START
    rng = np.random.default_rng([seed, index])
    state = _drawn(rng, procedure.initial)
    while True:
        odds = procedure.first if now == START else procedure.policy[before, now, *state]
        usual = int(_drawn(rng, odds)[0])
        performed = ACTIONS.index(instead[index]) if instead and index in instead else usual
        if performed == now:
            raise BadInput(f"Clip {index} cannot be {ACTIONS[now]!r}: the clip before it is, so the two would be one.")
        worked_on, state = state, _drawn(rng, procedure.dynamics[performed, *state])
        clip = _clip(procedure, rng, video_name(seed), index, performed, start_s, worked_on, _visible(state))
        yield Moment(clip, _visible(state))
        before, now, start_s, index = now, performed, clip.end_s + 1, index + 1
        if rng.random() < procedure.end[state]:
            return
        rng = np.random.default_rng([seed, index])


def _drawn(rng: np.random.Generator, odds: Array) -> tuple[int, ...]:
    """A place in an array of probabilities. One random number, whatever the odds."""
    place = int(np.searchsorted(odds.cumsum(), rng.random() * odds.sum(), side="right"))
    return tuple(int(i) for i in np.unravel_index(min(place, odds.size - 1), odds.shape))


def _visible(state: tuple[int, ...]) -> VisibleState:
    return VisibleState(progress=state[0], bleeding=BLEEDING[state[1]])


def _clip(
    procedure: Procedure,
    rng: np.random.Generator,
    video: str,
    index: int,
    performed: int,
    start_s: int,
    worked_on: tuple[int, ...],
    after: VisibleState,
) -> Clip:
    action = ACTIONS[performed]
    duration = procedure.statistics.durations[action]
    seconds = float(np.exp(rng.normal(duration.log_mean, duration.log_sd)))
    length_s = round(min(max(seconds, _SHORTEST_S), _LONGEST_S))
    seen = procedure.instruments(action)
    (place,) = _drawn(rng, np.array(list(seen.values())))
    return Clip(
        video=video,
        index=index,
        action=action,
        start_s=start_s,
        end_s=start_s + length_s - 1,
        labelled_s=length_s,
        phase=_PHASE_OF[after.stage],
        instruments=dict.fromkeys(list(seen)[place].split("+"), length_s),
        targets={_target(action, _visible(worked_on)): length_s},
    )


def _target(action: Action, state: VisibleState) -> str:
    """What an action works on, given what was visible before it."""
    if action == "Coagulation":
        return "blood_vessel" if state.bleeding != "none" else "liver"
    if action == "Aspiration":
        return "fluid"
    if action == "Vessel Clipping":
        return "cystic_duct" if state.vessels_clipped else "cystic_artery"
    if action == "Dissection" and state.progress < DUCT_CLIPPED:
        return "adhesion" if state.adhesions else ("cystic_plate", "cystic_plate", "cystic_duct")[state.exposure]
    return "gallbladder"
