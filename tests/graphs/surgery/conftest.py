"""Sessions of the surgery loop over simulated patients, in a memory of the test's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.graphs.loop.session import Session
from loopwright.graphs.surgery import LOOP
from loopwright.graphs.surgery.run import SurgeryRun
from loopwright.memory import Memory
from loopwright.schema import ImageRef
from loopwright.tools.pictures import read_picture

SEED = 2_000_007
Operate = Callable[..., Session]


@pytest.fixture
def operate(memory: Memory, tmp_path: Path) -> Operate:
    """`operate(clips=4)`: a session over a simulated patient."""

    def begin(**options: Any) -> Session:
        asked = {"video": f"simulated:{SEED}", "clips": 5, **options}
        return LOOP.start(memory, devices=tmp_path / "devices", **asked)

    return begin


def redrawn(session: Session) -> list[bool]:
    """Of each picture of a session, whether it comes out the same when it is drawn again."""
    scope = session.memory.sessions.get(session.id).config["scopes"][""]
    assert LOOP.redraw is not None
    draw = LOOP.redraw(SurgeryRun.model_validate(scope["config"]), scope["prepared"])
    outputs = [event.payload["output"] for event in session.events if event.kind == "observed"]
    return [
        bool((draw(output) == read_picture(session.memory.blobs, ImageRef.model_validate(output["image"]))).all())
        for output in outputs
        if output["image"]
    ]
