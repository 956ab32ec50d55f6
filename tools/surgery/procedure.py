"""A semi-Markov gallbladder removal: the next action depends on the last two and on what is visible.

    visible: progress    adhesions (2) > covered duct > partly exposed > exposed > artery clipped > duct clipped
                         > gallbladder a third off > two thirds off > detached
             bleeding    none, oozing (calls for Coagulation), pooling (calls for Aspiration)

    P(next | before, now, visible) is proportional to base[stage, before, now, next] * call[next, visible].

How strongly a sight calls for an action is ours (`ProcedureDesign`): nobody labelled sights. All else comes from real
clips (`loopwright.tools.surgery.statistics`): `base` is fitted, by iterative proportional fitting on the exact chain,
so that what follows what, two actions back and by stage, is as frequent as in the clips; the rates of progress so that
stages are as long. Durations and instruments in view depend on the action alone, so they tell nothing about the next
one that the action does not. Knows no picture and no predictor.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loopwright.schema import Frozen
from loopwright.tools.surgery.statistics import STAGES, START, ClipStatistics, Stage, bundled_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS, Action, Instrument

Bleeding = Literal["none", "oozing", "pooling"]
BLEEDING: tuple[Bleeding, ...] = get_args(Bleeding)
PROGRESS = (
    "dense adhesions",
    "light adhesions",
    "duct covered",
    "duct partly exposed",
    "duct exposed",
    "artery clipped",
    "duct clipped",
    "gallbladder a third off",
    "gallbladder two thirds off",
    "gallbladder detached",
)
COVERED, EXPOSED, ARTERY_CLIPPED, DUCT_CLIPPED, DETACHED = 2, 4, 5, 6, 9
_A, _C, _D, _R, _V = range(len(ACTIONS))
_NONE, _OOZING, _POOLING = range(len(BLEEDING))

Array = NDArray[np.float64]

_INSTRUMENT: dict[Action, Instrument] = {
    "Aspiration": "irrigator",
    "Coagulation": "bipolar",
    "Dissection": "hook",
    "Tissue Retraction": "grasper",
    "Vessel Clipping": "clipper",
}
"""In view where the statistics have never seen the action."""
_SMOOTH_PAIRS, _SMOOTH_TRIPLES, _SMOOTH_ALL = 2.0, 3.0, 0.2
"""Imagined clips, spread as the next coarser table has it: trigrams towards bigrams, these towards all stages'."""
_FITTING_STEPS = 20


class VisibleState(Frozen):
    """What a frame shows of the patient."""

    progress: int = Field(ge=0, lt=len(PROGRESS), description="index in PROGRESS")
    bleeding: Bleeding = "none"

    @property
    def adhesions(self) -> int:
        """2 dense, 1 light, 0 none."""
        return max(0, COVERED - self.progress)

    @property
    def exposure(self) -> int:
        """Of duct and artery: 0 covered, 1 partly, 2 exposed."""
        return min(2, max(0, self.progress - COVERED))

    @property
    def vessels_clipped(self) -> int:
        """0, 1 (the artery) or 2 (the duct too)."""
        return min(2, max(0, self.progress - EXPOSED))

    @property
    def thirds_detached(self) -> int:
        """How much of the gallbladder is off the liver, 0 to 3."""
        return max(0, self.progress - DUCT_CLIPPED)

    @property
    def stage(self) -> Stage:
        """The stage of the procedure."""
        return STAGES[int(_STAGE_OF[self.progress])]


class ProcedureDesign(Frozen):
    """What no label tells: how strongly a sight calls for an action, and how bleeding comes and goes."""

    call: float = Field(default=60, gt=1, description="weight of Coagulation when oozing, of Aspiration when pooling")
    uncalled: float = Field(
        default=0.05, gt=0, le=1, description="their weight, and Vessel Clipping's, at other sights"
    )
    clip_call: float = Field(default=20, gt=1, description="weight of Vessel Clipping when the vessels are exposed")
    adhesion_call: float = Field(default=3, gt=1, description="weight of Dissection at adhesions")
    onset: float = Field(default=0.5, gt=0, le=1, description="bleeding begins so often as its remedy follows, times")
    remedy: float = Field(default=0.9, gt=0, le=1, description="how often Coagulation or Aspiration succeeds")
    worsening: float = Field(default=0.1, ge=0, lt=1, description="how often oozing left alone pools in a clip")
    start: tuple[float, float, float] = Field(default=(0.25, 0.35, 0.4), description="dense, light, no adhesions")


