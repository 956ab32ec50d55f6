"""The steps of a C-arm session: one picture, and all that was seen, said, decided and done about it.

Knows no volume and draws nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from loopwright.agents.carm.navigator import Decision
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event
from loopwright.tools.carm.tools import Exposure, move_c_arm


class Claim(NamedTuple):
    """How far the navigator took a target to be."""

    target: str
    distance_mm: float
    arrived: bool


class CArmStep(SessionStep):
    """One step of the C-arm loop."""

    @property
    def observation(self) -> Exposure | None:
        """The exposure that it began with."""
        return None if self.seen is None else Exposure.model_validate(self.seen)

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
        acts = [e.payload for e in self.events if e.kind == "acted"]
        return any(p["tool"] == move_c_arm.name and p["status"] == "done" for p in acts)

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
