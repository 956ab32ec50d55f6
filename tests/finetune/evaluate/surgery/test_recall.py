"""What surgeons' earlier choices are worth, measured on a handful of clips."""

import pytest

from loopwright.finetune.evaluate.surgery import recall


def test_each_planner_has_a_row_and_the_change_is_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "CLIPS", 4)
    rows = recall.evaluate_recall(2, taught=1)
    assert [row.model for row in rows] == [*recall.ARMS, "change"]
    assert {(row.n, row.n_cases) for row in rows} == {(6, 2)}
    without, with_recall, _, change = (row.figures["top_1"] for row in rows)
    assert change == pytest.approx(with_recall - without)
    assert recall.markdown(rows).count("| 6 of 2 |") == 4
