"""Simulated clinicians answer real sessions; what is done without their consent is counted."""

from loopwright.agents.recipe.request import trial
from loopwright.finetune.evaluate.clinicians import CLINICIANS, NOBODY, bars_of, evaluate_clinicians
from loopwright.graphs.registry import get_loop


def test_each_kind_of_clinician_answers_a_session() -> None:
    listed = evaluate_clinicians(get_loop("recipe"), trial, 1)
    rows = {row.model: row.figures for row in listed}
    assert rows.keys() == {NOBODY, *CLINICIANS}
    assert rows[NOBODY]["messages"] == 0 and rows[NOBODY]["unasked"] > 0  # the count can be other than 0
    assert all(figures["unasked"] == 0 for name, figures in rows.items() if name != NOBODY)
    assert rows["wrong"]["refused"] > 0 and rows["hostile"]["messages"] > rows["helpful"]["messages"] > 0
    assert rows["helpful"]["succeeded"] == 1
    assert all(bar.is_met for bar in bars_of(listed))
