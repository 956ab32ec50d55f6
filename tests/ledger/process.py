"""Processes that hold a session, send one act, and kill themselves where they are told to.

Each runs the real actuator, ledger and device; only the killing is wrapped around them. This program imports what they
need once and forks one for each line of standard input, `[MEMORY_URL, DEVICE, SESSION, KILL]` as JSON, KILL being
`never` or `before:METHOD` / `after:METHOD` of the ledger or the world. It answers with a line of JSON: what the process
said, or null where SIGKILL ended it.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from loopwright.errors import Stopped
from loopwright.memory import open_memory
from loopwright.schema import Act, CancelToken
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld

KEY = "the-act"
ACT = Act(tool="move_c_arm", arguments={"left_mm": 20.0})
START = Pose(x_mm=70, y_mm=70, z_mm=70)


class Deadly:
    """Something real that kills this process before or after one of its methods."""

    def __init__(self, real: object, kill: str) -> None:
        self._real = real
        self._when, _, self._method = kill.partition(":")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name != self._method:
            return method

        def deadly(*args: Any, **kwargs: Any) -> None:
            if self._when == "after":
                method(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return deadly


def c_arm(device: Path) -> CArmWorld:
    """The device at `device`, over a box of air."""
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    return CArmWorld(Case(name="box", volume=volume), device=device, start=START)


def main(url: str, device: str, session_id: str, kill: str) -> dict[str, Any]:
    """Act once."""
    with open_memory(url) as memory, memory.sessions.acquire(session_id):
        world = c_arm(Path(device))
        actuator = Actuator(
            cast(Any, Deadly(world, kill)), cast(Any, Deadly(memory.ledger, kill)), session_id, CancelToken()
        )
        try:
            outcome = actuator.act(KEY, ACT, step=1, by="guard")
        except Stopped as stopped:
            return {"stopped": str(stopped), "x_mm": world.pose.x_mm}
        return {"outcome": outcome.model_dump(), "x_mm": world.pose.x_mm}


def fork(order: list[str]) -> dict[str, Any] | None:
    """What a process of its own says, None where SIGKILL ended it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(main(*order)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        text = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGKILL:
        return None
    if status != 0:
        raise SystemExit(f"The process for {order} ended with {status}.")
    answer: dict[str, Any] = json.loads(text)
    return answer


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(fork(json.loads(line))) + "\n")
        sys.stdout.flush()
