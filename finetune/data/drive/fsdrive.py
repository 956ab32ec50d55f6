"""Samples as rows of LLaMA-Factory in FSDrive's conventions (Zeng et al. 2025), and back.

ShareGPT rows `{id, images, system, conversations}`: six pictures F, FL, FR, B, BL, BR; points are (x, y) with x to the
RIGHT and y forward, metres with two decimals, the ego at the origin; four points of the past 2 s, the mission goal
RIGHT, LEFT or FORWARD, and six points of the next 3 s. Visual tokens of the future picture stand before them as
`<|17|>`. Rows hold neither speed nor agents: the speed is read off the last step.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import hypot
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.finetune.data.rows import FORMATS, IMAGE, Example, Turn
from loopwright.tools.drive.recorded import nuscenes
from loopwright.tools.drive.scene import (
    CAMERAS,
    FUTURE_STEPS,
    HISTORY_STEPS,
    STEP_S,
    Camera,
    Command,
    Point,
    Sample,
    Scene,
)
from loopwright.tools.files import write_whole
from loopwright.tools.json_entries import read_entries

GOALS: Mapping[Command, str] = {"straight": "FORWARD", "left": "LEFT", "right": "RIGHT"}
CHANNELS: Mapping[Camera, str] = {camera: channel for channel, camera in nuscenes.CHANNELS.items()}
SYSTEM = (
    "You drive the car. Axes: x to the right, y in the direction of travel; you are at (0,0). Units: metres. Write the "
    f"picture of {CHANNELS['F']} in 0.5 seconds as visual tokens where you are asked for it, then plan "
    f"{FUTURE_STEPS} waypoints, {STEP_S:g} s apart."
)
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_POINT = re.compile(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_POINTS = re.compile(rf"\[\s*(?:{_POINT.pattern}\s*,?\s*)+\]")
_HISTORY = re.compile(r"Historical Trajectory[^\[]*(\[[^\]]*\])")
_GOAL = re.compile(r"Mission Goal:\s*([A-Za-z]+)")
_VISUAL = re.compile(r"<\|(\d+)\|>")


class FSDriveRow(NamedTuple):
    """What a row holds: a sample, and the visual tokens of the future picture, if any."""

    sample: Sample
    visual_tokens: tuple[int, ...] = ()


def row_of(sample: Sample, visual_tokens: Sequence[int] = (), *, media: Path = Path()) -> dict[str, Any]:
    """The row of a sample whose future is known.

    Args:
        sample: with all six pictures.
        visual_tokens: of the front picture in 0.5 s.
        media: folder that the pictures are named from, LLaMA-Factory's `--media_dir`.

    Raises:
        BadInput: a picture or a future point is missing, or a picture is not below `media`.
    """
    token = sample.scene.token
    if missing := [camera for camera in CAMERAS if camera not in sample.images]:
        raise BadInput(f"The sample {token!r} has no picture of {', '.join(missing)}; a row shows all six cameras.")
    known = [point for point in sample.future if point is not None]
    if len(known) < FUTURE_STEPS:
        raise BadInput(f"The sample {token!r} knows {len(known)} future points; a row needs {FUTURE_STEPS}.")
    images = tuple(_below(media, sample.images[camera]) for camera in CAMERAS)
    shown = ", ".join(f"'{CHANNELS[camera]}': {IMAGE}" for camera in CAMERAS)
    asked = (
        f"The car's six cameras now: {shown}\n"
        f"Historical Trajectory (last 2 seconds): {_written(sample.scene.history[:-1])}\n"
        f"Mission Goal: {GOALS[sample.scene.command]}\n"
        "Traffic Rules: stay on the drivable road; hit nobody.\n"
        f"Plan the waypoints of the next {FUTURE_STEPS * STEP_S:g} s."
    )
    answer = "".join(f"<|{each}|>" for each in visual_tokens) + _written(known)
    turns = (Turn(role="system", text=SYSTEM), Turn(role="user", text=asked), Turn(role="assistant", text=answer))
    return {"id": token, **FORMATS["sharegpt"].write(Example(turns=turns, images=images))}


def sample_of(row: Mapping[str, Any], *, media: Path = Path()) -> FSDriveRow:
    """What a row of FSDrive's, or of `row_of`, holds. Its wording does not matter, its marked values do.

    Raises:
        BadInput: something of it cannot be read.
    """
    token = str(row.get("id", ""))
    try:
        example = FORMATS["sharegpt"].read(row)
    except (ValidationError, ValueError, KeyError) as error:
        raise BadInput(f"The row {token!r} is no ShareGPT row: {error}") from error
    asked = "".join(turn.text for turn in example.turns if turn.role == "user")
    answer = example.turns[-1].text
    past, goal, future = _HISTORY.search(asked), _GOAL.search(asked), points_of(answer)
    commands: dict[str, Command] = {written: command for command, written in GOALS.items()}
    if past is None or len(history := [from_fsdrive(p) for p in _numbers(past.group(1))]) != HISTORY_STEPS:
        raise BadInput(f"The row {token!r} has no `Historical Trajectory` of {HISTORY_STEPS} points.")
    if goal is None or goal.group(1).upper() not in commands:
        raise BadInput(f"The row {token!r} has no `Mission Goal`: expected one of {', '.join(commands)}.")
    if future is None:
        raise BadInput(f"The answer of the row {token!r} has no {FUTURE_STEPS} points; it is {answer[-80:]!r}.")
    scene = Scene(
        source="fsdrive",
        token=token,
        speed_mps=hypot(*history[-1]) / STEP_S,
        history=(*history, (0.0, 0.0)),
        command=commands[goal.group(1).upper()],
    )
    images = dict(zip(CAMERAS, (str(media / image) for image in example.images), strict=False))
    tokens = tuple(int(each) for each in _VISUAL.findall(answer))
    return FSDriveRow(Sample(scene=scene, future=tuple(map(from_fsdrive, future)), images=images), tokens)


def write_fsdrive(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as the JSON array that FSDrive's scripts and LLaMA-Factory read."""
    write_whole(path, json.dumps(list(rows), indent=1).encode())


