"""The short form of `make attack`: every part of it, at a few of its boundaries."""

from pathlib import Path

import pytest
from tests.attack.parts import harmed, malformed_replies
from tests.forking import Processes
from tests.loops.process import How


@pytest.mark.parametrize(
    ("operation", "how", "every"),
    [
        ("run", "kill", 15),
        ("resume", "suspend", 9),
        ("rewind", "kill", 25),
        ("fork", "suspend", 25),
        ("prune", "kill", 1),
        ("run", "full disk", 25),
        ("run", "locked", 25),
    ],
)
def test_sqlite(operation: str, how: How, every: int, tmp_path: Path, processes: Processes) -> None:
    assert harmed(operation, how, tmp_path, None, processes, every=every).violations == []


@pytest.mark.parametrize(
    ("operation", "how", "every"), [("run", "suspend", 20), ("run", "cut connection", 20), ("prune", "suspend", 1)]
)
def test_postgresql(
    operation: str, how: How, every: int, tmp_path: Path, processes: Processes, postgres_server: str
) -> None:
    assert harmed(operation, how, tmp_path, postgres_server, processes, every=every).violations == []


def test_malformed_replies() -> None:
    assert malformed_replies(3000).violations == []
