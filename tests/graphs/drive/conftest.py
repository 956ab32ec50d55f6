"""Short drives, with a driver who answers as told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.loops.cases import Answering

from loopwright.graphs.drive import LOOP
from loopwright.graphs.loop.session import Session
from loopwright.memory import Memory

Drive = Callable[..., Session]
Answer = Callable[[str], str]
AS_MODEL = {"planner": "model", "shown": "none"}


@pytest.fixture
def drive(memory: Memory, tmp_path: Path) -> Drive:
    """Start a session of five steps on the highway; `answer` is what the driver says to the end of a prompt."""

    def start(answer: Answer | None = None, **run: Any) -> Session:
        models = {} if answer is None else {"driver": Answering(answer=answer)}
        settings = {"scenario": "highway", "seed": 2_000_003, "steps": 5, **(AS_MODEL if answer else {}), **run}
        return LOOP.start(memory, models=models, devices=tmp_path / "devices", **settings)

    return start
