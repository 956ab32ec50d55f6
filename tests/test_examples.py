"""Every example runs, from start to end, as a reader would run it."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SAYS = {
    "carm.py": ("  heard   'the target is T1'", "  reached T1\n", "replays the same: True"),
    "replace_a_node.py": ("localise -> second_opinion -> review", "succeeded: T12 is centred", "replays the same: True"),
    "surgery.py": ("  planned Coagulation", "comes Coagulation", "replays the same: True"),
}
"""What each example must say."""


def test_every_example_is_held_to_something() -> None:
    assert {example.name for example in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    said = capsys.readouterr().out
    for words in SAYS[example.name]:
        assert words in said
