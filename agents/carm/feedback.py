"""What a clinician says to the C-arm, read by rules: a motion of the view, what is seen, where to go; and what any loop
understands (`loopwright.agents.feedback`).

Directions are the patient's, and it is the view that moves. One message is one command: "20 mm left and 30 mm up" is
asked back as two. A motion needs a direction, a number and a unit; nothing that lacks one moves anything. Guards judge
later whether the motion is allowed.
"""

import re
from typing import Any, ClassVar

from pydantic import Field

from loopwright.agents.carm.pointing import POINTING
from loopwright.agents.feedback import unclear
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.errors import UnknownName
from loopwright.schema import Feedback, Frozen, Unclear
from loopwright.tools.carm.guard import Direction, Motion
from loopwright.tools.carm.landmarks import canonical_name

MAX_TYPED_MM = 300.0
"""The longest motion that a message can ask for, mm."""


_DIRECTION_WORDS: dict[Direction, str] = {
    "cranial": r"cranial(?:ly)?|cephal(?:ad|ic)|superior(?:ly)?|up(?:wards?)?|headwards?|towards? the head|to the head",
    "caudal": r"caudal(?:ly)?|caudad|inferior(?:ly)?|down(?:wards?)?|footwards?|towards? the feet|to the feet",
    "left": r"left(?:wards?)?",
    "right": r"right(?:wards?)?",
    "anterior": r"anterior(?:ly)?|ventral(?:ly)?",
    "posterior": r"posterior(?:ly)?|dorsal(?:ly)?",
}
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_PARTS = {"three quarters": 0.75, "quarter": 0.25, "half": 0.5}
_MM_PER = {"m": 1.0, "c": 10.0}

_WORD_NUMBER = rf"(?:{'|'.join(sorted(_SMALL, key=len, reverse=True))})"
_PART = r"(?:(?:an? )?(?:half|quarter)|three quarters)"
_NUMBER = (
    r"(?P<number>\d+ \d+/\d+|\d+/\d+|\d+(?:\.\d+|,\d{1,2}(?!\d))?"
    rf"|{_WORD_NUMBER}(?: and {_PART})?|{_PART}(?: of)?(?: an?)?)"
)
_DISTANCE = rf"{_NUMBER}\s*(?P<unit>mm|cm|(?:milli|centi)met(?:er|re)s?)"
_ANY_DIRECTION = "|".join(f"(?P<{name}>{words})" for name, words in _DIRECTION_WORDS.items())
_DIRECTION = rf"(?:(?:to|towards?|in) the )?(?:the )?(?:patient(?:'s|s)? )?(?:{_ANY_DIRECTION})(?: direction)?"
_VERB = (
    r"(?:(?:go|move|shift|pan|slide|bring|nudge|drive|translate)(?: (?:it|(?:the )?(?:view|image|c-?arm)))? )?"
    r"(?:(?:by|another|a further) )?"
)
_MOTIONS = (
    re.compile(rf"{_VERB}{_DISTANCE}(?: more| further)?,? {_DIRECTION}"),
    re.compile(rf"{_VERB}{_DIRECTION},?(?: by)? {_DISTANCE}(?: more| further)?"),
)
_ONLY_DIRECTION = re.compile(rf"(?:that is )?{_VERB}{_DIRECTION}(?: (?:a bit|a little|more|further|slightly))*")
_ONLY_DISTANCE = re.compile(rf"{_VERB}{_DISTANCE}")
_NO_UNIT = (
    re.compile(rf"{_VERB}{_NUMBER} {_DIRECTION}"),
    re.compile(rf"{_VERB}{_DIRECTION}(?: by)? {_NUMBER}"),
)
_NEXT = re.compile(r"\s*(?:,? and then|,? and|,? then|[,;+&])\s*")
_NEGATIVE = re.compile(r"(?:^|\s)[-−]\s?\d")

_IDENTIFY = re.compile(
    r"(?:(?:no|nope|wrong|incorrect)\s?[,.;:!]+ ?)?"
    r"(?:(?:that|this|it) is|(?:you|we) are (?:looking at|seeing|on|over)|(?:i|we|you) see)"
    r"(?: actually| really)?(?: the| a)? (?P<name>.+)"
)
_RETARGET = re.compile(
    r"(?:(?:the |a )?(?:new )?target(?: is| should be|:)?(?: now)?|(?:change|set) (?:the )?target to|retarget(?: to)?"
    r"|(?:go|move|continue|navigate)(?: back| on)? to|head (?:to|for|towards?)|take (?:me|us) to|show(?: me| us)?|find"
    r"|look (?:at|for)|cent(?:re|er)(?: on)?)(?: the)? (?P<name>.+)"
)


class MoveView(Feedback):
    """Move the view, in a direction of the patient's."""

    examples = ("20 mm cranial",)
    amounts: ClassVar[dict[str, tuple[float, ...]]] = {"distance_mm": (5, 20, 50)}

    direction: Direction
    distance_mm: float = Field(gt=0, le=MAX_TYPED_MM, allow_inf_nan=False)

    @classmethod
    def read(cls, text: str) -> "MoveView | Unclear | None":
        """A motion; half of one is clarified."""
        return _motion(text) or _half_a_motion(text)

    def in_words(self) -> str:
        """`20 mm left`."""
        return f"{self.distance_mm:g} mm {self.direction}"

    @property
    def motion(self) -> Motion:
        """The motion that this asks for."""
        return Motion.towards(self.direction, self.distance_mm)

    def order(self) -> tuple[str, dict[str, Any]]:
        """This very motion needs no further consent."""
        return "move_c_arm", self.motion.model_dump()


