"""What speaks against a claim that the target is centred: the localiser's own uncertainty, and its consistency.

A claim is held against this before it is made (rule 7). Says what is doubtful; what follows from it is the loop's.
"""

import math
from collections.abc import Sequence

from loopwright.agents.carm.navigator import Decision, Sighting
from loopwright.models.networks.localisation import Localisation


def why_unknown(seen: Localisation) -> str:
    """Why the picture is unlike those that the localiser was calibrated on; "" where it is not."""
    if seen.is_known:
        return ""
    return (
        f"the surest landmark is uncertain by {seen.least_sigma_mm:.0f} mm; "
        f"over anatomy that I know it is at most {seen.known_sigma_mm:.0f} mm"
    )


def jump_mm(target: str, before: Sequence[Sighting], now: Sequence[Sighting]) -> float:
    """How far the target's place moved between two successive pictures, the motion of the view aside.

    A sighting is the pose plus the offset seen there, so that the motion drops out. NaN where not both show the target:
    a guess beyond the picture's edge may well be wrong.
    """
    old, new = (next((s for s in seen if s.landmark == target), None) for seen in (before, now))
    return math.hypot(new.x_mm - old.x_mm, new.z_mm - old.z_mm) if old and new else math.nan


def doubt(decision: Decision, seen: Localisation, jumped_mm: float, max_sd_mm: float) -> str:
    """Why a claim that the target is centred may be false; "" where nothing speaks against it.

    Where a clinician pointed the target out, only the spread counts: what the picture shows does not.
    """
    if decision.sd_mm > max_sd_mm:
        return f"it may be {decision.sd_mm:.0f} mm from here"
    if decision.source == "clinician":
        return ""
    if why := why_unknown(seen):
        return f"I do not know this anatomy ({why})"
    if seen.known_jump_mm is not None and jumped_mm > seen.known_jump_mm:
        return f"its place jumped by {jumped_mm:.0f} mm against the motion that was made"
    return ""
