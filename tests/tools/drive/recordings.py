"""Small recorded drives in each data set's own layout, all values made up: an ego at 10 m/s that turns left slowly."""

import gzip
import json
from collections.abc import Callable, Mapping
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np

SPEED_MPS, TURN_RPS = 10.0, 0.02
Entry = dict[str, Any]
Change = Callable[[dict[str, list[Entry]]], object]


def ego(seconds: float) -> tuple[float, float, float]:
    """Where the ego is in the world: x, y, yaw."""
    yaw = 0.3 + TURN_RPS * seconds
    radius = SPEED_MPS / TURN_RPS
    return 500 + radius * (sin(yaw) - sin(0.3)), 900 - radius * (cos(yaw) - cos(0.3)), yaw


def ahead(seconds: float, by_m: float = 15.0) -> tuple[float, float, float]:
    """A car `by_m` ahead of the ego."""
    return ego(seconds + by_m / SPEED_MPS)


def quaternion(yaw: float) -> list[float]:
    return [cos(yaw / 2), 0.0, 0.0, sin(yaw / 2)]


def nuscenes(
    root: Path, n: int = 14, *, channels: tuple[str, ...] = ("CAM_FRONT",), change: Change = lambda tables: None
) -> Path:
    """One scene of `n` key frames, its pictures as empty files; `change` may edit the tables."""
    tables: dict[str, list[Entry]] = {
        "scene": [{"token": "scene", "name": "scene-0001", "first_sample_token": "s0"}],
        "sensor": [{"token": f"of-{c}", "channel": c} for c in ("LIDAR_TOP", *channels)],
        "calibrated_sensor": [{"token": f"cal-{c}", "sensor_token": f"of-{c}"} for c in ("LIDAR_TOP", *channels)],
        "category": [{"token": "car", "name": "vehicle.car"}, {"token": "cone", "name": "movable_object.trafficcone"}],
        "instance": [{"token": "lead", "category_token": "car"}, {"token": "cone", "category_token": "cone"}],
        "sample": [],
        "sample_data": [],
        "ego_pose": [],
        "sample_annotation": [],
    }
    for k in range(n):
        x, y, yaw = ego(k / 2)
        tables["sample"].append({"token": f"s{k}", "timestamp": 10**15 + 500_000 * k, "scene_token": "scene"})
        tables["ego_pose"].append({"token": f"p{k}", "translation": [x, y, 0.0], "rotation": quaternion(yaw)})
        for channel in ("LIDAR_TOP", *channels):
            file = f"samples/{channel}/{k}.jpg"
            tables["sample_data"].append(
                {"token": f"d{k}{channel}", "sample_token": f"s{k}", "ego_pose_token": f"p{k}", "filename": file,
                 "calibrated_sensor_token": f"cal-{channel}", "is_key_frame": True}
            )  # fmt: skip
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        for instance, (ax, ay, a_yaw) in (("lead", ahead(k / 2)), ("cone", ahead(k / 2, 5.0))):
            tables["sample_annotation"].append(
                {"token": f"a{k}{instance}", "sample_token": f"s{k}", "instance_token": instance, "size": [2, 4.5, 1.5],
                 "translation": [ax, ay, 0.0], "rotation": quaternion(a_yaw)}
            )  # fmt: skip
    change(tables)
    folder = root / "v1.0-mini"
    folder.mkdir(parents=True)
    for name, entries in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(entries))
    return root


