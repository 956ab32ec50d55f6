"""The C-arm roles' answers: the seed's text forms as values, and the ladder that gives its words millimetres.

After the paper's sections 2.1, 2.3 and 3.1 and its public prompts. Directions are the patient's, and the *view* moves.
Knows no prompt and no model.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from loopwright.agents.plain import plain_pattern, plainly
from loopwright.errors import BadInput
from loopwright.models.answers import TextFormat
from loopwright.models.markup import tag_content
from loopwright.schema import Frozen
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS, canonical_name, landmark_id

XWord = Literal["LEFT", "RIGHT", "CENTER"]
YWord = Literal["UP", "DOWN", "CENTER"]
Extent = Literal["NONE", "SMALL", "MODERATE", "LARGE"]

REASON_CHARS = 120
REASONING_CHARS = 240
_NAMES = {name: landmark for landmark in LANDMARKS for name in (landmark, *SYNONYMS[landmark])}
"""Every name that an answer may use, spelled exactly so, to its landmark."""


def landmark_of(name: str) -> str:
    """The landmark behind a name that is spelled as in `LANDMARKS` or `SYNONYMS`. Raises ValueError."""
    if name not in _NAMES:
        raise ValueError(f"{name!r} is no landmark's name")
    return _NAMES[name]


class Retrieval(Frozen):
    """The three landmarks nearest to the image's centre, closest first, under any of their names."""

    names: tuple[str, str, str]

    @field_validator("names")
    @classmethod
    def _three_landmarks(cls, names: tuple[str, str, str]) -> tuple[str, str, str]:
        _check_distinct(names)
        return names

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Canonical names."""
        return tuple(map(landmark_of, self.names))


class Centred(Frozen):
    """The two landmarks that most likely are at the image's centre, the likelier first; canonical names."""

    landmarks: tuple[str, str]

    @field_validator("landmarks")
    @classmethod
    def _two_landmarks(cls, landmarks: tuple[str, str]) -> tuple[str, str]:
        unknown = [name for name in landmarks if name not in LANDMARKS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no landmark's canonical name")
        _check_distinct(landmarks)
        return landmarks


class Correction(Centred):
    """`Centred` once more, after the clinician asked, with the visual cues that led to it."""

    visual_reasoning: str = Field(max_length=REASONING_CHARS, pattern=f"^{plain_pattern(REASONING_CHARS)}$")


class Command(Frozen):
    """How the view is to move, in words. CENTER if and only if the extent is NONE."""

    x: XWord
    extent_x: Extent
    y: YWord
    extent_y: Extent

    @model_validator(mode="after")
    def _center_means_none(self) -> Self:
        for axis, word, extent in (("x", self.x, self.extent_x), ("y", self.y, self.extent_y)):
            if (word == "CENTER") != (extent == "NONE"):
                raise ValueError(f"`{axis}` {word} does not go with `extent_{axis}` {extent}: CENTER means NONE")
        return self

    @property
    def stays(self) -> bool:
        """Whether the view is to stay: the target is centred."""
        return self.x == self.y == "CENTER"


class Navigation(Command):
    """One step of navigation with its chain of thought: the nearest landmark, the command, and a reason an axis."""

    context: str
    reason_x: str = Field(max_length=REASON_CHARS, pattern=f"^{plain_pattern(REASON_CHARS)}$")
    reason_y: str = Field(max_length=REASON_CHARS, pattern=f"^{plain_pattern(REASON_CHARS)}$")

    @field_validator("context")
    @classmethod
    def _a_landmark(cls, name: str) -> str:
        landmark_of(name)
        return name

    @property
    def landmark(self) -> str:
        """Canonical name of the context."""
        return landmark_of(self.context)

    @property
    def command(self) -> Command:
        """The command without its reasons."""
        return Command(x=self.x, extent_x=self.extent_x, y=self.y, extent_y=self.extent_y)


class Ladder(Frozen):
    """The millimetres behind SMALL, MODERATE and LARGE, which the paper does not say.

    By the best step along each axis (`command`), any target is reached to within small / 2 an axis: 10.6 mm with 15.
    """

    small_mm: float = Field(default=15.0, gt=0)
    moderate_mm: float = Field(default=50.0, gt=0)
    large_mm: float = Field(default=150.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.small_mm < self.moderate_mm < self.large_mm:
            raise ValueError("`small_mm` < `moderate_mm` < `large_mm` is expected")
        return self

    @classmethod
    def of(cls, steps_mm: Sequence[float]) -> "Ladder":
        """From the three lengths. Raises `BadInput` where they do not rise from above 0."""
        try:
            return cls.model_validate(dict(zip(cls.model_fields, steps_mm, strict=True)))
        except ValueError as error:
            raise BadInput(
                f"The ladder {steps_mm!r} is none; expected three rising lengths in mm, above 0 and finite."
            ) from error

    def mm(self, extent: Extent) -> float:
        """How far an extent is."""
        return {"NONE": 0.0, "SMALL": self.small_mm, "MODERATE": self.moderate_mm, "LARGE": self.large_mm}[extent]

    def extent(self, distance_mm: float) -> Extent:
        """The step after which least of `distance_mm` >= 0 is left; the smaller one of two that leave the same."""
        extents: tuple[Extent, ...] = get_args(Extent)
        return min(extents, key=lambda extent: abs(distance_mm - self.mm(extent)))

    def command(self, left_mm: float, caudal_mm: float) -> Command:
        """The best command for a target that lies so far from the view's centre."""
        extent_x, extent_y = self.extent(abs(left_mm)), self.extent(abs(caudal_mm))
        return Command(
            x="CENTER" if extent_x == "NONE" else "LEFT" if left_mm > 0 else "RIGHT",
            extent_x=extent_x,
            y="CENTER" if extent_y == "NONE" else "DOWN" if caudal_mm > 0 else "UP",
            extent_y=extent_y,
        )

    def motion(self, command: Command) -> Motion:
        """The motion of the view that a command asks for."""
        right, up = command.x == "RIGHT", command.y == "UP"
        left_mm, caudal_mm = self.mm(command.extent_x), self.mm(command.extent_y)
        return Motion(left_mm=-left_mm if right else left_mm, caudal_mm=-caudal_mm if up else caudal_mm)


def correction_form(rejected: Iterable[Centred] = ()) -> TextFormat[Correction]:
    """The form of a correction that cannot be a rejected pair again, in neither order."""
    refused = {frozenset(answer.landmarks) for answer in rejected}

    def read(text: str) -> Correction:
        found = _match(_CORRECTION_SHAPE, text)
        value = Correction(visual_reasoning=found["reasoning"], landmarks=_pair(found["pair"]))
        if frozenset(value.landmarks) in refused:
            raise ValueError(f"{found['pair']} was rejected already; a different pair is expected")
        return value

    pairs = [pair for pair in combinations(LANDMARKS, 2) if frozenset(pair) not in refused]
    return TextFormat(
        name="correction",
        pattern=_correction_text(plain_pattern(REASONING_CHARS), _pair_pattern(pairs)),
        longest_chars=len(_correction_text("", "")) + REASONING_CHARS + len("[13,14]"),
        example=_correction_text("The arch of ribs ends here.", "[10,11]"),
        render=lambda value: _correction_text(value.visual_reasoning, CENTRED.render(value)),
        read=read,
        tidy=_tidy_correction,
    )


def _check_distinct(names: Sequence[str]) -> None:
    landmarks = [landmark_of(name) for name in names]
    if len(set(landmarks)) != len(landmarks):
        raise ValueError(f"{names!r} names a landmark twice")


def _match(shape: re.Pattern[str], text: str) -> re.Match[str]:
    found = shape.fullmatch(text)
    if found is None:
        raise ValueError("it is not of that form")
    return found


def _item(name: str) -> str:
    return f"{landmark_id(name)}: {name}"


def _read_retrieval(text: str) -> Retrieval:
    items = _match(_RETRIEVAL_SHAPE, text)[1].split(", ")
    names = [item.partition(": ")[2] for item in items]
    for item, name in zip(items, names, strict=True):
        if landmark_id(landmark_of(name)) != int(item.partition(": ")[0]):
            raise ValueError(f"{item!r} gives a number that is not the landmark's")
    return Retrieval(names=(names[0], names[1], names[2]))


def _tidy_retrieval(text: str) -> str:
    found = re.search(r"\[([^\[\]]*)\]", text)
    if found is None:
        raise ValueError("there are no square brackets")
    items = []
    for item in found[1].split(","):
        number, _, name = item.partition(":")
        items.append(f"{number.strip()}: {canonical_name(name)}")
    return f"[{', '.join(items)}]"


def _retrieval_pattern() -> str:
    """Three different landmarks. Two come in either order, so that their pair shares what may follow."""
    parts = []
    for one, two in combinations(LANDMARKS, 2):
        others = "|".join(_item(name) for name in LANDMARKS if name not in (one, two))
        parts.append(f"(?:{_item(one)}, {_item(two)}|{_item(two)}, {_item(one)}), (?:{others})")
    return rf"\[(?:{'|'.join(parts)})\]"


def _pair(text: str) -> tuple[str, str]:
    one, two = (int(number) for number in text.strip("[]").split(","))
    if not (1 <= one <= len(LANDMARKS) and 1 <= two <= len(LANDMARKS)):
        raise ValueError(f"{text} has a number that is none of 1 to {len(LANDMARKS)}")
    return LANDMARKS[one - 1], LANDMARKS[two - 1]


def _tidy_pair(text: str) -> str:
    found = re.search(r"\[\s*([0-9]{1,2})\s*,\s*([0-9]{1,2})\s*\]", text)
    if found is None:
        raise ValueError("there are no two numbers in square brackets")
    return f"[{int(found[1])},{int(found[2])}]"


def _pair_pattern(pairs: Sequence[tuple[str, str]]) -> str:
    """The unordered `pairs` in either order, as `[i,j]`."""
    after: dict[int, list[int]] = {}
    for one, two in (order for pair in pairs for order in permutations(pair)):
        after.setdefault(landmark_id(one), []).append(landmark_id(two))
    branches = [f"{one},(?:{'|'.join(map(str, sorted(twos)))})" for one, twos in sorted(after.items())]
    return rf"\[(?:{'|'.join(branches)})\]"


def _correction_text(reasoning: str, pair: str) -> str:
    return f"<response><visual_reasoning>{reasoning}</visual_reasoning><landmarks>{pair}</landmarks></response>"


def _tidy_correction(text: str) -> str:
    inside = tag_content(text, "response")
    pair = _tidy_pair(tag_content(inside, "landmarks"))
    return _correction_text(plainly(tag_content(inside, "visual_reasoning"), REASONING_CHARS), pair)


def _navigation_text(context: str, x: str, reason_x: str, y: str, reason_y: str) -> str:
    """`x` and `y` are the axis' word and extent, tags included."""
    return (
        f"<output><step1><context>{context}</context></step1><step2>{x}<reason_x>{reason_x}</reason_x>"
        f"{y}<reason_y>{reason_y}</reason_y></step2></output>"
    )


def _move_text(axis: str, word: str, extent: str) -> str:
    return f"<{axis}>{word}</{axis}><extent_{axis}>{extent}</extent_{axis}>"


def _render_navigation(value: Navigation) -> str:
    x, y = _move_text("x", value.x, value.extent_x), _move_text("y", value.y, value.extent_y)
    return _navigation_text(value.context, x, value.reason_x, y, value.reason_y)


def _read_navigation(text: str) -> Navigation:
    return Navigation.model_validate(_match(_NAVIGATION_SHAPE, text).groupdict())


def _tidy_navigation(text: str) -> str:
    inside = tag_content(text, "output")
    said = {tag: tag_content(inside, tag) for tag in ("context", "reason_x", "reason_y")}
    reasons = {tag: plainly(said[tag], REASON_CHARS) for tag in ("reason_x", "reason_y")}
    moves = {
        axis: _move_text(axis, tag_content(inside, axis).upper(), tag_content(inside, f"extent_{axis}").upper())
        for axis in ("x", "y")
    }
    return _navigation_text(canonical_name(said["context"]), **moves, **reasons)


def _move_pattern(axis: str, one: str, other: str) -> str:
    moved = _move_text(axis, f"(?:{one}|{other})", "(?:SMALL|MODERATE|LARGE)")
    return f"(?:{_move_text(axis, 'CENTER', 'NONE')}|{moved})"


_RETRIEVAL_SHAPE = re.compile(r"\[([0-9]{1,2}: [^,:\[\]]+(?:, [0-9]{1,2}: [^,:\[\]]+){2})\]")
_PAIR_SHAPE = re.compile(r"\[[1-9][0-9]?,[1-9][0-9]?\]")
_CORRECTION_SHAPE = re.compile(_correction_text("(?P<reasoning>[^<>]+)", rf"(?P<pair>{_PAIR_SHAPE.pattern})"))
_NAVIGATION_SHAPE = re.compile(
    _navigation_text(
        "(?P<context>[^<>]+)",
        _move_text("x", "(?P<x>[A-Z]+)", "(?P<extent_x>[A-Z]+)"),
        "(?P<reason_x>[^<>]+)",
        _move_text("y", "(?P<y>[A-Z]+)", "(?P<extent_y>[A-Z]+)"),
        "(?P<reason_y>[^<>]+)",
    )
)
_LONGEST_NAME = max(map(len, LANDMARKS))

RETRIEVAL: TextFormat[Retrieval] = TextFormat(
    name="retrieval",
    pattern=_retrieval_pattern(),
    longest_chars=len("[10: , 11: , 12: ]") + 3 * _LONGEST_NAME,
    example="[11: Carina, 10: T1, 5: Left scapular inferior angle]",
    render=lambda value: f"[{', '.join(f'{landmark_id(name)}: {name}' for name in value.names)}]",
    read=_read_retrieval,
    tidy=_tidy_retrieval,
)
"""Decoding gives canonical names; synonyms are read as well, since training answers draw them."""

CENTRED: TextFormat[Centred] = TextFormat(
    name="centred view",
    pattern=_pair_pattern(list(combinations(LANDMARKS, 2))),
    longest_chars=len("[13,14]"),
    example="[10,11]",
    render=lambda value: f"[{landmark_id(value.landmarks[0])},{landmark_id(value.landmarks[1])}]",
    read=lambda text: Centred(landmarks=_pair(_match(_PAIR_SHAPE, text)[0])),
    tidy=_tidy_pair,
)

CORRECTION = correction_form()

NAVIGATION: TextFormat[Navigation] = TextFormat(
    name="navigation",
    pattern=_navigation_text(
        f"(?:{'|'.join(LANDMARKS)})",
        _move_pattern("x", "LEFT", "RIGHT"),
        plain_pattern(REASON_CHARS),
        _move_pattern("y", "UP", "DOWN"),
        plain_pattern(REASON_CHARS),
    ),
    longest_chars=len(_navigation_text("", _move_text("x", "", ""), "", _move_text("y", "", ""), ""))
    + _LONGEST_NAME
    + 2 * REASON_CHARS
    + len("RIGHT" + "MODERATE" + "DOWN" + "MODERATE"),
    example=_navigation_text(
        "Skull",
        _move_text("x", "CENTER", "NONE"),
        "T1 is level with the centre.",
        _move_text("y", "DOWN", "LARGE"),
        "T1 lies caudal of the Skull, out of view.",
    ),
    render=_render_navigation,
    read=_read_navigation,
    tidy=_tidy_navigation,
)
