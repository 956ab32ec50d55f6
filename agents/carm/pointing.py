"""What pointing at the C-arm's picture says: where a landmark is, where to go, and which landmark is not there.

Each is a message like any other, written for whoever pointed and read back by rules. A place is said as the way to it
from the middle of the picture, in patient directions, in the plane through the isocentre.
"""

import re
from typing import Any

from pydantic import Field

from loopwright.agents.feedback import unclear
from loopwright.errors import UnknownName
from loopwright.schema import Feedback, Unclear
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.landmarks import canonical_name

_PART = re.compile(r"(?P<mm>[0-9]+(?:\.[0-9]+)?) mm (?P<to>left|right|cranial|caudal|anterior|posterior)")
_GO_HERE = re.compile(r"go here: (?P<way>.+)")
_IS_HERE = re.compile(r"(?:the )?(?P<name>.+) is here: (?P<way>.+)")
_NOT_HERE = re.compile(r"not this one: (?:the )?(?P<name>.+)")
MAX_WAY_MM = 1000.0


class _Way(Feedback):
    """A way from the middle of the picture, mm."""

    left_mm: float = Field(default=0.0, ge=-MAX_WAY_MM, le=MAX_WAY_MM)
    caudal_mm: float = Field(default=0.0, ge=-MAX_WAY_MM, le=MAX_WAY_MM)
    anterior_mm: float = Field(default=0.0, ge=-MAX_WAY_MM, le=MAX_WAY_MM)

    @property
    def motion(self) -> Motion:
        """The motion of the view that centres the place."""
        return Motion(left_mm=self.left_mm, caudal_mm=self.caudal_mm, anterior_mm=self.anterior_mm)


class GoHere(_Way):
    """Move the view so that this place is in its middle."""

    @classmethod
    def read(cls, text: str) -> "GoHere | Unclear | None":
        """`go here: 12.5 mm left, 30 mm caudal`."""
        found = _GO_HERE.fullmatch(text)
        return found and _located(cls, text, found["way"])

    def order(self) -> tuple[str, dict[str, Any]]:
        """This very motion needs no further consent."""
        return "move_c_arm", self.motion.model_dump()


class PointOut(_Way):
    """This landmark is here, whatever the model made of it."""

    landmark: str = Field(max_length=40)

    @classmethod
    def read(cls, text: str) -> "PointOut | Unclear | None":
        """`the Carina is here: 12.5 mm left, 30 mm caudal`."""
        found = _IS_HERE.fullmatch(text)
        return found and _located(cls, text, found["way"], found["name"])


class NotHere(Feedback):
    """What is marked as this landmark is something else."""

    landmark: str = Field(max_length=40)

    @classmethod
    def read(cls, text: str) -> "NotHere | Unclear | None":
        """`not this one: the Carina`."""
        found = _NOT_HERE.fullmatch(text)
        return found and _located(cls, text, "", found["name"])


POINTING = (GoHere, PointOut, NotHere)


def way_text(left_mm: float, caudal_mm: float, anterior_mm: float) -> str:
    """A way as it is said, to a tenth of a millimetre: '12.5 mm left, 30.0 mm caudal'."""
    parts = (
        (left_mm, "left", "right"),
        (caudal_mm, "caudal", "cranial"),
        (anterior_mm, "anterior", "posterior"),
    )
    return ", ".join(f"{abs(mm):.1f} mm {plus if mm > 0 else minus}" for mm, plus, minus in parts if round(mm, 1))


def _located(kind: Any, text: str, way: str, name: str | None = None) -> Any:
    """A value of `kind`, or what is wrong with it."""
    fields: dict[str, Any] = {}
    for part in filter(None, way.split(", ")):
        found = _PART.fullmatch(part)
        if found is None or float(found["mm"]) > MAX_WAY_MM:
            return unclear(text, f"I do not understand the way {way!r}. For example: `go here: 12.5 mm left`.")
        step = Motion.towards(found["to"], float(found["mm"]))  # type: ignore[arg-type]
        fields |= {name: mm for name, mm in step.model_dump().items() if mm}
    if name is None:
        return kind(**fields)
    try:
        return kind(landmark=canonical_name(name), **fields)
    except UnknownName as error:
        return unclear(text, str(error))
