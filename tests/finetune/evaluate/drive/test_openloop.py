"""Baselines, learnt ones by log, anybody's predictions, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.finetune.evaluate.drive.cases import AT_10_MPS, sample

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.drive.baselines import BASELINES, REFERENCE, REGRESSION, without_status
from loopwright.finetune.evaluate.drive.openloop import (
    DIFFERENCE,
    TRUTH,
    WHAT,
    WITHOUT,
    bars_of,
    evaluate_open,
    headline,
    predicted,
)
from loopwright.finetune.evaluate.drive.plot import PANELS, chosen, plot_trajectories
from loopwright.finetune.evaluate.drive.predictions import read_predictions
from loopwright.finetune.evaluate.drive.tables import markdown
from loopwright.finetune.measure.rows import Row
from loopwright.tools.drive.recorded.read import read_samples
from loopwright.tools.drive.scene import Box, Point, Sample

STEPS = np.arange(1, 7)


def accelerating(mps2: float, log: str, share: float = 1.0) -> Sample:
    """From 10 m/s at constant acceleration, of which a `share` is kept up."""
    t = np.arange(-4, 1) / 2
    history = tuple((float(10 * s + mps2 * s * s / 2), 0.0) for s in t)
    future = tuple((float(10 * s + share * mps2 * s * s / 2), 0.0) for s in STEPS / 2)
    return sample(f"{log}-{mps2}", history=history, future=future, log=log)


def errors(name: str, of: Sample, training: tuple[Sample, ...] = ()) -> np.ndarray[Any, Any]:
    said = BASELINES[name](training)([of.scene])
    found: np.ndarray[Any, Any] = np.linalg.norm(said[0] - np.array(of.future, dtype=float), axis=1)
    return found


def test_kinematic_baselines_by_hand() -> None:
    of = accelerating(2.0, "a")
    # the last step is 4.75 m, 9.5 m/s; the one before 4.25 m: 2 m/s^2
    assert errors("constant velocity", of) == pytest.approx(0.5 * STEPS / 2 + (STEPS / 2) ** 2)
    assert errors("constant acceleration", of) == pytest.approx(0.5 * STEPS / 2)
    assert errors("ego history, parabola", of) == pytest.approx(np.zeros(6), abs=1e-9)
    turning = sample(history=((-20.0, 4.0), (-15.0, 3.0), (-10.0, 2.0), (-5.0, 1.0), (0.0, 0.0)))
    assert BASELINES["constant velocity"](())([turning.scene])[0][-1] == pytest.approx((30.0, -6.0))


def test_the_regression_learns_how_much_of_an_acceleration_is_kept_up() -> None:
    training = tuple(accelerating(a, "other", share=0.5) for a in (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0) * 40)
    learnt = errors(REGRESSION, accelerating(2.0, "a", share=0.5), training)
    assert learnt[-1] < 0.4 * errors("constant acceleration", accelerating(2.0, "a", share=0.5))[-1]
    jumpy = sample(history=((-14.0, 0.0), (-14.0, 0.0), (-7.0, 0.0), (-7.0, 0.0), (0.0, 0.0)))
    trusting = BASELINES["constant acceleration"](())([jumpy.scene])[0][-1, 0]
    assert abs(BASELINES[REGRESSION](training)([jumpy.scene])[0][-1, 0] - 42) < 0.01 * abs(trusting - 42)


def test_what_learns_never_sees_the_log_it_is_tested_on() -> None:
    seen: list[set[str]] = []

    def fit(training: Any) -> Any:
        seen.append({s.log for s in training})
        return lambda scenes: np.zeros((len(scenes), 6, 2))

    samples = [accelerating(1.0, log) for log in ("a", "b", "b", "c")]
    predicted(samples, [accelerating(1.0, "c"), accelerating(1.0, "d")], fits={"spy": fit})
    assert seen == [{"b", "c", "d"}, {"a", "c", "d"}, {"a", "b", "d"}]
    told: list[str] = []
    alone = predicted(samples[1:3], on_progress=told.append)
    assert REGRESSION not in alone and REFERENCE in alone
    assert "there is no other log than 'b'" in told[0]


def test_without_ego_status_nobody_knows_the_speed() -> None:
    hidden = without_status(sample().scene)
    assert (hidden.speed_mps, set(hidden.history)) == (0.0, {(0.0, 0.0)})
    samples = [sample(log=log) for log in ("a", "b")]
    rows = {row.model: row for row in evaluate_open(samples, ego_status=False) if row.what == WHAT}
    assert {row.variant for row in rows.values()} == {WITHOUT}
    assert rows[REFERENCE].figures["l2_3s"] == pytest.approx(30)
    assert rows["mean by command"].figures["l2_3s"] == pytest.approx(0)
    assert bars_of(list(rows.values())) == []


def test_rows_of_each_source_and_of_all_with_differences_and_bars() -> None:
    samples = [accelerating(2.0, "a"), accelerating(-2.0, "b"), sample("c", log="c", source="other")]
    mine: list[tuple[Point, ...] | None] = [tuple((x, 0.0) for x, _ in s.future if _ == 0) for s in samples[:2]]  # type: ignore[misc]
    rows = evaluate_open(samples, {"mine": [*mine, None]})
    assert list(dict.fromkeys(row.world for row in rows)) == ["all", "made up", "other"]
    of = {(row.what, row.world, row.model): row for row in rows}
    assert of[WHAT, "all", TRUTH].figures["l2_3s"] == 0
    assert of[WHAT, "all", "mine"].figures["parsed"] == pytest.approx(2 / 3)
    assert of[WHAT, "all", "mine"].figures["l2_3s"] == pytest.approx(10)  # the third stands still: 30 m
    cv = of[WHAT, "all", REFERENCE].figures["l2_3s"]
    assert cv == pytest.approx((10.5 + 10.5 + 0) / 3)
    assert of[DIFFERENCE, "all", "mine"].figures["l2_3s"] == pytest.approx(10 - cv)
    (bar,) = bars_of(rows, ["mine"])
    assert bar.value == pytest.approx(1 - 10 / cv) and not bar.is_met
    assert headline(rows)["mine"]["n"] == 3
    said = markdown(rows, [bar])
    assert "2 / 3" in said and "(UniAD)" in said and "(ST-P3)" in said and "**no**" in said
    with pytest.raises(BadInput, match="No sample to measure on"):
        evaluate_open([])


POINTS = [list(point) for point in AT_10_MPS]
FSDRIVE = [[0.0, y] for y, _ in AT_10_MPS]


@pytest.mark.parametrize(
    ("content", "axes"),
    [
        ({"a": POINTS, "b": POINTS, "z": POINTS}, "ego"),
        ({"a": "go [(5,0), (10,0), (15,0), (20,0), (25,0), (30,0)]", "b": POINTS, "z": "?"}, "ego"),
        ({"a": FSDRIVE, "b": [[0.0, 0.0], *FSDRIVE], "z": []}, "fsdrive"),
        ([{"token": "a", "waypoints": POINTS}, {"id": "b", "trajectory": POINTS}, {"id": "z", "text": ""}], "ego"),
    ],
)
@pytest.mark.parametrize("as_lines", [False, True])
def test_anybodys_predictions_are_matched_by_token(tmp_path: Path, content: Any, axes: Any, as_lines: bool) -> None:
    path = tmp_path / "mine.json"
    rows = content if isinstance(content, list) else [content]
    path.write_text("\n".join(map(json.dumps, rows)) if as_lines else json.dumps(content))
    found = read_predictions(path, [sample(token) for token in ("b", "a", "missing")], axes)
    assert found.n_unknown == 1
    assert found.answers == [AT_10_MPS, AT_10_MPS, None]


def test_lines_without_tokens_are_in_the_order_of_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "generated_predictions.jsonl"
    said = ["<|3|> [(0.00,5.00), (0.00,10.00), (0.00,15.00), (0.00,20.00), (0.00,25.00), (0.00,30.00)]", "Sorry."]
    path.write_text("\n".join(json.dumps({"prompt": "p", "predict": each, "label": ""}) for each in said))
    samples = [sample("a"), sample("b")]
    assert read_predictions(path, samples, "fsdrive").answers == [AT_10_MPS, None]
    with pytest.raises(BadInput, match="2 answers without a token to 1 samples"):
        read_predictions(path, samples[:1])


@pytest.mark.parametrize(
    ("points", "is_read"),
    [
        (POINTS, True),
        (POINTS[:5], False),
        ([*POINTS[:5], [float("nan"), 0]], False),
        ([*POINTS[:5], ["x", 0]], False),
        ([*POINTS[:5], [1]], False),
        (None, False),
        ({"x": 1}, False),
        (7, False),
    ],
)
def test_unreadable_answers_are_none(tmp_path: Path, points: Any, is_read: bool) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"token": "a", "waypoints": points}))
    assert (read_predictions(path, [sample()]).answers[0] is not None) == is_read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "begins with 'not JSON'"),
        (json.dumps({"q": POINTS}), "answers 'q' and 0 more, none of the 1 samples, such as 'a'"),
        ("\n".join([json.dumps({"token": "a", "text": ""})] * 2), "row 2: 'a' is there twice"),
        (json.dumps([{"token": "a", "text": ""}, {"text": ""}]), "row 2: no token"),
        ("[]", "holds no answer"),
    ],
)
def test_files_that_fit_nothing_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_predictions(path, [sample()])


def test_the_picture_shows_samples_of_each_log(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = [sample(f"{log}{k}", log=log, boxes=(Box(x_m=9, y_m=3), *[None] * 5)) for log in "ab" for k in range(9)]
    wrong: list[Any] = [None if k % 9 == 0 else [(0.0, 0.0)] * 5 + [(float(k % 9), 0.0)] for k in range(18)]
    answers = {"mine": wrong, "other": [AT_10_MPS] * 18}
    assert chosen(samples, answers) == [1, 2, 3, 10, 11, 12]
    plot_trajectories(samples, answers, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert len(chosen(samples[:3], {"mine": wrong[:3]})) == 3 < PANELS


def test_the_learnt_history_saves_a_third_on_real_logs(real_data: Path) -> None:
    files = [real_data / "driving" / name for name in ("comma2k19_mit/planning_comma.jsonl.gz",
                                                       "ngsim_bsd3/planning_ngsim.jsonl.gz")]  # fmt: skip
    if not all(file.is_file() for file in files):
        pytest.skip("the recorded drives are not there")
    rows = evaluate_open([s for file in files for s in read_samples(file)])
    of: dict[str, Row] = {row.model: row for row in rows if (row.what, row.world) == (WHAT, "all")}
    assert of[REFERENCE].n == 125
    assert of[REFERENCE].figures["l2_3s"] == pytest.approx(2.432, abs=0.01)
    assert of[REGRESSION].figures["l2_3s"] == pytest.approx(1.602, abs=0.02)
    assert all(bar.is_met for bar in bars_of(rows))
