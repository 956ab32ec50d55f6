"""`loopwright eval drive --what open`: what it prints and writes, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tools.drive import recordings

from loopwright.cli.drive.evaluate import evaluate
from loopwright.errors import BadInput


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for path in paths:
        rows = [recordings.planning_row(log=path.stem, token=str(k)) for k in range(3)]
        path.write_text("\n".join(map(json.dumps, rows)))
    return paths


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_last_line_is_a_summary(logs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = tmp_path / "mine.json"
    predictions.write_text(json.dumps({"a/0": [[5.0 * k, 0.0] for k in range(1, 7)], "a/1": "what?"}))
    code = evaluate(data=logs, predictions=[predictions], out=tmp_path / "out", as_json=True)
    *rows, last = lines(capsys)
    assert {"what", "world", "model", "n", "l2_3s", "l2_to_avg", "collision_any_3s", "parsed"} <= set(rows[0])
    assert last["summary"] == "drive open" and last["n"] == 6
    assert last["headline"]["mine"]["parsed"] == pytest.approx(1 / 6, abs=1e-3)
    assert (code, last["bars_met"]) == (0, None)  # constant velocity is right everywhere: nothing can be saved
    assert json.loads((tmp_path / "out" / "drive-open.json").read_text())["rows"] == rows
    assert (tmp_path / "out" / "drive-open.png").is_file()
    assert "1 / 6" in (tmp_path / "out" / "drive-open.md").read_text()


def test_a_missed_bar_is_told_by_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for path in paths:
        future = [[5.0 * k, 0.5 * k] for k in range(1, 7)]  # nothing in the past says so
        path.write_text(json.dumps(recordings.planning_row(log=path.stem, future_3s_gt=future)))
    assert evaluate(data=paths) == 1
    assert "| **no** |" in capsys.readouterr().out


def test_damaged_moments_are_left_out_where_asked(logs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with logs[0].open("a") as file:
        file.write("\n" + json.dumps(recordings.planning_row(speed_mps="fast")))
    with pytest.raises(BadInput, match="row 4: `speed_mps`"):
        evaluate(data=logs)
    evaluate(data=logs, skip=True, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["n"] == 6
    assert "row 4: `speed_mps`" in captured.err


def test_it_refuses_nothing_and_the_same_twice(logs: list[Path]) -> None:
    with pytest.raises(BadInput, match="Give `--data PATH`"):
        evaluate()
    with pytest.raises(BadInput, match="'a/0' is there twice"):
        evaluate(data=[logs[0], logs[0]])
