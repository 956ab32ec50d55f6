"""The C-arm's event log read back as rounds: one picture, and all that was seen, said, decided and done about it.

A round is a (branch, step). After a rewind or in a fork the first round has no exposure of its own: it begins with the
picture of the round that it went back to, or of its parent. Knows no volume and draws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from loopwright.agents.navigator import Decision
from loopwright.models.localisation import Localisation
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


@dataclass(kw_only=True)
class Round:
    """One round. `is_left_behind`: a rewind went back before it, or gave its picture another continuation."""

    branch: int
    step: int
    events: list[Event] = field(default_factory=list)
    observation: Observation | None = None
    origin: Literal["taken", "rewound", "forked"] = "taken"
    is_left_behind: bool = False

    @property
    def name(self) -> str:
        """'3', or '1:3' for step 3 of the first branch."""
        return f"{self.branch}:{self.step}" if self.branch else str(self.step)

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
        return list({d.target: Claim(d.target, d.distance_mm, d.arrived) for d in own}.values())


def read_rounds(events: Sequence[Event]) -> list[Round]:
    """The rounds of a session in the order in which they began."""
    rounds: dict[tuple[int, int], Round] = {}
    newest: dict[int, Round] = {}  # step to the round that last stood at it with a picture
    came_from: dict[int, Round] = {}  # branch to the round whose picture it began with
    for event in events:
        at = rounds.setdefault((event.branch, event.step), Round(branch=event.branch, step=event.step))
        at.events.append(event)
        match event.kind:
            case "observed":
                at.observation = Observation.of(event.payload)
            case "forked":
                at.observation, at.origin = Observation.of(event.payload["state"]["observation"]), "forked"
            case "rewound" if event.step in newest and newest[event.step].branch < event.branch:
                came_from[event.branch] = newest[event.step]
                at.observation, at.origin = newest[event.step].observation, "rewound"
        if at.observation is not None:
            newest[at.step] = at
    _mark_left_behind(list(rounds.values()), came_from)
    return list(rounds.values())


def _mark_left_behind(rounds: Sequence[Round], came_from: dict[int, Round]) -> None:
    """Everything but the line that leads to the newest branch."""
    branch, limit = max((r.branch for r in rounds), default=0), float("inf")
    line: dict[int, float] = {}  # branch to the step before which its rounds belong to the line
    while True:
        line[branch] = limit
        if branch not in came_from:
            break
        source = came_from[branch]
        branch, limit = source.branch, source.step
    for one in rounds:
        one.is_left_behind = one.step >= line.get(one.branch, 0)
