"""A case: one patient's volume and landmarks."""

from dataclasses import dataclass, field

from loopwright.tools.carm.landmarks import Landmarks
from loopwright.tools.carm.volume import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One patient.

    Attributes:
        name: short, fit for file names: `chest`, `phantom-7`, or the file's stem.
        volume: the CT.
        landmarks: canonical name to (3,) mm in `_world`; only those that are known, possibly none.
    """

    name: str
    volume: Volume
    landmarks: Landmarks = field(default_factory=dict)
