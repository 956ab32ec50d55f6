"""`loopwright eval recipe`, as a user types it."""

from collections.abc import Callable

import pytest
from tests.cli.conftest import Said

Run = Callable[..., Said]


def test_rows_come_one_a_line_and_the_summary_last(loopwright: Run) -> None:
    said = loopwright("eval", "recipe", "--dishes", "3", "--what", "swaps", "--json")
    *rows, last = said.json
    assert said.code == 0
    assert {row["variant"] for row in rows} >= {"ingredients swapped", "actions swapped"}
    assert all(row["n"] == 3 and len(row["actions_f1_ci"]) == 2 for row in rows)
    assert last["texts"]["sacrebleu"].startswith("nrefs:1|")
    assert "bars_met" in last and "headline" in last


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dishes", "0"), "what to measure on"),
        (("--n", "5"), "--recipes"),
        (("--adapter", "rft"), "NAME=FOLDER"),
        (("--dishes", "2", "--what", "selection", "--predictor", "nobody"), "nobody"),
        (("--dishes", "2", "--what", "labels", "--adapter", "rft=nowhere"), "holds no adapter"),
    ],
)
def test_what_will_not_do_says_why(loopwright: Run, arguments: tuple[str, ...], says: str) -> None:
    said = loopwright("eval", "recipe", *arguments)
    assert said.code == 2
    assert says in said.err
