"""The few road users that matter, in words: where each is, how far, and how the distance changes; and the risk in it.

The words of `<perception>` and `<think>`, written from a scene for training rows and for planners that are code. Knows
no prompt, no picture and no model.
"""

from collections.abc import Collection, Sequence
from math import hypot, pi, remainder
from typing import Annotated, Literal, get_args

from pydantic import Field

from loopwright.schema import Frozen
from loopwright.tools.drive.paths import paths_of
from loopwright.tools.drive.scene import Agent, Scene

Where = Literal["ahead", "behind", "left", "right", "from left", "from right"]
"""In the ego's lane, in the lane beside it, or on that side on another course (crossing, merging, oncoming)."""
WHERE: tuple[Where, ...] = get_args(Where)
MOST_SEEN = 4
"""Agents of one answer: the nearest at each place, nearest first."""
RANGE_M = 60
LANE_M = 4.0
CROSSING_RAD = pi / 6
"""From this difference of courses on, an agent does not drive along with the ego."""
NEAR_M = 10
CLOSING_S = 4.0
"""An agent that would be reached later than this is no risk yet."""
HALF_S = 0.5


class Seen(Frozen):
    """One road user, relative to the ego."""

    where: Where
    gap_m: Annotated[int, Field(ge=-RANGE_M, le=RANGE_M)] = Field(
        description="between centres: along the lane (negative: behind), from the left or right the distance"
    )
    speed_mps: Annotated[int, Field(ge=-99, le=99)] = Field(
        description="how fast `gap_m` changes: its speed less the ego's, or how fast the distance grows"
    )

    @property
    def closes_in_s(self) -> float | None:
        """When its centre would be reached as things go; None where it comes no nearer, or is beside the way."""
        if self.where in ("left", "right") or self.gap_m * self.speed_mps >= 0:
            return None
        return abs(self.gap_m / self.speed_mps)


def agents_seen(scene: Scene) -> tuple[Seen, ...]:
    """The nearest road user at each place within `RANGE_M`, nearest first, at most `MOST_SEEN`."""
    nearest: dict[Where, tuple[float, Seen]] = {}
    for agent in scene.agents:
        distance_m = hypot(agent.box.x_m, agent.box.y_m)
        if distance_m > RANGE_M or (where := _place(agent)) is None:
            continue
        if where not in nearest or distance_m < nearest[where][0]:
            nearest[where] = distance_m, _seen(agent, where, distance_m, scene.speed_mps)
    return tuple(seen for _, seen in sorted(nearest.values(), key=lambda one: one[0])[:MOST_SEEN])


def risk_of(scene: Scene) -> str:
    """What `<think>` says of a scene."""
    return risk_words(agents_seen(scene), [side for side in ("left", "right") if side in paths_of(scene).by_side])


def risk_words(seen: Sequence[Seen], lanes: Collection[str] = ("left", "right")) -> str:
    """The greatest risk in what is seen, and on which side a lane is free, as `<think>` says it.

    "ahead closes in 2.0 s, left is free", "behind is near" or "clear, right is free".

    Args:
        seen: the road users.
        lanes: sides on which there is a lane.
    """
    free = [side for side in ("left", "right") if side in lanes and _is_free(side, seen)]
    room = f", {' and '.join(free)} {'is' if len(free) == 1 else 'are'} free" if free else ""
    closing = [(s, one) for one in seen if (s := one.closes_in_s) is not None and s <= CLOSING_S]
    if closing:
        seconds, one = min(closing, key=lambda found: found[0])
        return f"{one.where} closes in {max(HALF_S, round(seconds / HALF_S) * HALF_S):.1f} s{room}"
    near = [one for one in seen if abs(one.gap_m) <= NEAR_M]
    return f"{near[0].where} is near{room}" if near else f"clear{room}"


def _is_free(side: str, seen: Sequence[Seen]) -> bool:
    return all(one.where != side or abs(one.gap_m) > 2 * NEAR_M for one in seen)


def _place(agent: Agent) -> Where | None:
    """Which of the places an agent has; None where it drives along in a lane farther away."""
    y_m = agent.box.y_m
    if abs(remainder(agent.box.yaw_rad, 2 * pi)) > CROSSING_RAD:
        return "from left" if y_m > 0 else "from right"
    if abs(y_m) < LANE_M / 2:
        return "ahead" if agent.box.x_m >= 0 else "behind"
    if abs(y_m) < 1.5 * LANE_M:
        return "left" if y_m > 0 else "right"
    return None


def _seen(agent: Agent, where: Where, distance_m: float, speed_mps: float) -> Seen:
    vx = agent.vx_mps - speed_mps
    gap_m, faster_mps = agent.box.x_m, vx
    if where in ("from left", "from right"):
        gap_m = distance_m
        faster_mps = (agent.box.x_m * vx + agent.box.y_m * agent.vy_mps) / max(distance_m, 0.1)
    return Seen(where=where, gap_m=round(gap_m), speed_mps=max(-99, min(99, round(faster_mps))))