@dataclass(frozen=True, kw_only=True, eq=False)
class Procedure:
    """The fitted chain. Axes: before (actions and START), now, progress, bleeding, next.

    Attributes:
        policy: (6, 5, 10, 3, 5) P(next action | the last two, what is visible at the end of the last clip).
        dynamics: (5, 10, 3, 10, 3) P(visible after | action, visible before).
        first: (5,) P(first action); initial: (10, 3) P(visible before it).
        end: (10, 3) P(the procedure ends after a clip | visible).
        visits: (6, 5, 10, 3) expected number of clips of a procedure that another follows, exact.
        statistics: what it was fitted to.
    """

    policy: Array
    dynamics: Array
    first: Array
    initial: Array
    end: Array
    visits: Array
    statistics: ClipStatistics

    def instruments(self, action: Action) -> dict[str, float]:
        """P(instruments in view | action), by names as `grasper+hook`."""
        seen = self.statistics.instruments[action] or {_INSTRUMENT[action]: 1}
        return {names: n / sum(seen.values()) for names, n in seen.items()}


_STAGE_OF = np.array([0] * ARTERY_CLIPPED + [1] + [2] * (DETACHED - DUCT_CLIPPED) + [3])
"""(10,) stage of each degree of progress."""
_DRIVER = np.array([_D] * EXPOSED + [_V] * 2 + [_D] * 3 + [-1])
"""(10,) the action that leads on from each degree of progress."""


def fit_procedure(statistics: ClipStatistics, design: ProcedureDesign | None = None) -> Procedure:
    """The procedure whose actions follow each other as in the statistics. Takes about two seconds.

    Args:
        statistics: of the patients that may be known.
        design: what statistics do not tell.
    """
    design = design or ProcedureDesign()
    pairs, target = _smoothed(statistics)
    call = _call(design)
    first = np.array(statistics.first, dtype=np.float64) + _SMOOTH_ALL
    first[_V] = 0.0
    initial = np.zeros((len(PROGRESS), len(BLEEDING)))
    initial[: COVERED + 1, _NONE] = np.array(design.start) / sum(design.start)

    def chain(base: Array, rates: Array) -> Procedure:
        policy, dynamics = _policy(base, call), _dynamics(pairs, rates, design)
        end = np.zeros_like(initial)
        end[DETACHED, _NONE] = rates[STAGES.index("cleaning")]
        visits = _visits(policy, dynamics, _normal(first), initial, end)
        return Procedure(
            policy=policy,
            dynamics=dynamics,
            first=_normal(first),
            initial=initial,
            end=end,
            visits=visits,
            statistics=statistics,
        )

    base, rates = target, np.array([0.3, min(0.95, 2 / max(statistics.clippings, 1.0)), 0.3, 0.1])
    procedure = chain(base, rates)
    for _ in range(_FITTING_STEPS):
        base = _nearer(base, target, procedure.policy, procedure.visits)
        rates = _paced(rates, procedure.visits / (1 - procedure.end), statistics)
        procedure = chain(base, rates)
    return procedure


@cache
def bundled_procedure() -> Procedure:
    """The procedure that is fitted to the bundled statistics."""
    return fit_procedure(bundled_statistics())


def _smoothed(statistics: ClipStatistics) -> tuple[Array, Array]:
    """P(next | stage, now) (4, 5, 5), and P(next | stage, before, now) (4, 6, 5, 5)."""
    triples = np.array(statistics.trigrams, dtype=np.float64)
    pairs = triples.sum(axis=1)
    everywhere = pairs.sum(axis=0) + _SMOOTH_ALL
    # none follows itself; later there is nothing left to clip, then nothing to dissect
    possible = np.broadcast_to(1 - np.eye(len(ACTIONS)), pairs.shape).copy()
    possible[STAGES.index("liver bed") :, :, _V] = 0
    possible[STAGES.index("cleaning"), :, _D] = 0
    coarse = _normal(everywhere * possible)
    pairs = _normal((pairs + _SMOOTH_PAIRS * coarse) * possible)
    return pairs, _normal((triples + _SMOOTH_TRIPLES * pairs[:, None]) * possible[:, None])


def _call(design: ProcedureDesign) -> Array:
    """(10, 3, 5) weight of each action at each sight."""
    call = np.ones((len(PROGRESS), len(BLEEDING), len(ACTIONS)))
    call[..., [_A, _C]] = design.uncalled
    call[:, _OOZING, _C] = call[:, _POOLING, _A] = design.call
    call[..., _V] = 0.0
    call[EXPOSED : ARTERY_CLIPPED + 1, :, _V] = design.uncalled
    call[EXPOSED : ARTERY_CLIPPED + 1, _NONE, _V] = design.clip_call
    call[:COVERED, :, _D] = design.adhesion_call
    call[DETACHED, :, _D] = 0.0
    return call


