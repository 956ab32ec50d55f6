"""A process that acts once and may be killed on the way."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Act = Callable[..., dict[str, object] | None]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device.sqlite"


@pytest.fixture(scope="session")
def processes() -> Iterator[subprocess.Popen[str]]:
    """`process.py`, running."""
    program = [sys.executable, str(Path(__file__).with_name("process.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running


@pytest.fixture
def act_in_process(url: str, device: Path, processes: subprocess.Popen[str]) -> Act:
    """`act(session_id, "kill:...")`: what a process of its own said, None where SIGKILL ended it."""

    def act(session_id: str, given: str = "never") -> dict[str, object] | None:
        assert processes.stdin is not None
        assert processes.stdout is not None
        print(json.dumps([url, str(device), session_id, given]), file=processes.stdin, flush=True)
        said: dict[str, object] | None = json.loads(processes.stdout.readline())
        return said

    return act
