"""The atlas navigator: from what the localiser sees to one proposed motion of the view.

Where the target is in view, its own displacement decides. Else every landmark in view votes with its displacement plus
the population's mean offset to the target, and the localiser's own far guess votes too, each weighted by the inverse
of its variance. What a clinician has pointed out
outranks the network. Proposes only: the guard decides (rule 4). A language model takes this place through `Navigator`
(`loopwright.agents.carm.chat_navigator`) and is told the same estimate.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loopwright.agents.asker import Asker
from loopwright.agents.carm.prompts import Previous
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM, expected_offset_mm
from loopwright.tools.carm.geometry import Pose, view_axes
from loopwright.tools.carm.guard import Motion

Vector = NDArray[np.float64]

FADING = 1.2
"""Factor on an earlier sighting's standard deviation for every sighting since."""

LOST_SD_MM = 35.0
"""An elbow or wrist that is known no better than this is looked for along the arm."""

SURE_SD_MM = 15.0
"""A landmark in view that is known as well as this was seen."""

UNKNOWN_ARM_SD_MM = 250.0
"""How far an elbow or wrist may be from where the atlas has it, in an unknown posture."""

_JOINT_ABOVE = {
    f"{side} {joint}": f"{side} {above}"
    for side in ("Right", "Left")
    for joint, above in (("wrist", "elbow"), ("elbow", "humeral head"))
}

POINTED_OUT_SD_MM = 15.0
"""How exactly a clinician's "that is the ..." fixes a landmark to the image centre."""


class Anchor(Frozen):
    """A landmark that a clinician pointed out, where the view's centre was then (`_world`, mm)."""

    landmark: str
    x_mm: float
    z_mm: float


class Sighting(Frozen):
    """Where an earlier picture showed a landmark in view (`_world`, mm), and the standard deviation along an axis."""

    landmark: str
    x_mm: float
    z_mm: float
    sd_mm: float = Field(gt=0)


