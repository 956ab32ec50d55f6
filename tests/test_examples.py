"""Every example runs, from start to end, as a reader would run it."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.models.chat_server import MODEL, ChatServer, Turn

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SAYS = {
    "any_model.py": ("writer A loop hears itself.", '"too vague"', "finished succeeded", "replays the same: True"),
    "carm.py": ("heard clinician: “the target is T1”", "reached T1 is centred", "replays the same: True"),
    "compose.py": (
        "killed by signal 9\n   0 resumed it was running\n",
        "1 asked q2: May I switch the heater on?",
        "finished succeeded: it is warm enough",
        "replays the same: True",
    ),
    "drive.py": (
        "heard clinician: “slower, please”",
        "fault the ego's own motion is no number",
        "fallback brake along the path",
        "imagined and came: N = ",
        "replays the same: True",
    ),
    "replace_a_node.py": (
        "localise -> second_opinion -> review",
        "succeeded: T12 is centred",
        "replays the same: True",
    ),
    "recipe.py": (
        "heard clinician: “there is no salt in it”",
        "without salt",
        "with basil",
        "succeeded: the instructions are written",
        "replays the same: True",
    ),
    "surgery.py": (
        "heard clinician: “No, it is bleeding",
        "came Coagulation, which was ranked 1",
        "replays the same: True",
    ),
}
"""What each example must say."""
LOOP_LINES = 20
"""What the loop of `compose.py` may take."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An OpenAI-compatible endpoint whose editor objects once."""
    objections = iter(["too vague", ""])

    def answer(body: dict[str, Any]) -> Turn:
        if "Is this sentence" not in json.dumps(body["messages"]):
            return Turn(pieces=("A loop ", "hears ", "itself."))
        objection = next(objections)
        return Turn(pieces=(json.dumps({"is_good": not objection, "objection": objection}),))

    with ChatServer(answer=answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_MODEL", MODEL)
        yield


def test_every_example_is_held_to_something() -> None:
    assert {example.name for example in EXAMPLES} == set(SAYS)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    said = capsys.readouterr().out
    for words in SAYS[example.name]:
        assert words in said


def test_what_an_example_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(SystemExit, match="`OPENAI_MODEL` is not set"):
        runpy.run_path(str(next(each for each in EXAMPLES if each.name == "any_model.py")), run_name="__main__")


def test_a_loop_takes_few_lines() -> None:
    source = next(example for example in EXAMPLES if example.name == "compose.py").read_text()
    (loop,) = re.findall(r"^# The loop: .*?$(.*?)^# That was the loop\.", source, flags=re.M | re.S)
    assert len([line for line in loop.splitlines() if line.strip()]) <= LOOP_LINES
