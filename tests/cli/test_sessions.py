"""Sessions as a person names them: by id, by its beginning, or as the last; and what the list says of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from loopwright.memory import open_memory
from loopwright.settings import settings

Cli = Callable[..., Any]


@pytest.fixture
def three(loopwright: Cli) -> list[str]:
    """Ids of three sessions, the oldest first: the first two begin alike."""
    with open_memory(settings().memory_url) as memory:
        config = {"scopes": {"": {"config": {"volume": "phantom:7", "target": ["T12"], "start": "skull"}}}}
        return [memory.sessions.create("carm", config, session_id=one).id for one in ("ward-1", "ward-2", "room-9")]


@pytest.mark.parametrize(("name", "found"), [("ward-1", "ward-1"), ("room", "room-9"), ("last", "room-9")])
def test_a_session_has_short_names(loopwright: Cli, three: list[str], name: str, found: str) -> None:
    assert loopwright("sessions", "show", name).out.startswith(f"Session {found}:")
    assert json.loads(loopwright("feedback", name, "note: seen", "--json").out)["session"] == found


def test_a_beginning_of_several_is_refused(loopwright: Cli, three: list[str]) -> None:
    said = loopwright("sessions", "show", "ward")
    assert said.code == 2
    assert "'ward'" in said.err and "ward-1" in said.err and "ward-2" in said.err


def test_no_session_is_the_last_of_none(loopwright: Cli) -> None:
    said = loopwright("sessions", "show", "last")
    assert said.code == 2 and "'last'" in said.err


def test_pruning_takes_the_one_that_was_named(loopwright: Cli, three: list[str]) -> None:
    assert loopwright("sessions", "prune", "ward", "--yes").code == 2
    assert "Pruned room-9;" in loopwright("sessions", "prune", "room", "--yes").out
    with open_memory(settings().memory_url) as memory:
        assert [row.id for row in memory.sessions.list()] == ["ward-2", "ward-1"]


def test_the_list_says_what_sessions_are_about(loopwright: Cli, three: list[str]) -> None:
    said = loopwright("sessions", "list", "--last", "1").out
    assert "room-9" in said and "ward" not in said
    assert "phantom:7" in said and "T12" in said


def test_the_package_runs_as_a_module() -> None:
    said = subprocess.run([sys.executable, "-m", "loopwright", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("loopwright ")


def test_an_uncalibrated_coverage_is_refused_before_an_exposure(loopwright: Cli) -> None:
    said = loopwright("run", "carm", "--volume", "phantom:7", "--start", "T1", "--target", "T12", "--coverage", "0.8")
    assert said.code == 2
    assert "coverage" in said.err and "0.90, 0.95, 0.97" in said.err
    assert "No sessions yet" in loopwright("sessions", "list").out
