"""Runs of the C-arm loop to train in."""

import json
from pathlib import Path

import pytest

from loopwright.cli import main
from loopwright.graphs.carm.run import CArmRun


def test_runs_over_one_phantom_follow_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "runs.jsonl"
    command = ["data", "episodes", "carm", "--out", str(out), "--phantoms", "2", "--n", "12", "--part", "validation"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "runs": 12}
    runs = [CArmRun.model_validate_json(line) for line in out.read_text(encoding="utf-8").splitlines()]
    first, second = "phantom:10000", "phantom:10001"
    assert [run.volume for run in runs] == [first] * 4 + [second] * 4 + [first] * 4
    assert all(run.start != run.target[0] and run.navigator == "vlm" for run in runs)
    assert len({(run.volume, run.start, run.target) for run in runs}) == 12
