"""Where the landmarks lie on average: the population's geometry, in the coronal plane, from T1.

Recomputed over the 165 complete cases of the public `marszzibros/C-arm-localization-LLMs` data (NMDID decedents, arms
crossed on the chest). Knows no volume. Rules of thumb that fail in this population (the right wrist lies on the
patient's left in 89 % of cases) are why nothing here is used as a guard.
"""

from collections.abc import Mapping
from typing import NamedTuple

from loopwright.tools.carm.landmarks import canonical_name


class AtlasEntry(NamedTuple):
    """Mean and standard deviation of a landmark's position relative to T1, mm, patient directions."""

    caudal_mm: float
    left_mm: float
    caudal_sd_mm: float
    left_sd_mm: float


class OffsetMm(NamedTuple):
    """How far to move the view, mm, patient directions."""

    left_mm: float
    caudal_mm: float


ATLAS_OFFSETS_MM: Mapping[str, AtlasEntry] = {
    "Skull": AtlasEntry(-164, 5, 17, 21),
    "Right humeral head": AtlasEntry(-8, -140, 21, 16),
    "Left humeral head": AtlasEntry(-6, 147, 21, 15),
    "Right scapular inferior angle": AtlasEntry(130, -115, 20, 20),
    "Left scapular inferior angle": AtlasEntry(134, 117, 20, 22),
    "Right elbow": AtlasEntry(250, -174, 46, 54),
    "Left elbow": AtlasEntry(243, 179, 46, 45),
    "Right wrist": AtlasEntry(204, 67, 65, 62),
    "Left wrist": AtlasEntry(192, -57, 65, 58),
    "T1": AtlasEntry(0, 0, 0, 0),
    "Carina": AtlasEntry(63, -3, 18, 8),
    "Right hemidiaphragm": AtlasEntry(158, -69, 31, 15),
    "Left hemidiaphragm": AtlasEntry(176, 94, 31, 15),
    "T12": AtlasEntry(260, -1, 25, 12),
}
"""By canonical name, in id order. The lateral deviations of carina, hemidiaphragms and T12 were not tabulated: ours."""


def expected_offset_mm(from_landmark: str, to_landmark: str) -> OffsetMm:
    """Mean way from one landmark to another: (left_mm, caudal_mm) to move the view.

    Raises:
        UnknownName: a name that is no landmark.
    """
    start, end = (ATLAS_OFFSETS_MM[canonical_name(name)] for name in (from_landmark, to_landmark))
    return OffsetMm(left_mm=end.left_mm - start.left_mm, caudal_mm=end.caudal_mm - start.caudal_mm)
