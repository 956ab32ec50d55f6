"""Sessions of the surgery loop over simulated patients, in a memory of the test's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.graphs.loop.session import Session
from loopwright.graphs.surgery import LOOP
from loopwright.memory import Memory

SEED = 2_000_007
Operate = Callable[..., Session]


@pytest.fixture
def operate(memory: Memory, tmp_path: Path) -> Operate:
    """`operate(clips=4)`: a session over a simulated patient."""

    def begin(**options: Any) -> Session:
        asked = {"video": f"simulated:{SEED}", "clips": 5, **options}
        return LOOP.start(memory, devices=tmp_path / "devices", **asked)

    return begin
