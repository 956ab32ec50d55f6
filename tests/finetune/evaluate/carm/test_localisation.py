"""Metrics against hand-counted cases, intervals against simulation, and the whole evaluation on a phantom."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.carm.localisation import evaluate_localisation
from loopwright.finetune.measure import metrics
from loopwright.finetune.measure.intervals import cluster_bootstrap
from loopwright.finetune.measure.rows import Bar, averaged, json_lines, summary
from loopwright.models.networks.carm import (
    CArmLocaliser,
    CArmNetwork,
    NetworkConfig,
    load_carm_network,
    save_carm_network,
)
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import LANDMARKS

NAN = np.nan
DISTANCE = np.array([[10.0, 20, 30, 40, 50], [50, 40, NAN, 20, 10]])


def test_precision_and_recall_count_the_three_nearest() -> None:
    ranking = metrics.rank(np.array([[5.0, 1, 2, 3, 4], [1, 2, 9, 3, 4]]))
    assert ranking.tolist() == [[0, 4, 3, 2, 1], [2, 4, 3, 1, 0]]
    assert metrics.precision_at(ranking, DISTANCE, 1).tolist() == [1.0, 0.0]
    assert metrics.precision_at(ranking, DISTANCE, 3) == pytest.approx([1 / 3, 2 / 3])
    assert metrics.recall_at(ranking, DISTANCE, 1) == pytest.approx([1 / 3, 0])
    assert metrics.exact_nearest(ranking, DISTANCE).tolist() == [1.0, 0.0]
    assert metrics.hit_at(ranking, np.array([4, 4]), 2).tolist() == [1.0, 1.0]


def test_masked_candidates_come_last() -> None:
    ranking = metrics.rank(np.array([[1.0, 2, 9, 3, 4]]), ~np.isnan(DISTANCE[1:]))
    assert ranking[0].tolist() == [4, 3, 1, 0, 2]
    assert metrics.ordered_triple(ranking, DISTANCE[1:]).tolist() == [1.0]


def test_a_perfect_ranking_scores_one_everywhere() -> None:
    distance = np.random.default_rng(0).uniform(0, 300, (50, 14))
    perfect = metrics.rank(-distance)
    for k in (1, 2, 3):
        assert (metrics.precision_at(perfect, distance, k) == 1).all()
    assert (metrics.ordered_triple(perfect, distance) == 1).all()


def test_in_view_means_both_offsets() -> None:
    offsets = np.array([[[10.0, 76.0], [10.0, 78.0], [NAN, NAN]]])
    assert metrics.in_view(offsets, 77.0).tolist() == [[True, False, False]]
    assert metrics.offset_error_mm(offsets, offsets + np.array([3.0, 4.0]))[0, 0] == pytest.approx(5.0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 10)
    held = 0
    for trial in range(200):
        values = rng.normal(0, 1, 30)[clusters] + rng.normal(0, 0.3, 300)
        found = cluster_bootstrap(values, clusters, resamples=400, seed=trial)
        held += found.low <= 0 <= found.high
    assert 0.86 <= held / 200 <= 0.99


def test_one_case_has_no_interval_and_missing_values_are_left_out() -> None:
    alone = cluster_bootstrap([1.0, NAN, 3.0], ["chest"] * 3)
    assert alone.mean == 2.0 and np.isnan(alone.low)
    assert np.isnan(cluster_bootstrap([NAN], ["a"]).mean)
    with pytest.raises(BadInput, match="one shape"):
        cluster_bootstrap([1.0], ["a", "b"])


def test_rows_are_json_lines_and_the_last_says_whether_the_bars_were_met() -> None:
    row = averaged("localisation", "phantom", "m", "all", {"p1": [1.0, 0.0, 1.0], "x": [NAN] * 3}, ["a", "a", "b"])
    bars = [Bar("p1", row.figures["p1"], 0.6), Bar("unmeasured", NAN, 0.5)]
    lines = [json.loads(line) for line in json_lines([row], summary("localisation", bars))]
    assert lines[0]["p1"] == pytest.approx(0.6667) and lines[0]["n"] == 3 and lines[0]["n_cases"] == 2
    assert lines[0]["x"] is None and len(lines[0]["p1_ci"]) == 2
    assert [b["met"] for b in lines[1]["bars"]] == [True, False] and lines[1]["bars_met"] is False
    assert summary("localisation", [])["bars_met"] is None


@pytest.fixture
def untrained(tmp_path: Path) -> CArmLocaliser:
    torch.manual_seed(0)
    prior = dict.fromkeys(LANDMARKS, 1 / 14)
    network = CArmNetwork(NetworkConfig(widths=(8, 8, 16), blocks=(1, 1, 1), neck=8))
    save_carm_network(tmp_path / "w.safetensors", network, LANDMARKS, {"prior": json.dumps(prior)})
    return load_carm_network(tmp_path / "w.safetensors")


def test_an_untrained_network_is_measured_as_chance(untrained: CArmLocaliser, phantom: Case) -> None:
    rows, bars = evaluate_localisation(untrained, [phantom], 40, world="phantom", size_px=64)
    by = {(r.what, r.model, r.variant): r for r in rows}
    chance = by["localisation", "chance", "all"].figures
    assert chance["p1"] == chance["p3"] == pytest.approx(3 / 14) and chance["h2"] == pytest.approx(2 / 14)
    network = by["localisation", "network", "all"]
    assert network.n == 40 and network.n_cases == 1 and network.figures["n_centred"] == 14
    assert network.figures["ordered_triple"] < 0.2
    assert by["displacement", "image-centre", "in view"].figures["median_mm"] > 20
    assert len(bars) == 4 and not all(bar.is_met for bar in bars)
    assert not [r for r in rows if r.what == "conformal"]


def test_worlds_without_bars_and_wrong_input(untrained: CArmLocaliser, phantom: Case) -> None:
    assert evaluate_localisation(untrained, [phantom], 2, world="chest", size_px=32)[1] == []
    with pytest.raises(BadInput, match="`cases` is empty"):
        evaluate_localisation(untrained, [], 2, world="chest")
    renamed = CArmLocaliser(untrained.network, tuple(reversed(LANDMARKS)))
    with pytest.raises(BadInput, match="`localiser` names"):
        evaluate_localisation(renamed, [phantom], 2, world="chest")
