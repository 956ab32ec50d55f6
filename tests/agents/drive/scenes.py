"""Moments of traffic for tests."""

from typing import Any

from loopwright.tools.drive.scene import Agent, Box, Lane, Scene


def car(x_m: float, y_m: float, vx_mps: float = 20.0, **of: Any) -> Agent:
    """A car beside the ego at 20 m/s, as far as nothing else is said."""
    box = Box(x_m=x_m, y_m=y_m, yaw_rad=of.pop("yaw_rad", 0.0))
    return Agent(id=f"{x_m} {y_m}", box=box, vx_mps=vx_mps, **of)


def scene(*agents: Agent, speed_mps: float = 20.0, **of: Any) -> Scene:
    """The ego on the middle of three straight lanes."""
    history = tuple((-speed_mps * s, 0.0) for s in (2.0, 1.5, 1.0, 0.5, 0.0))
    lanes = tuple(Lane(centre=((-100.0, y), (200.0, y)), is_route=True) for y in (-4.0, 0.0, 4.0))
    given = {"source": "test", "token": "0", "speed_mps": speed_mps, "history": history, "lanes": lanes}
    return Scene(agents=agents, **(given | of))