class Identify(Feedback):
    """What is in the middle of the picture is this landmark, whatever the model made of it."""

    examples = ("that is the left humeral head",)

    landmark: str = Field(max_length=40)

    @classmethod
    def read(cls, text: str) -> "Identify | Unclear | None":
        """`that is the ...`."""
        match = _IDENTIFY.fullmatch(text)
        name = match and _landmark(match["name"])
        return cls(landmark=name) if isinstance(name, str) else name

    def in_words(self) -> str:
        """`that is the ...`."""
        return f"that is the {self.landmark}"


class NotThere(Feedback):
    """The target is not to be found here; looking for it ends."""

    patterns = (
        r"(?:(?:it|the target|that) is )?(?:not (?:there|here|found|in (?:there|here|the volume|this patient))"
        r"|nowhere(?: to be found)?)",
        r"(?:that|this|it) is (?:another|a different|some other) (?:body part|part of the body|region|anatomy)",
        r"(?:that|this|it) is (?:unknown|not known)(?: anatomy)?|unknown anatomy|give up",
    )
    examples = ("it is not there",)

    def in_words(self) -> str:
        """Its example."""
        return self.examples[0]


class Retarget(Feedback):
    """Go to this landmark instead."""

    examples = ("the target is T12",)

    landmark: str = Field(max_length=40)

    @classmethod
    def read(cls, text: str) -> "Retarget | Unclear | None":
        """`the target is ...`; a landmark by itself is clarified."""
        if match := _RETARGET.fullmatch(text):
            name = _landmark(match["name"])
            return cls(landmark=name) if isinstance(name, str) else name
        name = _landmark(text)
        if isinstance(name, str):
            return unclear(text, f"Say `that is the {name}` if you see it, or `the target is {name}` to go there.")
        return None

    def in_words(self) -> str:
        """`the target is ...`."""
        return f"the target is {self.landmark}"


FEEDBACK = (*POINTING, MoveView, NotThere, Identify, Retarget)
"""In the order in which they are read."""
LANGUAGE = FeedbackLanguage(FEEDBACK)


def parse_feedback(text: str) -> Frozen:
    """Read one message: one of `FEEDBACK`, or what any loop understands; never raises, and never guesses a motion."""
    return LANGUAGE.parse(text)


def _motion(said: str) -> MoveView | Unclear | None:
    for pattern in _MOTIONS:
        if match := pattern.fullmatch(said):
            return _move_view(said, match)
    parts = _NEXT.split(said)
    if len(parts) > 1 and all(isinstance(_motion(part), MoveView) for part in parts):
        commands = "`, then `".join(parts)
        return unclear(said, f"One motion a message, please: send `{commands}`.")
    return None


def _move_view(said: str, match: re.Match[str]) -> MoveView | Unclear:
    direction = _direction(match)
    distance_mm = _number(match["number"]) * _MM_PER[match["unit"][0]]
    if not 0 < distance_mm <= MAX_TYPED_MM:
        return unclear(said, f"How far {direction}? A message can ask for more than 0 and at most {MAX_TYPED_MM:g} mm.")
    return MoveView(direction=direction, distance_mm=distance_mm)


def _half_a_motion(said: str) -> Unclear | None:
    if match := _ONLY_DIRECTION.fullmatch(said):
        direction = _direction(match)
        meant = " If you mean that it is correct, say `approve`." if direction == "right" else ""
        return unclear(said, f"How far {direction}? Say it with a unit, such as `20 mm {direction}`.{meant}")
    if _ONLY_DISTANCE.fullmatch(said):
        return unclear(said, "Which way? Say cranial, caudal, left, right, anterior or posterior.")
    if any(pattern.fullmatch(said) for pattern in _NO_UNIT):
        return unclear(said, "Millimetres or centimetres? Say it with the unit, such as `20 mm left`.")
    if _NEGATIVE.search(said):
        return unclear(said, "A distance is positive. Name the direction instead, such as `20 mm right`.")
    return None


def _landmark(text: str) -> str | Unclear:
    try:
        return canonical_name(text)
    except UnknownName as error:
        unknown = error
    try:
        right, left = canonical_name(f"right {text}"), canonical_name(f"left {text}")
    except UnknownName:
        return unclear(text, str(unknown))
    return unclear(text, f"Which side: `{right}` or `{left}`?")


def _direction(match: re.Match[str]) -> Direction:
    return next(name for name in _DIRECTION_WORDS if match[name])


def _number(text: str) -> float:
    """'20', '2,5', '1 1/2', 'twelve', 'one and a half', 'half a': NaN for a division by zero."""
    whole, _, part = text.partition(" and ")
    if whole in _SMALL:
        return _SMALL.index(whole) + (_part(part) if part else 0.0)
    if not text[0].isdigit():
        return _part(text)
    *whole_numbers, last = text.replace(",", ".").split(" ")
    above, _, below = last.partition("/")
    fraction = float(above) / float(below) if below and float(below) else float("nan") if below else float(above)
    return sum(map(float, whole_numbers)) + fraction


def _part(text: str) -> float:
    return next(value for words, value in _PARTS.items() if words in text)