def _policy(base: Array, call: Array) -> Array:
    """(6, 5, 10, 3, 5): P(next | before, now, visible)."""
    return _normal(np.moveaxis(base[_STAGE_OF], 0, 2)[:, :, :, None, :] * call)


def _dynamics(pairs: Array, rates: Array, design: ProcedureDesign) -> Array:
    """(5, 10, 3, 10, 3): P(visible after | action, visible before)."""
    dynamics = np.zeros((len(ACTIONS), len(PROGRESS), len(BLEEDING), len(PROGRESS), len(BLEEDING)))
    for action in range(len(ACTIONS)):
        for progress, stage in enumerate(_STAGE_OF):
            onset = np.minimum(design.onset * pairs[stage, action, [_C, _A]], 0.45)
            bleeding = _bleeding(action, float(onset[0]), float(onset[1]), design)
            on = rates[stage if action == _D else 1] if _DRIVER[progress] == action else 0.0
            dynamics[action, progress, :, progress] = (1 - on) * bleeding
            if on:
                dynamics[action, progress, :, progress + 1] = on * bleeding
    return dynamics


def _bleeding(action: int, oozes: float, pools: float, design: ProcedureDesign) -> Array:
    """(3, 3) P(bleeding after | bleeding before) of one clip of an action."""
    fails, w = 1 - design.remedy, design.worsening
    if action == _C:
        still = np.array([0.0, 0.0, 1.0])
        return np.array(
            [
                [1 - pools, 0.0, pools],
                [design.remedy * (1 - pools), fails * (1 - pools), pools],
                still,
            ]
        )
    if action == _A:
        return np.array(
            [
                [1 - oozes, oozes, 0.0],
                [0.0, 1.0, 0.0],
                [design.remedy * (1 - oozes), design.remedy * oozes, fails],
            ]
        )
    return np.array([[1 - oozes - pools, oozes, pools], [0.0, 1 - w, w], [0.0, 0.0, 1.0]])


def _visits(policy: Array, dynamics: Array, first: Array, initial: Array, end: Array) -> Array:
    """(6, 5, 10, 3) expected clips of a procedure that another follows.

    Exact: the visits v of an absorbing chain solve v = entry + v T.
    """
    shape = policy.shape[:-1]
    entry = np.zeros(shape)
    entry[START] = first[:, None, None] * np.einsum("pb,apbqc->aqc", initial, dynamics)
    onward = np.einsum("ijpb,ijpbn,npbqc->ijpbnqc", np.broadcast_to(1 - end, shape), policy, dynamics)
    transition = np.zeros((*shape, *shape))
    for now in range(len(ACTIONS)):
        transition[:, now, :, :, now] = onward[:, now]
    states = entry.size
    matrix = np.eye(states) - transition.reshape(states, states)
    clips = np.linalg.solve(matrix.T, entry.ravel()).reshape(shape)
    visits: Array = clips * (1 - end)
    return visits


def _nearer(base: Array, target: Array, policy: Array, visits: Array) -> Array:
    """One step of iterative proportional fitting: `base` (4, 6, 5, 5), scaled by wanted over shown."""
    flow = np.einsum("ijpb,ijpbn->pijn", visits, policy)
    shown = np.stack([flow[stage == _STAGE_OF].sum(axis=0) for stage in range(len(STAGES))])
    wanted = target * shown.sum(axis=-1, keepdims=True)
    ratio = np.divide(wanted, shown, out=np.ones_like(shown), where=shown > 1e-9)
    return _normal(base * ratio)


def _paced(rates: Array, clips: Array, statistics: ClipStatistics) -> Array:
    """Rates of progress, and of ending, nearer to those with which stages are as long as in the clips."""
    by_progress = clips.sum(axis=(0, 1, 3))
    paced = rates.copy()
    for stage in (STAGES.index("calot"), STAGES.index("liver bed"), STAGES.index("cleaning")):
        spent = by_progress[stage == _STAGE_OF].sum()
        paced[stage] = np.clip(rates[stage] * spent / max(statistics.stage_clips[stage], 1.0), 0.02, 0.95)
    return paced


def _normal(weights: Array) -> Array:
    total = weights.sum(axis=-1, keepdims=True)
    normal: Array = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return normal
