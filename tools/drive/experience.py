"""Earlier moments of driving and how they went, kept as rounds in the memory and found again by likeness.

As in Agent-Driver (Mao et al. 2024): the k nearest by the squared distances of ego state, goal and history, weighted 1,
10 and 1. A loop writes an experience with `ctx.remember(**experience(...))`; the signature, command and speed band, is
what the database looks up, so that recalling takes as long at a million rounds as at ten.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.scene import STEP_S, Command, Point, Scene

if TYPE_CHECKING:
    from loopwright.memory import Memory, StepRow

Floats = NDArray[np.float64]
K = 3
WEIGHTS = (1.0, 10.0, 1.0)
"""Of ego state, goal and history."""
BAND_MPS = 5.0
"""Moments of the present speed's band, and of the two beside it, are compared."""
PER_SIGNATURE = 100
"""The newest moments of each signature."""
COMMANDS: tuple[Command, ...] = get_args(Command)


class Alike(NamedTuple):
    """An experience, and how far it is from the present moment."""

    step: "StepRow"
    distance: float

    @property
    def likeness(self) -> float:
        """From 1 (the same) down to 0."""
        return math.exp(-self.distance)


def experience(scene: Scene, waypoints: Sequence[Point], *, action: str, outcome: str = "") -> dict[str, Any]:
    """What to remember of a moment: label, signature and detail of a round.

    Args:
        scene: the moment.
        waypoints: what was driven, or in a log what came.
        action: in a word; the round's label.
        outcome: how it ended where it did ("crashed"); "" where the drive went on.
    """
    detail = {
        "token": scene.token,
        "speed_mps": round(scene.speed_mps, 2),
        "command": scene.command,
        "history": [[round(x, 2), round(y, 2)] for x, y in scene.history],
        "waypoints": [[round(x, 2), round(y, 2)] for x, y in waypoints],
        "outcome": outcome,
    }
    return {"label": action, "signature": _signature(scene.command, _band(scene.speed_mps)), "detail": detail}


def nearest(memory: "Memory", loop: str, scene: Scene, k: int = K) -> list[Alike]:
    """The `k` experiences of any session of `loop` that are most like `scene`, nearest first.

    The moment itself is none of them. Fewer come back where fewer were driven at about this speed.
    """
    here = _key(scene.command, scene.speed_mps, scene.history)
    found = [
        Alike(step, distance(here, _key_of(step)))
        for step in _candidates(memory, loop, scene)
        if step.detail.get("token") != scene.token
    ]
    return sorted(found, key=lambda each: each.distance)[:k]


def distance(one: Sequence[Floats], other: Sequence[Floats]) -> float:
    """Between the keys of two moments."""
    return float(sum(weight * ((a - b) ** 2).sum() for weight, a, b in zip(WEIGHTS, one, other, strict=True)))


def _candidates(memory: "Memory", loop: str, scene: Scene) -> "Iterator[StepRow]":
    band = _band(scene.speed_mps)
    for command in COMMANDS:
        for each in (band - 1, band, band + 1):
            yield from memory.steps.similar(loop, _signature(command, each), PER_SIGNATURE)


def _band(speed_mps: float) -> int:
    return int(speed_mps // BAND_MPS)


def _signature(command: str, band: int) -> str:
    return f"experience {command} {band}"


def _key_of(step: "StepRow") -> tuple[Floats, Floats, Floats]:
    return _key(step.detail["command"], step.detail["speed_mps"], step.detail["history"])


def _key(command: str, speed_mps: float, history: Sequence[Sequence[float]]) -> tuple[Floats, Floats, Floats]:
    """Ego state (the last step, its change over the step before, the speed, each in m a step), goal, past points."""
    past = np.asarray(history, dtype=np.float64)
    steps = np.diff(past, axis=0)
    state = np.concatenate([steps[-1], steps[-1] - steps[-2], [speed_mps * STEP_S]])
    goal = np.array([command == each for each in COMMANDS], dtype=np.float64)
    return state, goal, past[:-1].ravel()
