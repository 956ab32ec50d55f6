"""The fourteen landmarks: canonical names, 1-based ids, synonyms, and files of their positions.

Positions are `_world` mm (RAS+). Names, ids and synonyms are those of the public
`marszzibros/C-arm-localization-LLMs` data.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.errors import BadInput, UnknownName
from loopwright.log import get_logger
from loopwright.schema.json_text import parse_json
from loopwright.tools.carm.volume import Volume

_log = get_logger(__name__)

Array = NDArray[np.float64]
Landmarks = Mapping[str, Array]
Unit = Literal["mm", "voxel"]

LANDMARKS: tuple[str, ...] = (
    "Skull",
    "Right humeral head",
    "Left humeral head",
    "Right scapular inferior angle",
    "Left scapular inferior angle",
    "Right elbow",
    "Left elbow",
    "Right wrist",
    "Left wrist",
    "T1",
    "Carina",
    "Right hemidiaphragm",
    "Left hemidiaphragm",
    "T12",
)

_UNPAIRED = {
    "Skull": ("Cranium", "Cranial vault", "Calvarium"),
    "T1": ("First thoracic vertebra", "T1 vertebral body", "Upper thoracic vertebra"),
    "Carina": ("Tracheal bifurcation", "Tracheal carina"),
    "T12": ("Twelfth thoracic vertebra", "T12 vertebral body", "Lower thoracic vertebra"),
}
_PAIRED = {
    "humeral head": ("Proximal humerus", "Head of the humerus", "Glenohumeral head"),
    "scapular inferior angle": ("Lower tip of scapula", "Shoulder blade tip"),
    "elbow": ("Olecranon", "Cubital joint", "Elbow joint"),
    "wrist": ("Carpus", "Radiocarpal joint", "Wrist joint"),
    "hemidiaphragm": ("Diaphragmatic dome", "Diaphragmatic crus"),
}
_SHORT = {"scapula": "scapular inferior angle", "humerus": "humeral head", "diaphragm": "hemidiaphragm"}

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    name: _UNPAIRED.get(name)
    or tuple(f"{name.split()[0]} {s[0].lower()}{s[1:]}" for s in _PAIRED[name.split(maxsplit=1)[1]])
    for name in LANDMARKS
}
"""Canonical name to the synonyms that a training answer may draw (each with its side where there are two)."""

_SIDES = {"right": "right", "r": "right", "rt": "right", "left": "left", "l": "left", "lt": "left"}


def _key(text: str) -> str:
    """Side first, then the lower-case words: 'Elbow (R)', 'right_elbow' and 'Right elbow' are one key."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    sides = [_SIDES[w] for w in words if w in _SIDES]
    return " ".join([*sides, *(w for w in words if w not in _SIDES and w != "the")])


_BY_KEY = {_key(alias): name for name in LANDMARKS for alias in (name, *SYNONYMS[name])} | {
    f"{side} {short}": f"{side.capitalize()} {full}" for short, full in _SHORT.items() for side in ("right", "left")
}


def canonical_name(text: str) -> str:
    """The landmark that `text` names: any case, a synonym, the side before or after ('wrist, left', 'R elbow').

    Raises:
        UnknownName: suggesting the nearest names.
    """
    try:
        return _BY_KEY[_key(text)]
    except KeyError:
        raise UnknownName("landmark", text, LANDMARKS) from None


def landmark_id(name: str) -> int:
    """1-based id of a canonical name or synonym."""
    return LANDMARKS.index(canonical_name(name)) + 1


def nearest(landmarks: Landmarks, point_world: ArrayLike, k: int) -> tuple[str, ...]:
    """The `k` landmarks nearest to a point (3,) mm in `_world`, closest first, by Euclidean distance (as the paper)."""
    point = np.asarray(point_world, dtype=np.float64)
    return tuple(sorted(landmarks, key=lambda name: float(np.linalg.norm(landmarks[name] - point)))[:k])


