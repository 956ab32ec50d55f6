"""What SCSR makes of labels: figures of a known predictor, and of the bundled network."""

from collections.abc import Mapping

from loopwright.agents.recipe.judge import SETS, LabelSet, Prediction
from loopwright.finetune.evaluate.recipe.selection import measure
from loopwright.models.networks.recipe import load_network
from loopwright.tools.recipe.dish import SimulatedDish


def guess(dish: SimulatedDish) -> Mapping[LabelSet, Prediction]:
    """Half of the truth, and as many labels that are wrong."""
    found: dict[LabelSet, Prediction] = {}
    for what in SETS:
        true = sorted(getattr(dish.labels, what))
        wrong = [name for name in getattr(dish.known, what).classes if name not in true][: len(true)]
        found[what] = Prediction(labels=(*true, *wrong))
    return found


def test_a_judge_who_looks_again_raises_the_precision_of_a_blind_predictor() -> None:
    found = measure(load_network(), 12, predict=guess)
    by = {(row.what, row.rule): row for row in found.selections}
    for what in SETS:
        blind, rectified = by[what, "predicted"], by[what, "SCSR, n = 3"]
        assert (blind.precision, blind.recall, blind.n) == (0.5, 1.0, 12)
        assert rectified.precision > blind.precision + 0.1
        assert rectified.f1_ci[0] <= rectified.f1 <= rectified.f1_ci[1]
        assert by[what, "SCSR, n = 6"].labels_per_dish >= rectified.labels_per_dish
