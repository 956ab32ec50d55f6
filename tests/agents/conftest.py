"""A session with a scripted model at hand, for agents that consult one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents.desk import Desk

from loopwright.memory import open_memory


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A session of the test's own."""
    with open_memory(f"sqlite:///{tmp_path / 'desk.sqlite'}") as memory:
        yield Desk(memory)