class Situation(Frozen):
    """All that a navigator is given. `refusals` are the guard's reasons at this moment, oldest first.

    `sightings` are those of earlier pictures, oldest first: a single picture errs, several err less. `previous` is what
    a model saw and commanded at the step before, `words` what the clinician said of this picture.
    """

    target: str
    pose: Pose
    localisation: Localisation
    image: ImageRef
    anchors: tuple[Anchor, ...] = ()
    denied: tuple[str, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    refusals: tuple[str, ...] = ()
    previous: Previous | None = None
    words: str = ""
    field_of_view_mm: float = Field(gt=0)
    max_step_mm: float = Field(gt=0)
    arrival_radius_mm: float = Field(gt=0)


class Decision(Frozen):
    """What the navigator wants: to stay, because the target is centred, or one motion of the view."""

    target: str
    arrived: bool
    motion: Motion
    distance_mm: float = Field(description="estimated distance from the target to the central ray, mm")
    sd_mm: float = Field(description="standard deviation of that estimate, mm")
    source: Literal["in view", "atlas", "clinician", "model"]
    rationale: str = Field(max_length=500)
    towards: str = Field(default="", description="what `distance_mm` is of, where it is not the target but on the way")
    said: Previous | None = Field(default=None, description="what a model saw and commanded, fed back at the next step")


class Navigator(Protocol):
    """Decides where to look next."""

    def decide(self, situation: Situation, asker: Asker) -> Decision:
        """One decision for one situation; deterministic given the situation and what `asker` answers."""
        ...


class Estimate(NamedTuple):
    """Offset (patient-left, caudal) in mm from the view's centre to the target, its sd, and where it comes from.

    `told_by` are the landmarks and pictures that an atlas estimate goes by, the surest first.
    """

    offset_mm: Vector
    sd_mm: float
    source: Literal["in view", "atlas", "clinician"]
    why: str
    told_by: tuple[str, ...] = ()


_Vote = tuple[Vector, float]
"""The target's offset from the view's centre as one source tells it, and its standard deviation, mm."""


class AtlasNavigator:
    """Own displacement where the target is in view, else the atlas offset from what is."""

    def decide(self, situation: Situation, asker: Asker | None = None) -> Decision:
        """See `Navigator`. After a refusal it proposes half the way, then a quarter. It asks nobody."""
        towards = waypoint(situation)
        estimate = estimate_target(towards)
        distance_mm = float(np.hypot(*estimate.offset_mm))
        on_target = towards is situation and estimate.source != "atlas"
        arrived = on_target and distance_mm <= situation.arrival_radius_mm
        share = 0.5 ** len(situation.refusals)
        step = np.zeros(2) if arrived else share * _within_step(estimate.offset_mm, situation.max_step_mm)
        return Decision(
            target=situation.target,
            arrived=arrived,
            motion=Motion(left_mm=round(float(step[0]), 1), caudal_mm=round(float(step[1]), 1)),
            distance_mm=round(distance_mm, 1),
            sd_mm=round(estimate.sd_mm, 1),
            source=estimate.source,
            rationale=estimate.why if towards is situation else f"by way of {towards.target}: {estimate.why}",
            towards="" if towards is situation else towards.target,
        )


def to_patient_mm(offset_uv_mm: Sequence[float], pose: Pose) -> Vector:
    """In-plane offset (image right, image down) to (patient-left, caudal), mm, at constant depth.

    In an oblique view the depth that a single picture cannot show is taken to be the isocentre's (least squares).
    """
    axes = view_axes(pose)
    seen = np.array([[-axes.u[0], -axes.u[2]], [-axes.v[0], -axes.v[2]]])
    return np.asarray(
        np.linalg.lstsq(seen, np.asarray(offset_uv_mm, dtype=np.float64), rcond=None)[0], dtype=np.float64
    )


def in_view(offset_uv_mm: Sequence[float], field_of_view_mm: float) -> bool:
    """Whether an in-plane offset lies on the picture."""
    return bool(np.max(np.abs(offset_uv_mm)) <= field_of_view_mm / 2)


def waypoint(situation: Situation) -> Situation:
    """`situation`, or the same with the landmark to look at first.

    Where an arm lies, a picture of the trunk does not tell. So an elbow or wrist that is anybody's guess is looked for
    along the arm: the joint above it first, unless that was seen already.
    """
    above = _JOINT_ABOVE.get(situation.target)
    if above is None or above in situation.denied or estimate_target(situation).sd_mm <= LOST_SD_MM:
        return situation
    seen = situation.localisation
    in_sight = in_view(seen.offsets_mm[above], situation.field_of_view_mm) and seen.sigma_mm[above] <= SURE_SD_MM
    if in_sight or any(s.landmark == above and s.sd_mm <= SURE_SD_MM for s in situation.sightings):
        return situation
    return waypoint(situation.model_copy(update={"target": above}))


def estimate_target(situation: Situation) -> Estimate:
    """Where the target lies, by all that was seen on this picture and before, and by what the clinician said."""
    target, seen, pose = situation.target, situation.localisation, situation.pose
    pointed_out = {a.landmark: _from_here(a, pose) for a in situation.anchors}
    if target in pointed_out:
        return Estimate(pointed_out[target], POINTED_OUT_SD_MM, "clinician", f"the clinician pointed out {target}")
    votes = {name: _vote(name, target, offset, POINTED_OUT_SD_MM) for name, offset in pointed_out.items()}
    if _contradicted(situation):
        return _fuse(votes)
    if target not in situation.denied and in_view(seen.offsets_mm[target], situation.field_of_view_mm):
        votes = {"now": (to_patient_mm(seen.offsets_mm[target], pose), seen.sigma_mm[target])} | _seen_before(situation)
        offset, sd_mm = _weighted_mean(votes)
        times = f", seen {len(votes)} times" if len(votes) > 1 else ""
        return Estimate(offset, sd_mm, "in view", f"{target} is in view{times}")
    return _fuse(votes | _visible_votes(situation) | _seen_before(situation))


def sightings_in(situation: Situation) -> tuple[Sighting, ...]:
    """What this picture adds to the sightings: every landmark in view, unless a clinician contradicted the picture."""
    if _contradicted(situation):
        return ()
    seen, pose = situation.localisation, situation.pose
    found = []
    for name, offset_uv_mm in seen.offsets_mm.items():
        if name not in situation.denied and in_view(offset_uv_mm, situation.field_of_view_mm):
            left_mm, caudal_mm = (float(v) for v in to_patient_mm(offset_uv_mm, pose))
            x_mm, z_mm = round(pose.x_mm - left_mm, 1), round(pose.z_mm - caudal_mm, 1)
            found.append(Sighting(landmark=name, x_mm=x_mm, z_mm=z_mm, sd_mm=seen.sigma_mm[name]))
    return tuple(found)


def _seen_before(situation: Situation) -> dict[str, _Vote]:
    """The earlier sightings of the target as votes: the older, the less they count."""
    earlier = [s for s in reversed(situation.sightings) if s.landmark == situation.target]
    return {
        f"an earlier picture ({age})": (_from_here(s, situation.pose), s.sd_mm * FADING**age)
        for age, s in enumerate(earlier, start=1)
    }


def _contradicted(situation: Situation) -> bool:
    """Whether the clinician just pointed out, on this very picture, what the localiser sees elsewhere.

    Then nothing that the localiser says of this picture is believed.
    """
    pose, offsets = situation.pose, situation.localisation.offsets_mm
    here = [a.landmark for a in situation.anchors if (a.x_mm, a.z_mm) == (pose.x_mm, pose.z_mm)]
    return any(np.hypot(*offsets[name]) > situation.field_of_view_mm / 4 for name in here)


def _visible_votes(situation: Situation) -> dict[str, _Vote]:
    seen, target, pose = situation.localisation, situation.target, situation.pose
    allowed = [n for n in seen.offsets_mm if n not in situation.denied and n != target]
    visible = [n for n in allowed if in_view(seen.offsets_mm[n], situation.field_of_view_mm)]
    if not visible and allowed:
        visible = [max(allowed, key=lambda n: seen.nearest.get(n, 0.0))]
    votes = {n: _vote(n, target, to_patient_mm(seen.offsets_mm[n], pose), seen.sigma_mm[n]) for n in visible}
    if target not in situation.denied or not votes:
        # The picture as a whole also tells where the target lies beyond its edge, and how surely.
        votes["the whole picture"] = (to_patient_mm(seen.offsets_mm[target], pose), seen.sigma_mm[target])
    return votes


def _vote(landmark: str, target: str, offset_mm: Vector, sd_mm: float) -> _Vote:
    """The target's offset and sd as `landmark` tells it, through the population's mean offset between the two."""
    variance = sd_mm**2 + sum(_atlas_variance_mm2(name) for name in (landmark, target))
    return offset_mm + np.asarray(expected_offset_mm(landmark, target)), float(np.sqrt(variance))


def _atlas_variance_mm2(landmark: str) -> float:
    """Along an axis. The atlas was measured with arms crossed on the chest; how these lie, nobody said."""
    entry = ATLAS_OFFSETS_MM[landmark]
    if landmark in _JOINT_ABOVE:
        return UNKNOWN_ARM_SD_MM**2
    return (entry.caudal_sd_mm**2 + entry.left_sd_mm**2) / 2


def _fuse(votes: Mapping[str, _Vote]) -> Estimate:
    told_by = tuple(sorted(votes, key=lambda name: votes[name][1])[:3])
    return Estimate(*_weighted_mean(votes), "atlas", f"expected from {', '.join(told_by)}", told_by)


def _weighted_mean(votes: Mapping[str, _Vote]) -> _Vote:
    """Mean by inverse variance. Its sd is the best vote's: the votes err alike, so many are not surer than one."""
    weights = {name: 1 / sd_mm**2 for name, (_, sd_mm) in votes.items()}
    offset = sum((weights[n] * votes[n][0] for n in votes), np.zeros(2)) / sum(weights.values())
    return offset, min(sd_mm for _, sd_mm in votes.values())


def _from_here(place: Anchor | Sighting, pose: Pose) -> Vector:
    """(patient-left, caudal) mm from the view's centre to a place."""
    return np.array([pose.x_mm - place.x_mm, pose.z_mm - place.z_mm])


def _within_step(offset_mm: Vector, max_step_mm: float) -> Vector:
    """The same direction, as far as one step may go."""
    largest = float(np.max(np.abs(offset_mm)))
    return offset_mm if largest <= max_step_mm else offset_mm * (max_step_mm / largest)
