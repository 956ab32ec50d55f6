"""`loopwright feedback SESSION stop` to a session that runs: the short way, and when the long one is taken."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.stop import stop_at_once
from loopwright.memory import Memory, open_memory
from loopwright.memory.direct import put_stop
from loopwright.settings import settings

Cli = Callable[..., Any]


@pytest.fixture
def memory(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """The configured memory, in either database."""
    monkeypatch.setenv("LOOPWRIGHT_MEMORY__URL", url)
    settings.cache_clear()
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def running(memory: Memory) -> Iterator[str]:
    """A session that this process runs."""
    row = memory.sessions.create("carm", {})
    with memory.sessions.acquire(row.id):
        memory.sessions.set_status(row.id, "running")
        yield row.id


def test_it_is_put_as_the_inbox_puts_it(memory: Memory, running: str, url: str) -> None:
    assert put_stop(url, running, "Stop\0!", author="Dr. Ödegård", timeout_s=1) == "running"
    (direct,) = memory.inbox.unread(running)
    usual = memory.inbox.put(running, "Stop\0!", author="Dr. Ödegård", is_stop=True)
    same = {"id": 0, "received_at": usual.received_at}
    assert direct.model_copy(update=same) == usual.model_copy(update=same)
    assert 0 <= (usual.received_at - direct.received_at).total_seconds() < 60
    assert memory.inbox.active_stop(running) == direct


@pytest.mark.parametrize("arguments", [["S", "stop"], ["--json", "S", "please, STOP!"], ["S", "halt", "--author", "Ö"]])
def test_the_command_takes_the_short_way(
    memory: Memory, running: str, arguments: list[str], loopwright: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "loopwright.cli.application", raising=False)
    said = loopwright("feedback", *(running if each == "S" else each for each in arguments))
    assert said.code == 0
    assert "loopwright.cli.application" not in sys.modules
    (message,) = memory.inbox.unread(running)
    assert message.is_stop and message.author == ("Ö" if "Ö" in arguments else "clinician")
    if "--json" in arguments:
        assert json.loads(said.out) == {"session": running, "status": "running", "understood": {"kind": "stop"}}
    else:
        assert said.out == "Understood: stop.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["S", "go on"],
        ["S", "stop", "--loop", "x"],
        ["S"],
        ["--help"],
        ["s-none", "stop"],
        ["S", "stop", "--author", ""],
    ],
)
def test_whatever_is_unusual_is_left_to_the_whole_command(memory: Memory, running: str, arguments: list[str]) -> None:
    assert stop_at_once([running if each == "S" else each for each in arguments]) is None
    assert memory.inbox.unread(running) == []


@pytest.mark.parametrize("status", ["paused", "waiting", "succeeded"])
def test_so_is_a_session_that_nobody_runs(memory: Memory, status: str) -> None:
    session = memory.sessions.create("carm", {}).id
    with memory.sessions.acquire(session):
        memory.sessions.set_status(session, status)  # type: ignore[arg-type]
    assert stop_at_once([session, "stop"]) is None
    assert memory.inbox.unread(session) == []


@pytest.mark.parametrize("url", ["sqlite:////none/here.sqlite", "postgresql://nobody@127.0.0.1:1/none", "mysql://x"])
def test_so_is_a_database_that_does_not_work(url: str) -> None:
    assert put_stop(url, "s", "stop", author="a", timeout_s=1) is None


def test_it_loads_no_database_library(tmp_path: Path) -> None:
    """What takes the time: SQLAlchemy, typer, rich and the loops."""
    with open_memory(f"sqlite:///{tmp_path}/memory.sqlite") as memory:
        session = memory.sessions.create("carm", {}).id
        with memory.sessions.acquire(session):
            memory.sessions.set_status(session, "running")
            code = (
                "import sys; from loopwright.cli import main; code = main();"
                "print(code, sorted({'sqlalchemy', 'typer', 'rich', 'langgraph', 'psycopg'} & set(sys.modules)))"
            )
            said = subprocess.run(
                [sys.executable, "-c", code, "feedback", session, "stop"], capture_output=True, text=True, check=True,
                env=os.environ | {"LOOPWRIGHT_DATA_DIR": str(tmp_path)},
            ).stdout  # fmt: skip
        assert said == "Understood: stop.\n0 []\n"
        assert memory.inbox.active_stop(session) is not None
