"""Anybody's predicted trajectories, read from a file and matched to samples by their tokens.

    {"TOKEN": [[x, y], ... 6]}   or   {"TOKEN": "text with (x,y), ..."}       one JSON object
    {"token": "TOKEN", "waypoints": [[x, y], ... 6]}                          one object a line, or an array of them

`id` is read as `token`, and `trajectory`, `predict` or `text` as `waypoints`. Lines without any token, as LLaMA-Factory
writes them (`generated_predictions.jsonl`), are taken in the order of the samples where there are as many.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loopwright.errors import BadInput
from loopwright.finetune.data.drive.fsdrive import from_fsdrive, points_of
from loopwright.schema.json_text import parse_json
from loopwright.tools.drive.scene import FUTURE_STEPS, Point, Sample
from loopwright.tools.json_entries import read_entries

Axes = Literal["ego", "fsdrive"]
"""Ours, (forward, left); or FSDrive's and Agent-Driver's, (right, forward)."""
_TOKENS = ("token", "id", "sample_token")
_ANSWERS = ("waypoints", "trajectory", "predict", "text")


class Predictions(NamedTuple):
    """An answer to each sample, None where it is missing or cannot be read, and how many tokens fit no sample."""

    answers: list[Sequence[Point] | None]
    n_unknown: int


def read_predictions(path: Path, samples: Sequence[Sample], axes: Axes = "ego") -> Predictions:
    """The answers in a file.

    Raises:
        BadInput: no such file, no JSON of either form, a token twice, or no token that fits a sample.
    """
    found = _by_token(path, samples)
    tokens = [sample.scene.token for sample in samples]
    if not set(tokens) & set(found):
        raise BadInput(
            f"`{path}` answers {next(iter(found))!r} and {len(found) - 1} more, none of the {len(tokens)} samples, "
            f"such as {tokens[0]!r}. Name each sample by its token."
        )
    return Predictions([_answer(found.get(token), axes) for token in tokens], len(set(found) - set(tokens)))


def _by_token(path: Path, samples: Sequence[Sample]) -> Mapping[str, Any]:
    if (whole := _object(path)) is not None:
        return whole
    rows = [row for _, row in read_entries(path)]
    answers = [next((row[key] for key in _ANSWERS if key in row), None) for row in rows]
    tokens = [next((str(row[key]) for key in _TOKENS if key in row), None) for row in rows]
    if not rows:
        raise BadInput(f"`{path}` holds no answer. Expected one object a line.")
    if not any(tokens):
        if len(rows) != len(samples):
            raise BadInput(
                f"`{path}` has {len(rows)} answers without a token to {len(samples)} samples. Add `token` to each, or "
                "give the samples that were asked, in their order."
            )
        tokens = [sample.scene.token for sample in samples]
    found: dict[str, Any] = {}
    for number, (token, answer) in enumerate(zip(tokens, answers, strict=True), start=1):
        if token is None or token in found:
            raise BadInput(f"`{path}`, row {number}: {'no token' if token is None else f'{token!r} is there twice'}.")
        found[token] = answer
    return found


def _object(path: Path) -> Mapping[str, Any] | None:
    """The file as one object of answers by token; None where it is rows."""
    try:
        whole = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"`{path}` cannot be read: {error}. Expected a file of predictions, as JSON.") from error
    except json.JSONDecodeError:
        return None
    is_row = isinstance(whole, dict) and any(key in whole for key in _ANSWERS)
    return whole if isinstance(whole, dict) and whole and not is_row else None


def _answer(value: Any, axes: Axes) -> tuple[Point, ...] | None:
    """Six finite points in the ego frame, or None."""
    points = points_of(value) if isinstance(value, str) else _listed(value)
    if points is None or not all(math.isfinite(x + y) for x, y in points):
        return None
    return tuple(map(from_fsdrive, points)) if axes == "fsdrive" else tuple(points)


def _listed(value: Any) -> list[Point] | None:
    try:
        points = [(float(point[0]), float(point[1])) for point in value]
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    last = points[1:] if len(points) == FUTURE_STEPS + 1 else points
    return last if len(last) == FUTURE_STEPS else None
