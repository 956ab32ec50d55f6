"""The temperature that makes a model's probabilities of the next action honest, on simulated validation patients.

What a model card is told as `choice_temperature`. No test patient is seen.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax

from loopwright.finetune.evaluate.surgery.baselines import history_of
from loopwright.finetune.evaluate.surgery.models import ROLES, Sights, Surgeon
from loopwright.finetune.evaluate.surgery.next_action import simulated_fold
from loopwright.models.temperature import expected_calibration_error, fit_temperature
from loopwright.schema import Frozen
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.vocabulary import ACTIONS


class SurgeonFit(Frozen):
    """What was found. Log likelihoods are the mean of the truth's, natural; `ece` is the calibration error."""

    model: str
    n: int
    n_cases: int
    choice_temperature: Mapping[str, float]
    ece: Mapping[str, float]
    log_likelihood: Mapping[str, float]


def fit_surgeon(surgeon: Surgeon, procedure: Procedure, patients: int, sights: Sights) -> SurgeonFit:
    """Fit on so many validation patients.

    Args:
        surgeon: a model whose card has no temperature yet.
        procedure: simulates them.
        patients: how many.
        sights: what it is shown of them.
    """
    fold, _ = simulated_fold(procedure, patients)
    asked = [history_of(sample) for sample in fold.training.choosing]
    odds = surgeon.fit(sights)(fold.training)(asked)
    # The last action cannot follow itself: what is left are four choices, in an order of their own for each question.
    open_to = np.array([[k for k, action in enumerate(ACTIONS) if action != history.actions[-1]] for history in asked])
    truth = np.array(
        [list(row).index(ACTIONS.index(s.next)) for row, s in zip(open_to, fold.training.choosing, strict=True)]
    )
    log_probs = np.log(np.maximum(np.take_along_axis(odds, open_to, axis=1), np.finfo(np.float64).tiny))
    temperature = fit_temperature(log_probs, truth)
    scaled = {"before": softmax(log_probs, axis=1), "after": softmax(log_probs / temperature, axis=1)}
    return SurgeonFit(
        model=surgeon.name,
        n=len(asked),
        n_cases=patients,
        choice_temperature={ROLES[surgeon.kind]: temperature},
        ece={name: expected_calibration_error(probabilities, truth) for name, probabilities in scaled.items()},
        log_likelihood={
            name: float(np.log(probabilities[np.arange(len(truth)), truth]).mean())
            for name, probabilities in scaled.items()
        },
    )
