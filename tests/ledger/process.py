"""Processes that hold a session, send one act, and kill or suspend themselves where they are told to.

Each runs the real actuator, ledger and device; only the signal is wrapped around them. An order (`tests.forking`) is
`[MEMORY_URL, DEVICE, SESSION, SIGNAL]`, SIGNAL being `never` or `NAME:before:METHOD` / `NAME:after:METHOD` of the
ledger or the world, with NAME `kill` or `stop`.
"""

import signal
from pathlib import Path
from typing import Any, cast

import numpy as np
from tests.forking import serve

from loopwright.errors import SessionBusy, Stopped
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
    """Something real that kills or suspends this process before or after one of its methods."""

    def __init__(self, real: object, given: str) -> None:
        self._real = real
        name, self._when, self._method = given.split(":") if given != "never" else ("kill", "", "")
        self._signal = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[name]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name != self._method:
            return method

        def deadly(*args: Any, **kwargs: Any) -> Any:
            if self._when == "before":
                signal.raise_signal(self._signal)  # to this thread: it goes no step further
            result = method(*args, **kwargs)
            if self._when == "after":
                signal.raise_signal(self._signal)
            return result

        return deadly


def c_arm(device: Path) -> CArmWorld:
    """The device at `device`, over a box of air."""
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    return CArmWorld(Case(name="box", volume=volume), device=device, start=START)


def main(url: str, device: str, session_id: str, given: str) -> dict[str, Any]:
    """Act once."""
    with open_memory(url) as memory, memory.sessions.acquire(session_id):
        world = c_arm(Path(device))
        actuator = Actuator(
            cast(Any, Deadly(world, given)), cast(Any, Deadly(memory.ledger, given)), session_id, CancelToken()
        )
        try:
            outcome = actuator.act(KEY, ACT, step=1, by="guard")
        except (Stopped, SessionBusy) as error:
            return {type(error).__name__: str(error), "x_mm": world.pose.x_mm}
        return {"outcome": outcome.model_dump(), "x_mm": world.pose.x_mm}


if __name__ == "__main__":
    serve(lambda order: main(*order))