def read_fsdrive(path: Path, *, media: Path = Path()) -> Iterator[FSDriveRow]:
    """The rows of a file, one by one.

    Raises:
        BadInput: no such file, no JSON, or a wrong row; with its number.
    """
    for number, row in read_entries(path):
        try:
            yield sample_of(row, media=media)
        except BadInput as error:
            raise BadInput(f"`{path}`, entry {number}: {error}") from error


def points_of(text: str) -> list[Point] | None:
    """The trajectory of an answer, as it is written there: the last list of six points. None where there is none.

    Seven points are taken for the present and six more.
    """
    listed = [_numbers(found.group(0)) for found in _POINTS.finditer(text)] or [_numbers(text)]
    last = listed[-1][1:] if len(listed[-1]) == FUTURE_STEPS + 1 else listed[-1]
    return last if len(last) == FUTURE_STEPS else None


def to_fsdrive(point: Point) -> Point:
    """(forward, left) -> (right, forward)."""
    return -point[1], point[0]


def from_fsdrive(point: Point) -> Point:
    """(right, forward) -> (forward, left), without negative zeros."""
    return point[1] + 0.0, 0.0 - point[0]


def _numbers(text: str) -> list[Point]:
    return [(float(x), float(y)) for x, y in _POINT.findall(text)]


def _written(points: Sequence[Point]) -> str:
    rounded = [(round(x, 2) + 0.0, round(y, 2) + 0.0) for x, y in map(to_fsdrive, points)]
    return f"[{', '.join(f'({x:.2f},{y:.2f})' for x, y in rounded)}]"


def _below(media: Path, image: str) -> str:
    try:
        return Path(image).relative_to(media).as_posix()
    except ValueError:
        raise BadInput(
            f"The picture `{image}` is not below `{media}`. Name the folder that all pictures are in."
        ) from None
