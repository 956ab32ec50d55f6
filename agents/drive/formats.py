"""The driver's answer: `<perception> <prediction> <visual> <think> <action> <answer>`, or a part of it.

After VLA-World (section B.1, SFT stage). Any of the six may be left out, in this order: without `visual` the
imagination is masked (a VLA), `visual` alone is a world model's. Distances are whole numbers of 0.1 m; a visual part is
`N_VISUAL` tokens `<|v0|>`, `<|v1|>`, ... of the image tokenizer. Knows no prompt and no model.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, get_args

from pydantic import Field

from loopwright.agents.drive.perception import MOST_SEEN, RANGE_M, WHERE, Seen
from loopwright.agents.plain import plainly
from loopwright.errors import DeveloperError
from loopwright.models.answers import TextFormat
from loopwright.models.markup import tag_content
from loopwright.models.visual_tokens import codes_of, visual_pattern, visual_text
from loopwright.schema import Frozen
from loopwright.tools.drive.scene import FUTURE_STEPS, Action, Point, Waypoints

Part = Literal["perception", "prediction", "visual", "think", "action", "answer"]
PARTS: tuple[Part, ...] = get_args(Part)
MASKED: tuple[Part, ...] = tuple(part for part in PARTS if part != "visual")
"""Without imagination."""
DECISION: tuple[Part, ...] = ("think", "action", "answer")
"""What is said again where the verifier rejected a trajectory: the imagination stands."""
FRAME: tuple[Part, ...] = ("visual",)
"""A future frame alone: pre-training, and a world model's turn."""
ACTIONS: tuple[Action, ...] = get_args(Action)
N_VISUAL = 64
"""Tokens of one frame, 8 x 8, row by row."""
MOST_CODES = 100_000
"""No image tokenizer's codebook is larger."""
THINK_CHARS = 160
"""Of the free words of a model that no grammar holds."""
DM_PER_M = 10


class DriveAnswer(Frozen):
    """What the driver said; None for each part that was not asked for. Metres, in the ego frame of the present."""

    perception: tuple[Seen, ...] | None = Field(default=None, max_length=MOST_SEEN)
    prediction: Point | None = Field(default=None, description="where the ego will be at the horizon")
    visual: tuple[int, ...] | None = Field(
        default=None, min_length=N_VISUAL, max_length=N_VISUAL, description="codes of the imagined frame"
    )
    think: str | None = Field(default=None, max_length=THINK_CHARS)
    action: Action | None = None
    answer: Waypoints | None = None


@lru_cache(maxsize=16)
def drive_form(parts: tuple[Part, ...] = PARTS, codes: int = MOST_CODES) -> TextFormat[DriveAnswer]:
    """The form of an answer that has `parts`.

    Args:
        parts: of `PARTS`, in that order.
        codes: size of the image tokenizer's codebook.

    Raises:
        DeveloperError: the parts are none, unknown, or in another order.
    """
    if not parts or tuple(part for part in PARTS if part in parts) != parts:
        raise DeveloperError(f"`parts` are {parts!r}; expected some of {', '.join(PARTS)}, in this order.")
    shape = re.compile("".join(rf"<{part}>([^<]*|(?:<\|v[0-9]+\|>)*)</{part}>" for part in parts))

    def read(text: str) -> DriveAnswer:
        found = shape.fullmatch(text)
        if found is None:
            raise ValueError("it is not of that form")
        said = {part: _READ[part](inside) for part, inside in zip(parts, found.groups(), strict=True)}
        answer = DriveAnswer.model_validate(said)
        if answer.visual is not None and max(answer.visual) >= codes:
            raise ValueError(f"`<|v{max(answer.visual)}|>` is no visual token: there are {codes}")
        return answer

    return TextFormat(
        name="drive answer",
        pattern="".join(f"<{part}>{_PATTERNS[part]}</{part}>" for part in parts),
        longest_chars=sum(len(f"<{part}></{part}>") + _LONGEST[part] for part in parts),
        example=render(EXAMPLE, parts),
        render=lambda answer: render(answer, parts),
        read=read,
        tidy=lambda text: "".join(f"<{part}>{_TIDY[part](tag_content(text, part))}</{part}>" for part in parts),
    )


def render(answer: DriveAnswer, parts: Sequence[Part] = PARTS) -> str:
    """The text of an answer's `parts`.

    Raises:
        ValueError: it lacks one of them.
    """
    said = {
        "perception": None if answer.perception is None else seen_text(answer.perception),
        "prediction": None if answer.prediction is None else point_text(answer.prediction),
        "visual": None if answer.visual is None else visual_text(answer.visual),
        "think": answer.think,
        "action": answer.action,
        "answer": None if answer.answer is None else points_text(answer.answer),
    }
    if missing := [part for part in parts if said[part] is None]:
        raise ValueError(f"the answer has no `{missing[0]}`")
    return "".join(f"<{part}>{said[part]}</{part}>" for part in parts)


def seen_text(seen: Sequence[Seen]) -> str:
    """Road users as `<perception>` has them: "ahead 12 -3, from left 20 -5", or "none"."""
    return ", ".join(f"{one.where} {one.gap_m} {one.speed_mps}" for one in seen) or "none"


def point_text(point: Point) -> str:
    """A point in 0.1 m: "125 -3"."""
    return " ".join(str(round(v_m * DM_PER_M)) for v_m in point)


def points_text(points: Sequence[Point]) -> str:
    """Points in 0.1 m: "125 1,250 1"."""
    return ",".join(map(point_text, points))


