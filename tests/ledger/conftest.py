"""A process that acts once and may be killed on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.forking import Processes, forking

Act = Callable[..., dict[str, Any] | None]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device.sqlite"


@pytest.fixture(scope="session")
def acting() -> Iterator[Processes]:
    """`process.py`, running."""
    with forking("tests.ledger.process") as running:
        yield running


@pytest.fixture
def act_in_process(url: str, device: Path, acting: Processes) -> Act:
    """`act(session_id, "kill:...")`: what a process of its own said, None where SIGKILL ended it."""
    return lambda session_id, given="never": acting.obey([url, str(device), session_id, given])
