"""Temperature scaling: it finds the temperature that made the answers, and calibration errors as counted by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from loopwright.errors import BadInput
from loopwright.models.temperature import RANGE, expected_calibration_error, fit_temperature


def drawn(temperature: float, n: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores of 14 choices, and answers that were drawn from softmax(scores / temperature)."""
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=3.0, size=(n, 14))
    gumbel = rng.gumbel(size=scores.shape)  # argmax of logits + Gumbel noise is a draw from their softmax
    return scores, (scores / temperature + gumbel).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_finds_the_temperature_that_made_the_answers(temperature: float) -> None:
    scores, truth = drawn(temperature)
    assert fit_temperature(scores, truth) == pytest.approx(temperature, rel=0.06)


def test_scaling_makes_overconfident_scores_honest() -> None:
    scores, truth = drawn(3.0)
    fitted = fit_temperature(scores[:2000], truth[:2000])
    before, after = (
        expected_calibration_error(softmax(scores[2000:] / t, axis=1), truth[2000:]) for t in (1.0, fitted)
    )
    assert before > 0.2
    assert after < 0.04


@given(st.floats(-50, 50), st.floats(0.3, 3))
def test_only_differences_count_and_scale_carries_over(offset: float, factor: float) -> None:
    scores, truth = drawn(1.5, n=200)
    fitted = fit_temperature(scores, truth)
    assert fit_temperature(scores + offset, truth) == pytest.approx(fitted, rel=1e-3)
    assert fit_temperature(scores * factor, truth) == pytest.approx(fitted * factor, rel=1e-3)


def test_faultless_and_hopeless_answers_end_at_the_limits() -> None:
    scores, _ = drawn(1.0, n=50)
    assert fit_temperature(scores, scores.argmax(axis=1)) == pytest.approx(RANGE[0], rel=1e-3)
    assert fit_temperature(scores, scores.argmin(axis=1)) == pytest.approx(RANGE[1], rel=1e-3)


def test_calibration_error_by_hand() -> None:
    probabilities = [[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.65, 0.35]]
    # bin (0.9, 1]: sure 0.95, right 1/2; bin (0.6, 0.7]: sure 0.65, right 2/2
    assert expected_calibration_error(probabilities, [0, 1, 1, 0], n_bins=10) == pytest.approx((0.45 + 0.35) / 2)
    assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0
    assert expected_calibration_error(np.eye(3), [1, 2, 0]) == 1


@pytest.mark.parametrize(
    ("scores", "truth", "said"),
    [
        ([1.0, 2.0], [0], "shapes"),
        ([[1.0, 2.0]], [0, 1], "shapes"),
        (np.empty((0, 2)), [], "shapes"),
        ([[1.0, -np.inf]], [0], "infinities"),
        ([[1.0, 2.0]], [2], "indices from 0 to 1"),
        ([[1.0, 2.0]], [0.0], "indices"),
    ],
)
def test_bad_data_are_refused(scores: Any, truth: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fit_temperature(scores, truth)


def test_scores_are_no_probabilities() -> None:
    with pytest.raises(BadInput, match="sum to 1"):
        expected_calibration_error([[0.2, 0.2]], [0])
    with pytest.raises(BadInput, match="n_bins"):
        expected_calibration_error([[0.2, 0.8]], [0], n_bins=0)
