"""Split-conformal calibration: the coverage that is promised is the coverage that is had."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.errors import BadInput, IntegrityError
from loopwright.models.conformal import COVERAGES, Calibration, calibrate, quantile

SHA = "a" * 64


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_without_groups_it_is_the_textbook_quantile(scores: list[float], coverage: float) -> None:
    n = len(scores)
    place = int(np.ceil((n + 1) * coverage - 1e-9))
    expected = np.sort(scores)[place - 1] if place <= n else np.inf
    assert quantile(scores, np.arange(n), coverage) == expected


@pytest.mark.parametrize("coverage", COVERAGES)
def test_a_view_of_a_new_group_is_covered_as_promised(coverage: float) -> None:
    """Exchangeable groups of unequal size whose views share a strong group effect: what plain conformal gets wrong."""
    rng = np.random.default_rng(3)
    n_groups, trials = 40, 1500
    covered = 0
    for _ in range(trials):
        effect = rng.normal(0, 3, n_groups + 1)
        sizes = rng.integers(1, 12, n_groups)
        groups = np.repeat(np.arange(n_groups), sizes)
        scores = effect[groups] + rng.normal(size=groups.size)
        covered += effect[-1] + rng.normal() <= quantile(scores, groups, coverage)
    error = np.sqrt(coverage * (1 - coverage) / trials)
    assert covered / trials >= coverage - 3 * error
    assert covered / trials <= coverage + 1 / (n_groups + 1) + 3 * error


@given(st.lists(st.floats(0, 1), min_size=5, max_size=40), st.integers(2, 6))
@settings(max_examples=50)
def test_more_coverage_never_needs_a_smaller_threshold(scores: list[float], n_groups: int) -> None:
    groups = np.arange(len(scores)) % n_groups
    found = [quantile(scores, groups, c) for c in (0.1, 0.5, 0.8, 0.99)]
    assert found == sorted(found)


def test_too_few_groups_promise_nothing_finite() -> None:
    assert quantile(np.zeros(1000), np.zeros(1000), 0.9) == np.inf
    assert quantile(np.zeros(9), np.arange(9), 0.9) == 0.0


def test_missing_scores_are_left_out() -> None:
    assert quantile([np.nan, 1.0, 2.0], [0, 1, 2], 0.5) == 2.0


def test_bad_arguments_are_named() -> None:
    with pytest.raises(BadInput, match="`coverage` is 90"):
        quantile([1.0], [0], 90)
    with pytest.raises(BadInput, match="one shape"):
        quantile([1.0, 2.0], [0], 0.9)


@pytest.fixture
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    posterior = rng.beta(4, 1, size=900)
    error = np.stack([rng.exponential(size=900), np.full(900, np.nan)], axis=1)
    return calibrate(SHA, ("near", "never seen"), posterior, error, np.repeat(np.arange(100), 9))


def test_sets_grow_with_coverage_and_are_empty_where_the_posterior_is_too_flat(calibration: Calibration) -> None:
    some = {"a": 0.55, "b": 0.45, "c": 0.0, "d": 0.0}
    sets = [calibration.prediction_set(some, c) for c in COVERAGES]
    assert all(s[0] == "a" for s in sets)
    assert [len(s) for s in sets] == sorted(len(s) for s in sets)
    assert calibration.prediction_set({"a": 0.26, "b": 0.25, "c": 0.25, "d": 0.24}, 0.9) == ()
    sure = {"a": 0.999, "b": 0.001, "c": 0.0, "d": 0.0}
    assert calibration.prediction_set(sure, 0.9) == ("a",)


def test_radii_scale_with_sigma_and_are_none_where_nothing_was_seen(calibration: Calibration) -> None:
    one, two = calibration.radius_mm("near", 1.0, 0.9), calibration.radius_mm("near", 2.0, 0.9)
    assert one is not None and two == pytest.approx(2 * one)
    assert one == pytest.approx(np.log(10), rel=0.15)  # the 90 % point of Exp(1)
    assert calibration.radius_mm("never seen", 1.0, 0.9) is None


def test_a_level_that_was_not_calibrated_is_refused(calibration: Calibration) -> None:
    with pytest.raises(BadInput, match=r"0\.8; these weights were calibrated at"):
        calibration.prediction_set({"near": 1.0}, 0.8)


def test_the_file_reads_back_and_belongs_to_its_weights(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "w.conformal.json"
    calibration.save(path)
    assert Calibration.load(path, SHA) == calibration
    with pytest.raises(IntegrityError, match="calibrated for weights"):
        Calibration.load(path, "b" * 64)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"n_groups": 1})])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "w.conformal.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="is no conformal calibration"):
        Calibration.load(path, SHA)
