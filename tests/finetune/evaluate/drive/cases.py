"""Made-up samples whose metrics are worked out by hand."""

from typing import Any

from loopwright.tools.drive.scene import Agent, Box, Point, Sample, Scene

HISTORY: tuple[Point, ...] = ((-20.0, 0.0), (-15.0, 0.0), (-10.0, 0.0), (-5.0, 0.0), (0.0, 0.0))
AT_10_MPS: tuple[Point, ...] = tuple((5.0 * k, 0.0) for k in range(1, 7))


def sample(
    token: str = "a",
    *,
    future: tuple[Point | None, ...] = AT_10_MPS,
    boxes: tuple[Box | None, ...] = (),
    log: str = "log",
    **changed: Any,
) -> Sample:
    """An ego at 10 m/s; where `boxes` are given, one agent that is in them."""
    agents = (Agent(id="7", box=Box(x_m=50, y_m=0)),) if boxes else ()
    scene = Scene.model_validate(
        {"source": "made up", "token": token, "speed_mps": 10.0, "history": HISTORY, "agents": agents, **changed}
    )
    return Sample(scene=scene, future=future, agent_futures={"7": boxes} if boxes else {}, log=log)
