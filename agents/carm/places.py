"""Where a landmark lies in a picture, in words, and which one is nearest: the C-arm's answers in plain language.

Directions are those of the view: right on an AP picture is the patient's left, so "left 35 mm, down 110 mm" says how
far the view has to move to centre a landmark. Knows no prompt and no model.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from loopwright.models.answers import TextFormat
from loopwright.tools.carm.landmarks import LANDMARKS, canonical_name

NEAR_STEP_MM, FAR_STEP_MM = 5, 25
"""Answers are rounded: finer in the view than out of it, where nothing can be seen."""
FARTHEST_MM = 600
"""Along one axis; what lies further away is said to lie there."""

_NEAR_UNTIL_MM = 75
_PLACE = re.compile(r"(?:(left|right) (\d+) mm)?(?:(?:^|(?<=mm), )(up|down) (\d+) mm)?")


class Place(NamedTuple):
    """How far the view has to move, mm: to the patient's left on an AP picture, and down."""

    left_mm: float
    down_mm: float


def say_place(offset_mm: Iterable[float], step_mm: int) -> str:
    """(left, down) mm in words, rounded: "left 35 mm, down 110 mm".

    What rounds to nothing is left out; "centred" if both do.
    """
    left, down = (round(float(v) / step_mm) * step_mm for v in offset_mm)
    parts = [f"{'left' if left > 0 else 'right'} {abs(left)} mm"] if left else []
    parts += [f"{'down' if down > 0 else 'up'} {abs(down)} mm"] if down else []
    return ", ".join(parts) or "centred"


def parse_place(text: str) -> Place | None:
    """What `say_place` wrote; None where `text` is something else."""
    if text == "centred":
        return Place(0.0, 0.0)
    found = _PLACE.fullmatch(text)
    if not text or not found:
        return None
    across, across_mm, along, along_mm = found.groups()
    left = float(across_mm or 0) * (1 if across == "left" else -1)
    down = float(along_mm or 0) * (1 if along == "down" else -1)
    return Place(left, down)


def _read_place(text: str) -> Place:
    place = parse_place(text)
    if place is None:
        raise ValueError("it is not of that form")
    return place


def _read_landmark(text: str) -> str:
    if text not in LANDMARKS:
        raise ValueError("it is no landmark's canonical name")
    return text


def _place_pattern() -> str:
    lengths = [*range(NEAR_STEP_MM, _NEAR_UNTIL_MM, NEAR_STEP_MM), *range(_NEAR_UNTIL_MM, FARTHEST_MM + 1, FAR_STEP_MM)]
    mm = f"(?:{'|'.join(map(str, lengths))}) mm"
    across, along = f"(?:left|right) {mm}", f"(?:up|down) {mm}"
    return f"(?:centred|{across}(?:, {along})?|{along})"


PLACE: TextFormat[Place] = TextFormat(
    name="place",
    pattern=_place_pattern(),
    longest_chars=len(f"right {FARTHEST_MM} mm, down {FARTHEST_MM} mm"),
    example="left 35 mm, down 60 mm",
    render=lambda value: say_place(value, NEAR_STEP_MM),
    read=_read_place,
    tidy=lambda text: " ".join(text.lower().split()).strip("."),
)

NEAREST: TextFormat[str] = TextFormat(
    name="nearest landmark",
    pattern=f"(?:{'|'.join(LANDMARKS)})",
    longest_chars=max(map(len, LANDMARKS)),
    example="Carina",
    render=lambda name: name,
    read=_read_landmark,
    tidy=lambda text: canonical_name(text.strip(" .")),
)
"""A canonical name; a model that can score its answers is asked for the probability of each."""
