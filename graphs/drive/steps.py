"""The steps of a drive session: what was seen, what was imagined of what comes, and what then came. Draws nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from loopwright.agents.drive.driver import Thought
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.schema import Event, ImageRef
from loopwright.tools.drive.scene import Point
from loopwright.tools.drive.tools import SeenRoad


class Imagined(NamedTuple):
    """A frame to come as it was imagined."""

    image: ImageRef
    horizon_s: float


class DriveStep(SessionStep):
    """One step of the drive loop."""

    @property
    def road(self) -> SeenRoad | None:
        """What it began with."""
        return None if self.seen is None else SeenRoad.model_validate(self.seen)

    @property
    def imagined(self) -> Imagined | None:
        """The first frame with a picture."""
        frames = [frame for output in self._outputs() for frame in output.get("frames", (output,))]
        drawn = [frame for frame in frames if frame.get("image") is not None]
        by_model = [frame for frame in drawn if frame in self._outputs()]
        frame = next(iter(by_model or drawn), None)
        return None if frame is None else Imagined(ImageRef.model_validate(frame["image"]), frame["horizon_s"])

    @property
    def came(self) -> list[dict[str, Any]]:
        """Frames imagined earlier, beside this step's."""
        return [e.payload for e in self.events if e.kind == "came"]

    @property
    def thoughts(self) -> list[Thought]:
        """All that was thought, in order."""
        return [Thought.model_validate(e.payload) for e in self.events if e.kind == "thought"]

    @property
    def expected(self) -> tuple[Point, ...]:
        """The short-term prediction."""
        found = [e.payload["waypoints"] for e in self.events if e.kind == "predicted"]
        return tuple((x, y) for x, y in found[-1]) if found else ()

    @property
    def is_driven(self) -> bool:
        """Whether its last thought was driven."""
        return any(e.kind == "acted" and e.payload["status"] == "done" for e in self.events)

    def _outputs(self) -> list[dict[str, Any]]:
        return [e.payload["output"] for e in self.events if e.kind == "observed" and e.payload.get("output")]


class Shot(NamedTuple):
    """One column of a film strip."""

    step: DriveStep
    came: ImageRef | None
    """What then was seen where the imagined frame's moment came; None where it did not."""
    alike: dict[str, Any] | None


def read_steps(events: Sequence[Event]) -> list[DriveStep]:
    """The steps of a session in the order in which they began."""
    return read_steps_as(DriveStep, events)


def film(steps: Sequence[DriveStep]) -> list[Shot]:
    """Seen, imagined, came: one shot for each step that was not left behind and has a picture."""
    came = {payload["imagined"]["sha256"]: payload for one in steps for payload in one.came}
    shots = []
    for one in steps:
        if one.is_left_behind or one.road is None or one.road.images.top is None:
            continue
        then = None if one.imagined is None else came.get(one.imagined.image.sha256)
        shots.append(Shot(one, None if then is None else ImageRef.model_validate(then["came"]), then))
    return shots