def _read_seen(text: str) -> tuple[Seen, ...]:
    if text == "none":
        return ()
    found = [_SEEN_SHAPE.fullmatch(one) for one in text.split(", ")]
    if None in found or len(found) > MOST_SEEN:
        raise ValueError(f"`perception` is {text!r:.100}; expected at most {MOST_SEEN} of the form `ahead 12 -3`")
    return tuple(Seen.model_validate(one.groupdict()) for one in found if one is not None)


def _read_points(text: str) -> list[Point]:
    found = [re.fullmatch(r"(-?[0-9]{1,4}) (-?[0-9]{1,4})", one) for one in text.split(",")]
    if None in found:
        raise ValueError(f"{text!r:.100} are no points of the form `125 -3`, in 0.1 m")
    return [(int(one[1]) / DM_PER_M, int(one[2]) / DM_PER_M) for one in found if one is not None]


def _read_point(text: str) -> Point:
    points = _read_points(text)
    if len(points) != 1:
        raise ValueError(f"`prediction` has {len(points)} points, one is expected")
    return points[0]


def _read_visual(text: str) -> tuple[int, ...]:
    codes = codes_of(text)
    if len(codes) != N_VISUAL:
        raise ValueError(f"`visual` has {len(codes)} visual tokens; {N_VISUAL} tokens are expected")
    return tuple(codes)


def _read_think(text: str) -> str:
    if not text or plainly(text, THINK_CHARS) != text:
        raise ValueError(f"`think` is {text!r:.100}; plain text of at most {THINK_CHARS} characters is expected")
    return text


_READ: dict[str, Callable[[str], object]] = {
    "perception": _read_seen,
    "prediction": _read_point,
    "visual": _read_visual,
    "think": _read_think,
    "action": str,
    "answer": _read_points,
}


def _tidy_seen(text: str) -> str:
    """What of a perception is of the form; other words around it tell nothing that is acted on."""
    found = [Seen.model_validate(one.groupdict()) for one in _SEEN_SHAPE.finditer(text.lower())]
    return seen_text(found[:MOST_SEEN])


def _tidy_points(text: str) -> str:
    """The numbers in pairs; with a decimal point anywhere they are metres, else 0.1 m as asked for."""
    numbers = re.findall(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", text)
    if re.search(r"[0-9.][eE][-+]?[0-9]|nan|inf", text, re.IGNORECASE):
        raise ValueError(f"{text!r:.100} has numbers that are no plain decimals")
    scale = DM_PER_M if any("." in number for number in numbers) else 1
    if not numbers or len(numbers) % 2:
        raise ValueError(f"{text!r:.100} has {len(numbers)} numbers; pairs of x and y are expected")
    dm = [round(float(number) * scale) for number in numbers]
    return ",".join(f"{x} {y}" for x, y in zip(dm[::2], dm[1::2], strict=True))


def _tidy_action(text: str) -> str:
    found = [action for action in ACTIONS if re.search(rf"\b{action}\b", text.lower())]
    if len(found) != 1:
        raise ValueError(f"`action` is {text!r:.100}; expected one of {', '.join(ACTIONS)}")
    return found[0]


_TIDY = {
    "perception": _tidy_seen,
    "prediction": _tidy_points,
    "visual": lambda text: "".join(text.split()),
    "think": lambda text: plainly(text, THINK_CHARS),
    "action": _tidy_action,
    "answer": _tidy_points,
}

_PLACES = "|".join(sorted(WHERE, key=len, reverse=True))
_SEEN_SHAPE = re.compile(rf"(?P<where>{_PLACES}) (?P<gap_m>-?[0-9]{{1,2}}) (?P<speed_mps>-?[0-9]{{1,2}})")
_SEEN = rf"(?:{_PLACES}) (?:{'|'.join(('-?[0-9]', f'-?[1-{RANGE_M // 10 - 1}][0-9]', f'-?{RANGE_M}'))}) -?[0-9]{{1,2}}"
_POINT = r"(?:0|-?[1-9][0-9]{0,3}) (?:0|-?[1-9][0-9]{0,2})"
_FREE = ", (?:left and right are|left is|right is) free"
_PATTERNS: dict[Part, str] = {
    "perception": f"(?:none|{_SEEN}(?:, {_SEEN}){{0,{MOST_SEEN - 1}}})",
    "prediction": _POINT,
    "visual": visual_pattern(N_VISUAL),
    "think": rf"(?:clear|(?:{_PLACES}) (?:is near|closes in [0-4]\.[05] s))(?:{_FREE})?",
    "action": f"(?:{'|'.join(ACTIONS)})",
    "answer": f"{_POINT}(?:,{_POINT}){{{FUTURE_STEPS - 1}}}",
}
"""What decoding may write; of `think` the sentences of `perception.risk_words`, any plain words are read."""
_LONGEST: dict[Part, int] = {
    "perception": MOST_SEEN * len("from right -60 -99, "),
    "prediction": len("-9999 -999"),
    "visual": N_VISUAL * len("<|v99999|>"),
    "think": len("from right closes in 4.5 s, left and right are free"),
    "action": max(map(len, ACTIONS)),
    "answer": FUTURE_STEPS * len("-9999 -999,"),
}
EXAMPLE = DriveAnswer(
    perception=(Seen(where="ahead", gap_m=22, speed_mps=-6), Seen(where="right", gap_m=-5, speed_mps=1)),
    prediction=(30.0, 0.2),
    visual=tuple(range(N_VISUAL)),
    think="ahead closes in 3.5 s, left is free",
    action="left",
    answer=((10.0, 0.2), (20.0, 0.9), (30.0, 2.0), (40.0, 3.1), (50.0, 3.8), (60.0, 4.0)),
)
