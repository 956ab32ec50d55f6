"""The gate is calibrated on held-out phantoms, and measured on known and on strange volumes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.carm import strangers
from loopwright.finetune.evaluate.carm.gate import calibrate_gate
from loopwright.finetune.evaluate.carm.strangers import Volumes, evaluate_strangers, must_ask, volumes_of, without_gate
from loopwright.finetune.evaluate.carm.tables import markdown
from loopwright.models.conformal import Calibration, fit_gate
from loopwright.models.networks.carm import BUNDLED, calibration_path, load_carm_network, weights_sha256
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.phantom.strangers import STRANGERS


def test_the_bundled_gate_says_on_what_it_was_calibrated() -> None:
    gate = Calibration.load(calibration_path(BUNDLED), weights_sha256(BUNDLED)).gate
    assert gate is not None and gate.false_alarm_rate == 0.02
    assert gate.n_groups == 100 and gate.n_views > 2_000 and gate.n_arrivals > 400
    assert gate.known_sigma_mm and gate.known_jump_mm


def test_limits_are_quantiles_over_volumes() -> None:
    groups = [n // 10 for n in range(1000)]
    values = [float(n % 10) for n in range(1000)]
    gate = fit_gate(0.2, values, groups, values, groups)
    assert (gate.n_groups, gate.n_views, gate.n_arrivals, gate.known_sigma_mm, gate.known_jump_mm) == (
        100, 1000, 1000, 8.0, 18.0,
    )  # fmt: skip
    assert fit_gate(0.001, values, groups, values, groups).known_sigma_mm is None


def test_a_gate_is_written_beside_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "net.safetensors"
    shutil.copy(BUNDLED, weights)
    with pytest.raises(BadInput, match="was never calibrated"):
        calibrate_gate(weights, phantoms=1, walks=1)
    shutil.copy(calibration_path(BUNDLED), calibration_path(weights))
    gate = calibrate_gate(weights, phantoms=2, walks=2, false_alarm_rate=0.45)
    kept = json.loads(calibration_path(weights).read_text())["gate"]
    assert kept == gate.model_dump(mode="json") and gate.n_groups == 2 and 0 < (gate.known_sigma_mm or 0) < 20
    seen = load_carm_network(weights).localise(np.zeros((128, 128), dtype=np.uint8))
    assert seen.known_sigma_mm == gate.known_sigma_mm and not seen.is_known


def test_known_and_strange_volumes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "VIEWS", 8)
    volumes = [
        Volumes("phantom", ["phantom:30100"], is_known=True),
        Volumes("legs", ["stranger:legs:1"], is_known=False),
    ]
    ended: list[object] = []
    rows = evaluate_strangers(volumes, 2, seed=0, on_run=ended.append)
    assert [(r.world, r.model, r.variant, r.n) for r in rows] == [
        ("phantom", "gate", "known", 2), ("phantom", "no gate", "known", 2),
        ("legs", "gate", "strange", 2), ("legs", "no gate", "strange", 2),
    ]  # fmt: skip
    known, _, strange, ungated = (r.figures for r in rows)
    assert known["asks"] <= 0.25 and strange["asks"] >= 0.75 and ungated["asks"] <= 0.25
    assert known["success"] == 1 and strange["not_found"] == 1 and strange["false_claims"] == 0
    assert len(ended) == 8 and strange["n_views"] == 8
    assert "| legs (strange) | gate |" in markdown("strangers", rows, [])


def test_all_kinds_are_measured() -> None:
    assert [v.name for v in volumes_of(["chest"], 2)] == ["chest", *STRANGERS]


def test_what_asks() -> None:
    seen = Localisation(
        nearest={"T1": 1.0}, offsets_mm={"T1": (0, 0)}, sigma_mm={"T1": 9.0}, nearest_set=("T1",), coverage=0.95
    )
    assert not must_ask(seen)
    assert must_ask(seen.model_copy(update={"nearest_set": ()}))
    strange = seen.model_copy(update={"known_sigma_mm": 8.0})
    assert must_ask(strange) and not must_ask(without_gate(strange))
