"""Reads traffic scenarios in which every vehicle is tracked, such as those of NGSIM; each vehicle in turn is the ego.

    {"benchmarkID", "dt": s, "vehicles": [{"id", "type", "length", "width", "states": [[step, x, y, yaw, v], ...]}],
     "lanelets": [{"left": points, "right": points}]}

as JSON, plain or gzipped: what a CommonRoad scenario holds. Positions are of the centre, m; yaw rad; speed m/s.
"""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
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
from loopwright.tools.drive.scene import HISTORY_STEPS, Lane, Sample

Floats = NDArray[np.float64]


def read_traffic(path: Path, *, on_problem: OnProblem = raise_problem) -> Iterator[Sample]:
    """Samples of each vehicle that is seen long enough, every 0.5 s.

    Raises:
        BadInput: no such file, or a field is missing or wrong; or see `on_grid`.
    """
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        scenario = parse_json(text)
        states = {str(each["id"]): np.array(each["states"], dtype=np.float64) for each in scenario["vehicles"]}
        seconds, name = float(scenario["dt"]), str(scenario["benchmarkID"])
        lanes = tuple(map(_lane, scenario.get("lanelets") or ()))
        others = {str(each["id"]): each for each in scenario["vehicles"]}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"`{path}`: {error!r}; expected JSON with `benchmarkID`, `dt` and `vehicles`.") from error
    grid = grid_of(np.concatenate([of[:, 0] for of in states.values()]) * seconds)
    tracks, speeds = {}, {}
    for vehicle, rows in states.items():
        if rows.ndim != 2 or rows.shape[1] != 5:
            raise BadInput(f"`{path}`, vehicle {vehicle}: states of shape {rows.shape}; expected step, x, y, yaw, v.")
        if len(rows) < 2:
            continue
        poses = on_grid(rows[:, 0] * seconds, rows[:, 1:4], grid, f"`{path}`, vehicle {vehicle}", on_problem)
        tracks[vehicle] = _track(others[vehicle], poses)
        speeds[vehicle] = np.interp(grid, rows[:, 0] * seconds, rows[:, 4])
    for vehicle, track in tracks.items():
        seen = np.flatnonzero(np.isfinite(track.poses[:, 0]))
        if len(seen) <= HISTORY_STEPS + 1:
            continue
        first, end = int(seen[0]), int(seen[-1]) + 1
        recording = Recording(
            source="commonroad",
            log=name,
            tokens=[f"{name}/veh{vehicle}@{second:.1f}s" for second in grid[first:end]],
            ego=_cut(track, first, end),
            times_s=grid[first:end],
            speeds_mps=speeds[vehicle][first:end],
            agents={other: _cut(of, first, end) for other, of in tracks.items() if other != vehicle},
            lanes=lanes,
        )
        yield from samples_of(recording, on_problem=on_problem)


def _track(vehicle: Mapping[str, Any], poses: Floats) -> Track:
    return Track(str(vehicle["type"]), float(vehicle["length"]), float(vehicle["width"]), poses)


def _cut(track: Track, first: int, end: int) -> Track:
    return track._replace(poses=track.poses[first:end])


def _lane(lanelet: Mapping[str, Any]) -> Lane:
    left, right = (np.array(lanelet[side], dtype=np.float64) for side in ("left", "right"))
    width = float(np.median(np.linalg.norm(left - right, axis=1)))
    return Lane(centre=tuple((float(x), float(y)) for x, y in (left + right) / 2), width_m=min(20.0, width))