def load_landmarks(path: Path, volume: Volume, *, unit: Unit = "mm") -> dict[str, Array]:
    """Read landmark positions from JSON or CSV, as (3,) mm in `_world`, in id order.

    JSON is `{"landmarks": {NAME: {"ras_mm": [x, y, z]}}}` or plainly `{NAME: [x, y, z]}`. CSV has the columns
    `x_ct,y_ct,z_ct` of the seed repository (or `x,y,z`) and one row a landmark: named in a column `name`, `landmark`
    or `label`, else exactly fourteen rows in id order. A row or value left empty is a landmark that the volume does
    not hold.

    Args:
        path: the file; its suffix decides the format.
        volume: what the points must lie in.
        unit: "mm" for `_world`, "voxel" for array indices of `volume` (RAS+ order). Nothing is guessed.

    Raises:
        BadInput: naming the file, the landmark, its value and what was expected.
        UnknownName: no name is a landmark. Beside known ones, such names are skipped with a warning.
    """
    readers = {".json": _from_json, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"`{path}` ends in {path.suffix!r}; landmarks are read from .json or .csv.")
    if not path.is_file():
        raise BadInput(f"`{path}` is not a file. Give the path of a landmark file (.json or .csv).")
    found: dict[str, Array] = {}
    skipped: list[str] = []
    for text, values in reader(path):
        try:
            name = canonical_name(text)
        except UnknownName:
            skipped.append(text)
            continue
        if name in found:
            raise BadInput(f"`{path}` gives `{name}` twice (second as {text!r}). Keep one.")
        point = _point(path, name, values)
        found[name] = volume.to_world(point) if unit == "voxel" else point
    if skipped and found:
        _log.warning("names that are no landmark were skipped", file=str(path), names=skipped[:20], n=len(skipped))
    if not found and skipped:
        raise UnknownName("landmark", skipped[0], LANDMARKS)
    if not found:
        raise BadInput(f"`{path}` holds no landmark. Expected at least one of: {', '.join(LANDMARKS)}.")
    _check_inside(path, found, volume, unit)
    return {name: found[name] for name in LANDMARKS if name in found}


def _point(path: Path, name: str, values: object) -> Array:
    try:
        point = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise BadInput(f"`{path}` gives {values!r} for `{name}`; expected three finite numbers [x, y, z].")
    return point


def _check_inside(path: Path, landmarks: Landmarks, volume: Volume, unit: Unit) -> None:
    low, high = volume.bounds_world
    for name, point in landmarks.items():
        if ((point < low) | (point > high)).any():
            other = "voxel" if unit == "mm" else "mm"
            raise BadInput(
                f"`{path}` puts `{name}` at {point.round(1).tolist()} mm, outside the volume `{volume.name}` "
                f"({low.round(1).tolist()} to {high.round(1).tolist()} mm, RAS+). Numbers were read as {unit!r}; "
                f"if they are {other!r} or of another frame (LPS), say so or convert them."
            )


def _from_json(path: Path) -> Iterator[tuple[str, object]]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"`{path}` is not JSON ({error}). Expected {{NAME: [x, y, z], ...}}.") from error
    if isinstance(data, dict) and "landmarks" in data:
        data = data["landmarks"]
    if not isinstance(data, dict):
        raise BadInput(f"`{path}` holds {type(data).__name__}; expected an object {{NAME: [x, y, z], ...}}.")
    for name, value in data.items():
        yield name, value.get("ras_mm") if isinstance(value, dict) else value


def _from_csv(path: Path) -> Iterator[tuple[str, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"`{path}` is not UTF-8 text ({error}).") from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = list(reader.fieldnames or ())
    axes = next((a for a in (["x_ct", "y_ct", "z_ct"], ["x", "y", "z"]) if set(a) <= set(columns)), None)
    if axes is None:
        raise BadInput(f"`{path}` has the columns {columns!r}; expected `x_ct`, `y_ct` and `z_ct`.")
    name_column = next((c for c in columns if c.strip().lower() in ("name", "landmark", "label")), None)
    rows = list(reader)
    if name_column is None and len(rows) != len(LANDMARKS):
        raise BadInput(
            f"`{path}` has {len(rows)} rows and no `name` column; expected {len(LANDMARKS)} rows in id order, or names."
        )
    for index, row in enumerate(rows):
        values = [row[a] for a in axes]
        if any((v or "").strip() for v in values):
            yield row[name_column] if name_column else LANDMARKS[index], values
