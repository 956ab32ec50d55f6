"""Reads segments of comma2k19 (Schafer et al. 2018, MIT): global poses at 20 Hz. Its video is not opened.

    SEGMENT/global_pose/frame_times, frame_positions, frame_orientations, frame_velocities   NumPy arrays
    SEGMENT.npz                                                                              `global_pose__...`

Positions are ECEF, orientations unit quaternions (w, x, y, z) from the device's forward, right, down to ECEF. The
origin is the device's, behind the windscreen; its yaw is calibrated against the velocity, for it is not mounted
straight. Radar points are no road users and are left out.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.drive.recorded.recording import (
    OnProblem,
    Recording,
    Track,
    grid_of,
    on_grid,
    raise_problem,
    samples_of,
)
from loopwright.tools.drive.scene import Sample

Floats = NDArray[np.float64]
FOLDER = "global_pose"
_ARRAYS = {"frame_times": 1, "frame_positions": 3, "frame_orientations": 4, "frame_velocities": 3}
_LENGTH_M, _WIDTH_M = 4.6, 1.85
_MOVES_MPS = 5.0
_E2 = 6.69437999014e-3
"""Squared eccentricity of WGS 84."""


def read_comma2k19(path: Path, *, on_problem: OnProblem = raise_problem) -> Iterator[Sample]:
    """Samples of one segment, every 0.5 s.

    Raises:
        BadInput: an array is missing or has another shape; or see `on_grid`.
    """
    arrays = _arrays(path)
    times = arrays["frame_times"]
    to_enu, east, north = _plane(arrays["frame_positions"])
    velocity = (arrays["frame_velocities"] @ to_enu.T)[:, :2]
    speed = np.linalg.norm(velocity, axis=1)
    yaw = _yaws(arrays["frame_orientations"], to_enu)
    yaw += _mounting(yaw, velocity)
    grid, where = grid_of(times), f"`{path}`"
    poses = on_grid(times, np.column_stack([east, north, yaw]), grid, where, on_problem)
    since = grid - grid[0]
    log = path.stem if path.is_file() else "/".join(path.resolve().parts[-2:])
    yield from samples_of(
        Recording(
            source="comma2k19",
            log=log,
            tokens=[f"{log}/{second:.1f}s" for second in since],
            ego=Track("car", _LENGTH_M, _WIDTH_M, poses),
            times_s=since,
            speeds_mps=np.interp(grid, times, speed),
        ),
        on_problem=on_problem,
    )


def _arrays(path: Path) -> dict[str, Floats]:
    """The arrays by name, each of its shape."""
    found: dict[str, Floats] = {}
    packed = None if path.is_dir() else np.load(path, allow_pickle=False)
    for name, width in _ARRAYS.items():
        key, file = f"{FOLDER}__{name}", path / FOLDER / name
        if packed is not None and key in packed:
            found[name] = np.asarray(packed[key], dtype=np.float64)
        elif file.is_file():
            found[name] = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
        else:
            raise BadInput(f"`{path}` has no `{key if packed is not None else file.relative_to(path)}`; expected it.")
        shape = found[name].shape
        if shape != ((shape[0],) if width == 1 else (shape[0], width)) or shape[0] != len(found["frame_times"]):
            raise BadInput(
                f"`{path}`: `{name}` has shape {shape}; expected {width} numbers for each of "
                f"{len(found['frame_times'])} times. Fetch the segment again."
            )
    return found


def _plane(ecef_m: Floats) -> tuple[Floats, Floats, Floats]:
    """The rotation ECEF -> east, north, up at the first finite position, and the positions east and north of it, m."""
    whole = np.isfinite(ecef_m).all(axis=1)
    if not whole.any():
        raise BadInput("`frame_positions` has no finite position. Fetch the segment again.")
    x, y, z = ecef_m[whole][0]
    longitude = np.arctan2(y, x)
    latitude = np.arctan2(z, np.hypot(x, y) * (1 - _E2))  # on the ellipsoid; a road's height does not matter here
    (sin_a, cos_a), (sin_o, cos_o) = ((np.sin(each), np.cos(each)) for each in (latitude, longitude))
    to_enu = np.array(
        [
            [-sin_o, cos_o, 0.0],
            [-sin_a * cos_o, -sin_a * sin_o, cos_a],
            [cos_a * cos_o, cos_a * sin_o, sin_a],
        ]
    )
    local = (ecef_m - ecef_m[whole][0]) @ to_enu.T
    return to_enu, local[:, 0], local[:, 1]


def _yaws(wxyz: Floats, to_enu: Floats) -> Floats:
    """Of the device's forward axis, from east towards north; NaN for a quaternion that is not finite."""
    w, x, y, z = (wxyz / np.linalg.norm(wxyz, axis=1, keepdims=True)).T
    forward = np.column_stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]) @ to_enu.T
    yaw: Floats = np.arctan2(forward[:, 1], forward[:, 0])
    return yaw


def _mounting(yaw: Floats, velocity: Floats) -> float:
    """The median angle from the device's forward axis to the velocity, rad; 0 in a log that stands still."""
    moves = np.hypot(*velocity.T) > _MOVES_MPS
    apart = np.angle(np.exp(1j * (np.arctan2(velocity[:, 1], velocity[:, 0]) - yaw)))[moves]
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if apart.size else 0.0
