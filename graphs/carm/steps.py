"""The steps of a C-arm session: one picture, and all that was seen, said, decided and done about it.

Knows no volume and draws nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from loopwright.agents.carm.navigator import Decision
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event, ImageRef
from loopwright.tools.carm.geometry import Pose


class Observation(NamedTuple):
    """One exposure: where it was taken, how many there had been with it, and the picture."""

    pose: Pose
    exposures: int
    image: ImageRef

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "Observation":
        """From the JSON of an `observed` event."""
        pose, image = Pose.model_validate(payload["pose"]), ImageRef.model_validate(payload["image"])
        return cls(pose, payload["exposures"], image)


class Claim(NamedTuple):
    """How far the navigator took a target to be."""

    target: str
    distance_mm: float
    arrived: bool


class CArmStep(SessionStep):
    """One step of the C-arm loop."""

    @property
    def observation(self) -> Observation | None:
        """The exposure that it began with."""
        return None if self.seen is None else Observation.of(self.seen)

    @property
    def localisation(self) -> Localisation | None:
        """What the localiser saw, as revised where the clinician knew better."""
        seen = [e.payload for e in self.events if e.kind in ("localised", "relocalised")]
        return Localisation.model_validate(seen[-1]) if seen else None

    @property
    def decisions(self) -> list[Decision]:
        """Everything the navigator decided here, in order."""
        return [Decision.model_validate(e.payload) for e in self.events if e.kind == "decided"]

    @property
    def proposed(self) -> Decision | None:
        """The last motion that was decided on, made or not."""
        return next((d for d in reversed(self.decisions) if not d.arrived), None)

    @property
    def has_moved(self) -> bool:
        """Whether a motion was made from here."""
        return any(e.kind == "moved" and e.payload["status"] == "done" for e in self.events)

    @property
    def claims(self) -> list[Claim]:
        """The newest claim for each target decided on here; a motion that a human dictated claims nothing."""
        own = [d for d in self.decisions if d.source != "clinician" or d.sd_mm > 0]
        reached = {e.payload["target"] for e in self.events if e.kind == "reached"}  # a claim that is doubted is not
        claims = (Claim(d.target, d.distance_mm, d.arrived and d.target in reached) for d in own)
        return list({claim.target: claim for claim in claims}.values())


def read_steps(events: Sequence[Event]) -> list[CArmStep]:
    """The steps of a session in the order in which they began."""
    return read_steps_as(CArmStep, events)
