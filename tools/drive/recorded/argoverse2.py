"""Reads scenarios of the Argoverse 2 motion-forecasting data set (Wilson et al. 2021): 11 s at 10 Hz, no pictures.

    SCENARIO/scenario_ID.parquet           a row a track and time step
    SCENARIO/log_map_archive_ID.json       lanes; may be missing

Tracks have no sizes: each kind has a usual one. Needs pyarrow.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput, MissingDependency
from loopwright.schema.json_text import parse_json
from loopwright.tools.drive.recorded.recording import (
    OnProblem,
    Recording,
    Track,
    grid_of,
    on_grid,
    raise_problem,
    samples_of,
)
from loopwright.tools.drive.scene import Lane, Sample

Floats = NDArray[np.float64]
EGO = "AV"
SIZES_M: Mapping[str, tuple[float, float]] = {
    "vehicle": (4.6, 1.9),
    "bus": (12.0, 2.9),
    "pedestrian": (0.7, 0.7),
    "motorcyclist": (2.1, 0.8),
    "cyclist": (1.9, 0.7),
    "riderless_bicycle": (1.9, 0.7),
}
"""Usual length and width of each kind; another kind is taken for a square metre."""
_STEP_S = 0.1
_COLUMNS = ("track_id", "object_type", "timestep", "position_x", "position_y", "heading")


def read_argoverse2(path: Path, *, on_problem: OnProblem = raise_problem) -> Iterator[Sample]:
    """Samples of all scenarios: of one `.parquet` file, or of those below a folder, by their names.

    Raises:
        BadInput: there is no scenario, or one is wrong; or see `on_grid`.
        MissingDependency: pyarrow is not installed.
    """
    files = [path] if path.is_file() else sorted(path.rglob("scenario_*.parquet"))
    if not files:
        raise BadInput(f"`{path}` holds no `scenario_ID.parquet`; expected a folder of Argoverse 2 scenarios.")
    for file in files:
        yield from _scenario(file, on_problem)


def _scenario(file: Path, on_problem: OnProblem) -> Iterator[Sample]:
    rows = _table(file)
    name = file.stem.removeprefix("scenario_")
    times = rows["timestep"].astype(np.float64) * _STEP_S
    grid = grid_of(times)
    poses = np.column_stack([rows[column].astype(np.float64) for column in ("position_x", "position_y", "heading")])
    tracks: dict[str, Track] = {}
    for track in dict.fromkeys(rows["track_id"].tolist()):
        of = rows["track_id"] == track
        kind = str(rows["object_type"][of][0])
        if np.count_nonzero(of) > 1:
            where = f"`{file}`, track {track!r}"
            tracks[str(track)] = Track(
                kind, *SIZES_M.get(kind, (1.0, 1.0)), on_grid(times[of], poses[of], grid, where, on_problem)
            )
    if EGO not in tracks:
        raise BadInput(f"`{file}` has no track {EGO!r}, the ego vehicle's; it has {len(tracks)} others.")
    recording = Recording(
        source="argoverse2",
        log=name,
        tokens=[f"{name}/{second:.1f}s" for second in grid],
        ego=tracks.pop(EGO),
        times_s=grid,
        agents=tracks,
        lanes=_lanes(file.with_name(f"log_map_archive_{name}.json")),
    )
    yield from samples_of(recording, on_problem=on_problem)


def _table(file: Path) -> dict[str, NDArray[Any]]:
    """The columns that are read, as arrays."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("Argoverse 2 scenarios need pyarrow: `pip install pyarrow`.") from error
    try:
        table = parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise BadInput(f"`{file}` cannot be read as Parquet: {error}. Fetch the scenario again.") from error
    if missing := [column for column in _COLUMNS if column not in table.column_names]:
        raise BadInput(f"`{file}` has no column `{missing[0]}`; expected {', '.join(f'`{c}`' for c in _COLUMNS)}.")
    return {column: np.asarray(table[column].to_pylist()) for column in _COLUMNS}


def _lanes(file: Path) -> tuple[Lane, ...]:
    if not file.is_file():
        return ()
    try:
        segments = parse_json(file.read_text(encoding="utf-8"))["lane_segments"].values()
        return tuple(_lane(segment) for segment in segments)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"`{file}`: {error!r}; expected `lane_segments` with boundaries. Fetch the map again."
        ) from error


def _lane(segment: Mapping[str, Any]) -> Lane:
    """Between its boundaries, which have points of their own each."""
    left, right = (_resampled(segment[f"{side}_lane_boundary"]) for side in ("left", "right"))
    width = float(np.median(np.linalg.norm(left - right, axis=1)))
    return Lane(centre=tuple((float(x), float(y)) for x, y in (left + right) / 2), width_m=min(20.0, max(0.1, width)))


def _resampled(points: list[Mapping[str, float]], n: int = 10) -> Floats:
    """(n, 2) points, evenly along a line."""
    line = np.array([(point["x"], point["y"]) for point in points], dtype=np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0.0, along[-1], n)
    return np.column_stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)])
