"""What a passenger says to the drive loop, read by rules: speed, whom to let in, where to go, and to brake.

"Slower", "let him in", "take the next exit", "brake". They are wishes: the planner weighs them, and what the verifier
or the world's envelope rejects is not driven because somebody asked for it. STOP is the kit's: the session sends
nothing more; `brake` brings the car to a stand.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from pydantic import Field, FiniteFloat

from loopwright.schema import Feedback, Frozen
from loopwright.tools.drive.scene import Command

_A_BIT = r"(?:(?: a)? (?:bit|little))?"
_CAR = r"(?:him|her|them|it|that (?:car|one|truck)|the (?:car|one|truck)(?: (?:on|from) the (?:left|right))?)"
_HERE = r"(?: (?:here|now|at the next (?:crossing|intersection|exit|junction|turn)))?"
YIELD_S = 6.0
"""How long somebody is let in."""
SLOWEST, FASTEST, PACE = 0.3, 1.3, 0.8
"""Of the usual speed: the least and the most that people may ask for, and what one "slower" makes of it."""


class Slower(Feedback):
    """Less speed, from now on."""

    patterns: ClassVar = (
        rf"(?:a (?:bit|little) )?(?:(?:go|drive) )?slower{_A_BIT}",
        rf"slow (?:it )?down{_A_BIT}",
        r"(?:(?:you are|that is) )?(?:not so|too) fast",
    )
    examples: ClassVar = ("slower",)


class Faster(Feedback):
    """More speed, from now on, within the envelope."""

    patterns: ClassVar = (
        rf"(?:a (?:bit|little) )?(?:(?:go|drive) )?faster{_A_BIT}",
        rf"speed (?:it )?up{_A_BIT}",
        r"(?:(?:you are|that is) )?(?:not so|too) slow",
    )
    examples: ClassVar = ("faster",)


class LetIn(Feedback):
    """Leave somebody room for a while."""

    patterns: ClassVar = (
        rf"let {_CAR} (?:in|merge|pass|through|go(?: first)?|overtake)",
        r"(?:make|leave)(?: some)? room|yield|give way",
    )
    examples: ClassVar = ("let him in",)


class Head(Feedback):
    """Go to that side: to the lane beside, or onto the branch or exit there."""

    patterns: ClassVar = (
        rf"(?:turn|go|bear|change|move|merge)(?: over)?(?: (?:to|into|onto))?(?: the)? (?P<command>left|right)"
        rf"(?: lane)?{_HERE}",
        r"(?:keep|stay)(?: (?:to|on))?(?: the)? (?P<command>left|right)",
    )
    examples: ClassVar = ("turn left",)
    command: Command


class TakeExit(Feedback):
    """Leave at the next exit, which lies on the right where nothing else is said."""

    patterns: ClassVar = (
        r"(?:take|use) the (?:next |first )?(?:exit|ramp|way out)(?: on the (?P<command>left|right))?",
    )
    examples: ClassVar = ("take the next exit",)
    command: Command = "right"


class KeepLane(Feedback):
    """Stay in this lane, and straight on."""

    patterns: ClassVar = (
        r"(?:keep|stay in)(?: (?:this|the|your))? lane",
        r"(?:(?:go|drive|keep(?: going)?) )?straight(?: on| ahead)?",
    )
    examples: ClassVar = ("keep lane",)


class Brake(Feedback):
    """Brake along the lane to a stand, and stay there."""

    patterns: ClassVar = (r"(?:(?:hit|use|slam) )?(?:the |on the )?brakes?(?: now| hard)?",)
    examples: ClassVar = ("brake",)


class DriveOn(Feedback):
    """Take back all that was wished for: drive as usual."""

    patterns: ClassVar = (
        r"drive on|keep going|go on|resume|as usual|(?:at )?(?:the )?(?:usual|normal) speed",
        r"release the brakes?",
    )
    examples: ClassVar = ("drive on",)


FEEDBACK: tuple[type[Feedback], ...] = (Slower, Faster, LetIn, Head, TakeExit, KeepLane, Brake, DriveOn)


class Wishes(Frozen):
    """What people asked for so far, the newest word on each matter."""

    pace: float = Field(default=1.0, ge=SLOWEST, le=FASTEST, description="of the usual speed")
    command: Command | None = Field(default=None, description="where to go; None: as the route says")
    yields_until_s: FiniteFloat | None = Field(default=None, description="time of the drive")
    brakes: bool = False
    words: str = Field(default="", max_length=2000, description="all that was said since the last step")

    def heard(self, said: Iterable[tuple[dict[str, Any], str]], time_s: float) -> Self:
        """With more messages, each the JSON of a feedback value and its text, oldest first."""
        found, words = self, []
        for value, text in said:
            change = _change(found, value, time_s)
            words += [text] if change else []
            found = found.model_copy(update=change)
        return found.model_copy(update={"words": "; ".join(words)[:2000]})

    def yields(self, time_s: float) -> bool:
        """Whether somebody is being let in."""
        return self.yields_until_s is not None and time_s < self.yields_until_s


def _change(wishes: Wishes, value: dict[str, Any], time_s: float) -> dict[str, Any]:
    match value["kind"]:
        case "slower":
            return {"pace": max(SLOWEST, wishes.pace * PACE)}
        case "faster":
            return {"pace": min(FASTEST, wishes.pace / PACE), "brakes": False}
        case "let_in":
            return {"yields_until_s": time_s + YIELD_S}
        case "head" | "take_exit":
            return {"command": value["command"]}
        case "keep_lane":
            return {"command": "straight"}
        case "brake":
            return {"brakes": True}
        case "drive_on":
            return Wishes().model_dump(exclude={"words"})
    return {}
