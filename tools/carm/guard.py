"""What code says of a proposed motion, before any human or device is asked (rule 4).

Pure functions over frozen values. A motion is accepted as it is or rejected with the rule, the value and the limit;
nothing is ever clamped, and no text moves a limit. What one motion or exposure may be, the world's own guard asks
(`MotionLimits`); what may follow after a way gone, the loop's (`check_track`). Knows no image, localiser or device.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from loopwright.schema import Frozen, Verdict
from loopwright.settings import CArmSettings
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.volume import Volume

Direction = Literal["left", "right", "cranial", "caudal", "anterior", "posterior"]

_ACCEPTED = Verdict(ok=True)


class Motion(Frozen):
    """A motion of the *view* in patient directions (mm) and of the two angles (degrees). See `Pose.moved`."""

    left_mm: float = Field(default=0.0, allow_inf_nan=False, description="to the patient's left, mm")
    caudal_mm: float = Field(default=0.0, allow_inf_nan=False, description="towards the patient's feet, mm")
    anterior_mm: float = Field(default=0.0, allow_inf_nan=False, description="towards the patient's front, mm")
    alpha_deg: float = Field(default=0.0, allow_inf_nan=False, description="detector towards patient-left, degrees")
    beta_deg: float = Field(default=0.0, allow_inf_nan=False, description="detector towards the head, degrees")

    @classmethod
    def towards(cls, direction: Direction, distance_mm: float) -> "Motion":
        """`distance_mm` along one patient direction."""
        match direction:
            case "left":
                return cls(left_mm=distance_mm)
            case "right":
                return cls(left_mm=-distance_mm)
            case "caudal":
                return cls(caudal_mm=distance_mm)
            case "cranial":
                return cls(caudal_mm=-distance_mm)
            case "anterior":
                return cls(anterior_mm=distance_mm)
            case "posterior":
                return cls(anterior_mm=-distance_mm)

    @property
    def length_mm(self) -> float:
        """How far the isocentre travels."""
        return math.hypot(self.left_mm, self.caudal_mm, self.anterior_mm)

    def describe(self) -> str:
        """For people: '20 mm cranial, 5 mm left', or 'nowhere'."""
        axes = (
            (self.caudal_mm, "mm caudal", "mm cranial"),
            (self.left_mm, "mm left", "mm right"),
            (self.anterior_mm, "mm anterior", "mm posterior"),
            (self.alpha_deg, "deg alpha", "deg alpha"),
            (self.beta_deg, "deg beta", "deg beta"),
        )
        parts = [
            f"{value if 'deg' in plus else abs(value):.3g} {plus if value > 0 else minus}"
            for value, plus, minus in axes
            if value
        ]
        return ", ".join(parts) or "nowhere"

    def applied_to(self, pose: Pose) -> Pose:
        """The pose after this motion. Raises `ValueError` where the sum is not finite."""
        return pose.moved(**self.model_dump())


class MotionLimits(Frozen):
    """What bounds the C-arm's motion: the envelope of poses, and limits on one motion and on all of a session's.

    Attributes:
        low_world: (x, y, z) mm, the least corner of the isocentre's envelope.
        high_world: (x, y, z) mm, the greatest corner.
        alpha_range_deg: least and greatest alpha.
        beta_range_deg: least and greatest beta.
        max_step_mm: of one motion along one axis.
        max_step_deg: of one motion in one angle.
        max_travel_mm: of all motions together.
        max_exposures: including the start image.
        same_place_mm: poses closer than this are one place (a degree counts as a millimetre).
        max_stalled_moves: so many motions may fail to bring the target nearer than it was claimed to be before them.
    """

    low_world: tuple[float, float, float]
    high_world: tuple[float, float, float]
    alpha_range_deg: tuple[float, float]
    beta_range_deg: tuple[float, float]
    max_step_mm: float
    max_step_deg: float
    max_travel_mm: float
    max_exposures: int
    same_place_mm: float = Field(default=5.0, ge=0)
    max_stalled_moves: int = Field(default=3, ge=1)

    @classmethod
    def of(cls, settings: CArmSettings, volume: Volume) -> "MotionLimits":
        """The settings' limits; the envelope is the volume's bounds and the settings' margin."""
        low, high = volume.bounds_world
        x0, y0, z0 = (float(v) - settings.envelope_margin_mm for v in low)
        x1, y1, z1 = (float(v) + settings.envelope_margin_mm for v in high)
        return cls(
            low_world=(x0, y0, z0),
            high_world=(x1, y1, z1),
            alpha_range_deg=settings.alpha_range_deg,
            beta_range_deg=settings.beta_range_deg,
            max_step_mm=settings.max_step_mm,
            max_step_deg=settings.max_step_deg,
            max_travel_mm=settings.max_travel_mm,
            max_exposures=settings.max_exposures,
        )

    def check_pose(self, pose: Pose) -> Verdict:
        """Rule `envelope`: whether the C-arm may stand at `pose`."""
        return self._check_envelope(*_numbers(pose))

    def check_step(self, motion: Motion, pose: Pose) -> Verdict:
        """Rules `finite`, `step` and `envelope`: what a device itself refuses of one motion from `pose`."""
        values = motion.model_dump()
        for name, value in values.items():
            limit, unit = (self.max_step_deg, "deg") if name.endswith("_deg") else (self.max_step_mm, "mm")
            if not math.isfinite(value):
                return _rejected("finite", f"`{name}` is {value!r}; expected a finite number of {unit}")
            if abs(value) > limit:
                return _rejected("step", f"`{name}` is {value:.6g} {unit}; the limit of one motion is {limit:g} {unit}")
        x, y, z, alpha, beta = _numbers(pose)
        return self._check_envelope(
            x - motion.left_mm,
            y + motion.anterior_mm,
            z - motion.caudal_mm,
            alpha + motion.alpha_deg,
            beta + motion.beta_deg,
        )

    def check_exposure(self, exposures: int) -> Verdict:
        """Rule `exposures`: whether another may be taken after `exposures`."""
        if exposures < self.max_exposures:
            return _ACCEPTED
        return _rejected("exposures", f"{exposures} exposures were taken; the budget is {self.max_exposures}")

    def _check_envelope(self, *numbers: float) -> Verdict:
        ranges = (*zip(self.low_world, self.high_world, strict=True), self.alpha_range_deg, self.beta_range_deg)
        for name, value, (low, high) in zip(Pose.model_fields, numbers, ranges, strict=True):
            if not low <= value <= high:
                unit = name.rsplit("_", maxsplit=1)[1]
                return _rejected(
                    "envelope", f"`{name}` would be {value:.6g} {unit}; the envelope is {low:.6g} to {high:.6g} {unit}"
                )
        return _ACCEPTED


