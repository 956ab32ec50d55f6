"""The recipe loop from the command line, as a user types it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Said

Run = Callable[..., Said]
DISH = ("run", "recipe", "--dish", "simulated:2000007", "--writer", "rule")


def test_run_tells_what_is_seen_judged_kept_and_written(loopwright: Run) -> None:
    said = loopwright(*DISH)
    assert said.code == 0
    for word in ("dish", "actions", "ingredients", "judged", "kept", "wrote", "verified", "succeeded"):
        assert word in said.out


def test_a_recipe_session_through_all_its_commands(loopwright: Run, tmp_path: Path) -> None:
    *_, last = loopwright(*DISH, "--approval", "human", "--json").json
    assert last["status"] == "waiting"
    session = last["session"]
    assert "Understood: without" in loopwright("feedback", session, "no onions").out
    assert loopwright("sessions", "resume", session).code == 6, "the new text waits for its own approval"
    loopwright("feedback", session, "approve")
    assert loopwright("sessions", "resume", session).code == 0
    assert loopwright("sessions", "replay", session, "--rerender").code == 0
    assert loopwright("sessions", "verify", session).code == 0
    assert loopwright("sessions", "report", session, "--out", str(tmp_path / "r.html")).code == 0
    assert "The recipe itself" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dish", "simulated:x"), "has the seed 'x'"),
        (("--dish", "nowhere.json:1"), "nowhere.json"),
        (("--dish", "simulated:1", "--fewest", "0"), "--fewest"),
        (("--dish", "simulated:1", "--writer", "model", "--model", "smol"), "loopwright models fetch smol"),
    ],
)
def test_what_will_not_do_says_why(loopwright: Run, arguments: tuple[str, ...], says: str) -> None:
    said = loopwright("run", "recipe", *arguments)
    assert said.code == 2
    assert says in said.err


def test_data_are_built(loopwright: Run, tmp_path: Path) -> None:
    command = ("data", "build", "recipe", "--out", str(tmp_path), "--dishes", "4", "--validation", "2")
    rows = {Path(line["file"]).name: line["rows"] for line in loopwright(*command, "--json").json}
    assert rows["train.messages.jsonl"] == rows["train.sharegpt.jsonl"] >= 4
    assert "conversations in" in loopwright(*command).out


def test_doctor_looks_at_the_network(loopwright: Run) -> None:
    found = {line["name"]: line for line in loopwright("doctor", "--json").json if "name" in line}
    assert found["dish network"]["status"] == "ok"
