"""What each view of the past is worth: the four memory modes of the ablation (Xu et al. 2025, Fig. 4), simulated.

Every mode is asked of one adapter about the same moments; the best that anybody can do with what a mode shows stands
beside it. Differences are paired moment by moment, with intervals over patients.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from loopwright.agents.surgery.history import MemoryMode
from loopwright.finetune.evaluate.surgery.baselines import Predictor, Training, history_of
from loopwright.finetune.evaluate.surgery.models import Sights, Surgeon
from loopwright.finetune.evaluate.surgery.next_action import (
    best_predictor,
    difference_of,
    scored,
    simulated_fold,
)
from loopwright.finetune.measure.rows import Row
from loopwright.tools.surgery.bayes import Known
from loopwright.tools.surgery.procedure import Procedure

WHAT = "memory"
DIFFERENCE = "memory difference"
BEST_OF: Mapping[MemoryMode, Known] = {
    "image-action": "frame+action",
    "near": "frame",
    "near-action": "frame+action",
    "all": "history+frame",
}
"""What each mode shows, in the order (i) to (iv)."""
COMPARED: tuple[tuple[MemoryMode, MemoryMode], ...] = (("all", "near-action"), ("near-action", "near"))
"""Mode iv with iii, and iii with ii."""


def evaluate_memory(
    procedure: Procedure,
    patients: int,
    surgeons: Sequence[Surgeon],
    sights: Sights,
    *,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows of each model and of Bayes in each mode, and of the differences between modes.

    Raises:
        BadInput: an adapter may know who is tested.
    """
    fold, tested = simulated_fold(procedure, patients)
    asked = list(map(history_of, fold.test))
    predictors: dict[str, Callable[[MemoryMode], Predictor]] = {
        surgeon.name: partial(_fitted, surgeon, sights, fold.training, on_progress) for surgeon in surgeons
    }
    predictors["bayes"] = lambda mode: best_predictor(procedure, BEST_OF[mode], tested)
    rows: list[Row] = []
    for model, in_mode in predictors.items():
        odds = {}
        for mode in BEST_OF:
            on_progress(f"memory: {model}, {mode}")
            odds[mode] = in_mode(mode)(asked)
        rows += [
            scored("simulated", model, fold.test, of_mode).model_copy(update={"what": WHAT, "variant": mode})
            for mode, of_mode in odds.items()
        ]
        rows += [
            difference_of(DIFFERENCE, "simulated", model, f"{more} minus {less}", fold.test, (odds[more], odds[less]))
            for more, less in COMPARED
        ]
    return rows


def _fitted(
    surgeon: Surgeon, sights: Sights, training: Training, on_progress: Callable[[str], object], mode: MemoryMode
) -> Predictor:
    return surgeon.fit(sights, mode=mode, on_progress=on_progress)(training)