def comma2k19(folder: Path, seconds: float = 8.0, rate_hz: float = 20.0) -> dict[str, np.ndarray[Any, Any]]:
    """A segment at the equator, where east, north and up are y, z and x; its device looks 0.05 rad too far left."""
    times = 100.0 + np.arange(int(seconds * rate_hz)) / rate_hz
    poses = np.array([ego(t - 100.0) for t in times])
    yaw = poses[:, 2] + 0.05
    ecef = np.column_stack([np.full(len(times), 6378137.0), poses[:, 0], poses[:, 1]])
    velocity = np.column_stack([0 * yaw, SPEED_MPS * np.cos(poses[:, 2]), SPEED_MPS * np.sin(poses[:, 2])])
    # columns: where forward, right and down point, in ECEF
    turned = [np.array([[0, 0, -1], [cos(a), sin(a), 0], [sin(a), -cos(a), 0]]) for a in yaw]
    arrays = {
        "frame_times": times,
        "frame_positions": ecef,
        "frame_velocities": velocity,
        "frame_orientations": np.array([_wxyz(each) for each in turned]),
    }
    (folder / "global_pose").mkdir(parents=True)
    for name, array in arrays.items():
        with (folder / "global_pose" / name).open("wb") as file:
            np.save(file, array)
    return arrays


def packed(path: Path, arrays: Mapping[str, Any]) -> Path:
    """The arrays of a segment in one file."""
    named: dict[str, Any] = {f"global_pose__{name}": array for name, array in arrays.items()}
    np.savez(path, **named)
    return path


def _wxyz(rotation: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z])


def traffic(path: Path, steps: int = 71) -> Path:
    """Two vehicles at 10 Hz in one lane, gzipped."""
    vehicles = [
        {"id": number, "type": "car", "length": 4.5, "width": 1.8,
         "states": [[k, *where(k / 10), SPEED_MPS] for k in range(steps)]}
        for number, where in ((1, ego), (2, ahead))
    ]  # fmt: skip
    left, right = ([[500.0, 900.0 + y], [540.0, 912.0 + y]] for y in (2, -2))
    content = {"benchmarkID": "made-up", "dt": 0.1, "vehicles": vehicles, "lanelets": [{"left": left, "right": right}]}
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def argoverse2(folder: Path, steps: int = 110) -> Path:
    """A scenario and its map; the lead car is seen for the first 6 s only."""
    from pyarrow import Table, parquet

    rows = [
        {"track_id": track, "object_type": "vehicle", "timestep": k, "position_x": x, "position_y": y, "heading": yaw}
        for track, where, n in (("AV", ego, steps), ("17", ahead, 61))
        for k in range(n)
        for x, y, yaw in [where(k / 10)]
    ]
    folder.mkdir(parents=True)
    parquet.write_table(Table.from_pylist(rows), folder / "scenario_abc.parquet")
    boundary = [[{"x": 500.0 + 20 * k, "y": 900.0 + y, "z": 0.0} for k in range(3)] for y in (1.75, -1.75)]
    segment = {"left_lane_boundary": boundary[0], "right_lane_boundary": boundary[1]}
    (folder / "log_map_archive_abc.json").write_text(json.dumps({"lane_segments": {"1": segment}}))
    return folder


def planning_row(**changed: Any) -> Mapping[str, Any]:
    """One line of planning samples: 10 m/s straight on, a stopped car ahead that is seen once more."""
    return {
        "source": "made up",
        "log": "log1",
        "token": "frame40",
        "speed_mps": 10.0,
        "history_2s": [[5.0 * k, 0.0] for k in range(-4, 1)],
        "future_3s_gt": [[5.0 * k, 0.0] for k in range(1, 7)],
        "command": "straight",
        "agents": [
            {"id": "7", "cat": "car", "pos": [40.0, 0.5], "yaw": 0.0, "lw": [4.5, 1.9], "vel": [0.0, 0.0],
             "future": [[40.0, 0.5, 0.0], *[None] * 5]}
        ],
        "ego_lw": [4.8, 1.9],
        **changed,
    }  # fmt: skip


def expected_future() -> list[tuple[float, float]]:
    """Of the ego, in its frame at any moment: points of a circle."""
    turned = [TURN_RPS * k / 2 for k in range(1, 7)]
    radius = SPEED_MPS / TURN_RPS
    return [(radius * sin(angle), radius * (1 - cos(angle))) for angle in turned]
