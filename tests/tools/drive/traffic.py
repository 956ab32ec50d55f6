"""Scenes by hand: a straight road of three lanes, 4 m wide, the ego in the middle one."""

from loopwright.tools.drive.scene import HISTORY_STEPS, STEP_S, Agent, Box, Command, Lane, Scene

LANES_M = (4.0, 0.0, -4.0)


def car(x_m: float, y_m: float = 0.0, vx_mps: float = 0.0, vy_mps: float = 0.0, name: str = "") -> Agent:
    """Another car, 4.6 x 1.9 m, along the x axis."""
    return Agent(id=name or f"{x_m:g} {y_m:g}", box=Box(x_m=x_m, y_m=y_m), vx_mps=vx_mps, vy_mps=vy_mps)


def road(
    *agents: Agent,
    speed_mps: float = 20.0,
    lanes_m: tuple[float, ...] = LANES_M,
    route_m: float = 0.0,
    command: Command = "straight",
) -> Scene:
    """The ego (5 x 2 m) on it; the lane at `route_m` is the route's."""
    lanes = [Lane(centre=((-100.0, y), (200.0, y)), is_route=y == route_m) for y in lanes_m]
    history = tuple((-speed_mps * STEP_S * k, 0.0) for k in range(HISTORY_STEPS, -1, -1))
    return Scene(
        source="hand",
        token="1",
        speed_mps=speed_mps,
        history=history,
        agents=agents,
        lanes=tuple(lanes),
        command=command,
    )


def straight(speed_mps: float, y_m: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Six waypoints at a constant speed."""
    return tuple((speed_mps * STEP_S * k, y_m) for k in range(1, 7))