class Track(Frozen):
    """What a session did on the way to its present goal.

    Attributes:
        visited: poses at which an exposure was taken, in order; the last is where the C-arm stands.
        travel_mm: of the whole session.
        claimed_mm: what the navigator took the distance of what it was after to be at the visited poses, since the last
            motion that was not its own.
        towards: what these are the distances of: '' for the goal, else a landmark that is looked at on the way.
    """

    visited: tuple[Pose, ...] = ()
    travel_mm: float = Field(default=0.0, ge=0)
    claimed_mm: tuple[float, ...] = ()
    towards: str = ""

    def at(self, pose: Pose, claimed_mm: float | None, towards: str = "") -> "Track":
        """Standing at `pose` now. `claimed_mm` is None where a human directs, which starts the claims afresh.

        So does another thing to go `towards`: who has reached the elbow is not nearer to the wrist by that.
        """
        before = self.claimed_mm if towards == self.towards else ()
        return Track(
            visited=(*self.visited, pose),
            travel_mm=self.travel_mm,
            claimed_mm=() if claimed_mm is None else (*before, claimed_mm),
            towards=towards,
        )

    def after(self, motion: Motion) -> "Track":
        """`motion` was made."""
        return self.model_copy(update={"travel_mm": self.travel_mm + motion.length_mm})

    def for_new_goal(self) -> "Track":
        """Another target: old places and claims say nothing of it; travel stays counted."""
        return self.model_copy(update={"visited": (), "claimed_mm": (), "towards": ""})


def check_track(motion: Motion, pose: Pose, track: Track, limits: MotionLimits) -> Verdict:
    """The rules that go by the way so far, in order: travel, oscillation, progress.

    Args:
        motion: what is proposed.
        pose: where the C-arm stands.
        track: the way so far; its last place is `pose`.
        limits: what applies.

    Returns:
        A verdict whose `rule` names the first rule that is broken and whose `reason` its value and limit.
    """
    checks: tuple[Callable[[], Verdict], ...] = (
        lambda: _check_travel(motion, track, limits),
        lambda: _check_oscillation(motion, pose, track, limits),
        lambda: _check_progress(track, limits),
    )
    return next((verdict for check in checks if not (verdict := check()).ok), _ACCEPTED)


def _check_travel(motion: Motion, track: Track, limits: MotionLimits) -> Verdict:
    total = track.travel_mm + motion.length_mm
    if total <= limits.max_travel_mm:
        return _ACCEPTED
    return _rejected(
        "travel", f"the session would have travelled {total:.6g} mm; the limit is {limits.max_travel_mm:g}"
    )


def _check_oscillation(motion: Motion, pose: Pose, track: Track, limits: MotionLimits) -> Verdict:
    """A motion between two places that was made before (A-B-A-B) would be made for ever.

    Going back once (A-B-A) is allowed: people and rewinds do. Steps shorter than a place is wide are told apart.
    """
    end = motion.applied_to(pose)
    same_mm = min(limits.same_place_mm, _apart_mm(pose, end) / 2)
    for start_before, end_before in zip(track.visited, track.visited[1:], strict=False):
        if _apart_mm(pose, start_before) <= same_mm and _apart_mm(end, end_before) <= same_mm:
            return _rejected(
                "oscillation",
                f"the same way was gone before, and led back here: both ends lie within {same_mm:.3g} mm of it; "
                f"places closer than {limits.same_place_mm:g} mm are one",
            )
    return _ACCEPTED


def _check_progress(track: Track, limits: MotionLimits) -> Verdict:
    n = limits.max_stalled_moves
    if len(track.claimed_mm) <= n or min(track.claimed_mm[-n:]) < track.claimed_mm[-n - 1]:
        return _ACCEPTED
    return _rejected(
        "progress",
        f"{n} motions took the target from {track.claimed_mm[-n - 1]:.3g} to {track.claimed_mm[-1]:.3g} mm and never "
        f"nearer; {n} is the limit",
    )


def _apart_mm(a: Pose, b: Pose) -> float:
    """A degree counts as a millimetre."""
    return math.dist(tuple(_numbers(a)), tuple(_numbers(b)))


def _numbers(pose: Pose) -> Iterator[float]:
    yield from (pose.x_mm, pose.y_mm, pose.z_mm, pose.alpha_deg, pose.beta_deg)


def _rejected(rule: str, reason: str) -> Verdict:
    return Verdict(ok=False, rule=rule, reason=reason + ".")
