"""What of a moment was sensed: what is missing or no number is left out and named, so that nobody drives by it.

`FaultyDrive` is a drive whose sensors fail at steps that are told, for rehearsals and tests.
"""

import re
from collections.abc import Iterable
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from loopwright.errors import BadInput
from loopwright.tools.drive.scene import Scene
from loopwright.tools.drive.views import Picture
from loopwright.tools.drive.world import DriveWorld, View

FaultName = Literal["camera", "pose", "ego", "gap"]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)
"""No picture comes; a road user's pose, or the ego's speed, is NaN; a second is lost."""
GAP_S = 1.0
_TOLD = re.compile(r"(?P<fault>[a-z]+)@(?P<step>[0-9]{1,4})")


class Sensed(NamedTuple):
    """A moment as far as it is known."""

    scene: Scene | None
    """None where the ego's own motion is not known."""
    faults: tuple[str, ...]
    """What is wrong with it, each in words."""


def sensed(scene: Scene) -> Sensed:
    """A scene that was not validated, without what is no number."""
    own = (scene.time_s, scene.speed_mps, scene.acceleration_mps2, *(v for point in scene.history for v in point))
    if not all(map(isfinite, own)):
        return Sensed(None, ("the ego's own motion is no number",))
    bad = [agent for agent in scene.agents if not _is_finite(agent.box, agent.vx_mps, agent.vy_mps)]
    kept = tuple(agent for agent in scene.agents if agent not in bad)
    faults = tuple(f"the pose of {agent.id} is no number" for agent in bad)
    return Sensed(scene.model_copy(update={"agents": kept}) if bad else scene, faults)


def read_faults(told: Iterable[str]) -> dict[int, frozenset[FaultName]]:
    """`KIND@STEP` each, by step.

    Raises:
        BadInput: one is of another form, or of an unknown kind.
    """
    found: dict[int, frozenset[FaultName]] = {}
    for text in told:
        match = _TOLD.fullmatch(text)
        kinds: list[FaultName] = [fault for fault in FAULTS if match is not None and match["fault"] == fault]
        if match is None or not kinds:
            raise BadInput(f"`faults` {text!r} is no fault. Expected KIND@STEP with KIND of {', '.join(FAULTS)}.")
        step = int(match["step"])
        found[step] = frozenset([*found.get(step, ()), *kinds])
    return found


class FaultyDrive(DriveWorld):
    """A drive whose sensors fail. What is driven, and the guard, are the drive's own."""

    def __init__(
        self,
        scenario: str,
        seed: int,
        *,
        faults: Iterable[str],
        device: Path | None = None,
        views: tuple[View, ...] = ("top",),
    ) -> None:
        """As `DriveWorld`; `faults` are `KIND@STEP` each."""
        self._faults = read_faults(faults)
        super().__init__(scenario, seed, device=device, views=views)

    @property
    def scene(self) -> Scene:
        """The moment as the sensors have it."""
        scene, now = super().scene, self._now()
        lost = sum("gap" in kinds for step, kinds in self._faults.items() if step <= len(self.state["driven"]))
        change: dict[str, Any] = {"time_s": scene.time_s + GAP_S * lost}
        if "ego" in now:
            change["speed_mps"] = nan
        if "pose" in now and scene.agents:
            first, *rest = scene.agents
            box = first.box.model_copy(update={"x_m": nan})
            change["agents"] = (first.model_copy(update={"box": box}), *rest)
        return scene.model_copy(update=change)

    def taken(self, view: View) -> Picture | None:
        """As `DriveWorld.taken`."""
        return None if "camera" in self._now() else super().taken(view)

    def _now(self) -> frozenset[FaultName]:
        return self._faults.get(len(self.state["driven"]), frozenset())


def _is_finite(box: Any, *others: float) -> bool:
    return all(map(isfinite, (box.x_m, box.y_m, box.yaw_rad, *others)))
