"""SIGKILL at every boundary of the ledger: one motion, an outcome on record, nothing lost (DESIGN rule 3).

Each kill ends a real process that runs the real actuator on a real database and the real device file; another process
then goes on with the same key.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.memory import LedgerEntry, open_memory

Act = Callable[..., dict[str, object] | None]
KEY = "the-act"

BOUNDARIES = {
    "before:intend": None,
    "after:intend": "intended",
    "after:authorise": "authorised",
    "after:apply": "authorised",
    "after:settle": "settled",
}
"""Where the process is killed, and what the ledger then has."""


@pytest.fixture
def session_id(url: str) -> str:
    with open_memory(url) as memory:
        return memory.sessions.create("carm", {}).id


@pytest.fixture
def entry(url: str) -> Callable[[], LedgerEntry | None]:
    def read() -> LedgerEntry | None:
        with open_memory(url) as memory:
            return memory.ledger.get(KEY)

    return read


def applied(device: Path) -> int:
    """How many acts the device has done."""
    if not device.exists():
        return 0
    with closing(sqlite3.connect(device)) as connection:
        (n,) = connection.execute("SELECT count(*) FROM applied").fetchone()
        return int(n)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_at_a_boundary_and_resumed(
    boundary: str, session_id: str, device: Path, act_in_process: Act, entry: Callable[[], LedgerEntry | None]
) -> None:
    assert act_in_process(session_id, f"kill:{boundary}") is None, "the process should have been killed"
    left = entry()
    assert (left and left.status) == BOUNDARIES[boundary]
    assert applied(device) == (boundary in ("after:apply", "after:settle"))

    said = act_in_process(session_id)

    assert said is not None
    assert said["x_mm"] == 50
    assert applied(device) == 1
    settled = entry()
    assert settled is not None
    assert settled.status == "settled"
    assert settled.outcome is not None
    assert settled.outcome.model_dump() == said["outcome"]


def test_killed_at_every_boundary_in_turn(
    session_id: str, device: Path, act_in_process: Act, entry: Callable[[], LedgerEntry | None]
) -> None:
    for boundary in BOUNDARIES:
        assert act_in_process(session_id, f"kill:{boundary}") is None, "the process should have been killed"
    assert applied(device) == 1
    settled = entry()
    assert settled is not None
    assert settled.status == "settled"


@pytest.mark.parametrize("boundary", ["after:intend", "after:authorise", "after:apply"])
def test_a_stop_after_the_kill(
    boundary: str,
    url: str,
    session_id: str,
    device: Path,
    act_in_process: Act,
    entry: Callable[[], LedgerEntry | None],
) -> None:
    act_in_process(session_id, f"kill:{boundary}")
    with open_memory(url) as memory:
        memory.inbox.put(session_id, "STOP", is_stop=True)

    said = act_in_process(session_id)

    closed = entry()
    assert said is not None
    assert closed is not None
    if boundary == "after:apply":
        assert (closed.status, said["x_mm"]) == ("settled", 50), "a motion already sent is reported as such"
    else:
        assert (closed.status, closed.reason, said["x_mm"]) == ("refused", "STOP", 70)
        assert "Stopped" in said
        assert applied(device) == 0
