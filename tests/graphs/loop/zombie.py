"""A process that runs a session of the thermostat and suspends itself: `URL DEVICES SESSION WHEN`.

WHEN is `model`, in the middle of a model call, or before a call of the device, the ledger or the checkpointer. It says
what its run came to.
"""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.loops.cases import Answering, Models, switch
from tests.loops.thermostat import thermostat

from loopwright.errors import LoopwrightError
from loopwright.memory import open_memory
from loopwright.memory.checkpointer import Checkpointer
from loopwright.memory.ledger import Ledger
from loopwright.tools.device import Device

SEAMS: dict[str, tuple[type, str, int]] = {
    "apply": (Device, "apply", 2), "settle": (Ledger, "settle", 2), "checkpoint": (Checkpointer, "put", 6),
}  # fmt: skip
"""The method, and before which of its calls."""
LOOP = thermostat.varied(state={"target_c": 17.5})


def sleepy(real: Callable[..., Any], before: int) -> Callable[..., Any]:
    """`real`, and before one of its calls this process is suspended."""
    calls = 0

    def call(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == before:
            signal.raise_signal(signal.SIGSTOP)
        return real(*given, **named)

    return call


def heating(answer: Callable[[str], str] = switch) -> Models:
    """A model that heats sensibly."""
    return {"navigator": Answering(answer=answer)}


def main(url: str, devices: str, session_id: str, when: str) -> str:
    """Run it; its status, or the error that ended it."""
    answer = sleepy(switch, 2) if when == "model" else switch
    if when in SEAMS:
        of, name, before = SEAMS[when]
        setattr(of, name, sleepy(getattr(of, name), before))
    with open_memory(url) as memory:
        try:
            return LOOP.resume(session_id, memory, models=heating(answer), devices=Path(devices)).run()
        except LoopwrightError as error:
            return type(error).__name__


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
