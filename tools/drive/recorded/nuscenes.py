"""Reads nuScenes v1.0 (Caesar et al. 2020) from its JSON tables, without the devkit.

    ROOT/v1.0-mini/*.json      or v1.0-trainval, v1.0-test
    ROOT/samples/CAM_FRONT/    pictures of the key frames, one folder a camera

Key frames, about 2 Hz, are the steps. The ego pose is that of the LIDAR_TOP key frame, as in the papers. Tables are
read entry by entry, so that the largest ones need no more memory than what is kept of them.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.drive.recorded.recording import (
    OnProblem,
    Recording,
    Track,
    raise_problem,
    samples_of,
    steps_of,
)
from loopwright.tools.drive.scene import Camera, Pose, Sample
from loopwright.tools.json_entries import read_entries

Floats = NDArray[np.float64]
CHANNELS: Mapping[str, Camera] = {
    "CAM_FRONT": "F",
    "CAM_FRONT_LEFT": "FL",
    "CAM_FRONT_RIGHT": "FR",
    "CAM_BACK": "B",
    "CAM_BACK_LEFT": "BL",
    "CAM_BACK_RIGHT": "BR",
}
ROAD_USERS = ("vehicle.", "human.")
"""Categories of agents; barriers, cones and animals are none."""
_POSED_BY = "LIDAR_TOP"
_LENGTH_M, _WIDTH_M = 4.084, 1.85
"""Of the Renault Zoe."""


class _KeyFrame(NamedTuple):
    """One sample: when it was, its ego pose's token, and the pictures that are there."""

    token: str
    time_s: float
    ego_pose: str
    images: Mapping[Camera, str]


def read_nuscenes(
    root: Path,
    version: str | None = None,
    *,
    cameras: Sequence[Camera] = (),
    on_problem: OnProblem = raise_problem,
) -> Iterator[Sample]:
    """Samples of every scene, in the order of its table. Tokens are the data set's own.

    Args:
        root: the data set's folder.
        version: such as `v1.0-mini`; None is the only one there.
        cameras: whose pictures a sample has to have; () where pictures do not matter. Those there are named anyway.
        on_problem: see `samples_of`.

    Raises:
        BadInput: a table is missing or damaged; or something is missing and `on_problem` raises.
        UnknownName: there is no such version, or several and none was named.
    """
    there = sorted(folder.name for folder in root.glob("v1.0-*") if folder.is_dir())
    version = there[0] if version is None and len(there) == 1 else version
    if version is None or version not in there:
        raise UnknownName(f"version of nuScenes in `{root}`", version or "", there)
    tables = root / version
    frames = _key_frames(root, tables)
    poses = _ego_poses(tables, {frame.ego_pose for of_scene in frames.values() for frame in of_scene})
    seen = _annotations(tables, {frame.token for of_scene in frames.values() for frame in of_scene})
    sizes = _instances(tables)
    for scene in _entries(tables, "scene", "token", "name"):
        of_scene = frames.get(scene["token"], [])
        if len(of_scene) > 1:
            recording = _recording(str(scene["name"]), of_scene, poses, seen, sizes, on_problem)
            yield from samples_of(recording, cameras=cameras, on_problem=on_problem)


def _entries(tables: Path, name: str, *fields: str) -> Iterator[dict[str, Any]]:
    """The entries of one table, of which each has to have `fields`."""
    path = tables / f"{name}.json"
    for number, entry in read_entries(path):
        if missing := [each for each in fields if each not in entry]:
            raise BadInput(f"`{path}`, entry {number}: has no `{missing[0]}`; expected {', '.join(fields)}.")
        yield entry


def _key_frames(root: Path, tables: Path) -> dict[str, list[_KeyFrame]]:
    """The key frames of each scene, by its token, in the order of time."""
    channels = {each["token"]: str(each["channel"]) for each in _entries(tables, "sensor", "token", "channel")}
    calibrated = _entries(tables, "calibrated_sensor", "token", "sensor_token")
    channel_of = {each["token"]: channels.get(each["sensor_token"], "") for each in calibrated}
    posed: dict[str, str] = {}
    images: dict[str, dict[Camera, str]] = {}
    fields = ("sample_token", "ego_pose_token", "calibrated_sensor_token", "filename", "is_key_frame")
    for each in _entries(tables, "sample_data", *fields):
        channel = channel_of.get(each["calibrated_sensor_token"], "")
        if not each["is_key_frame"]:
            continue
        if channel == _POSED_BY:
            posed[each["sample_token"]] = each["ego_pose_token"]
        elif channel in CHANNELS and (root / each["filename"]).is_file():
            images.setdefault(each["sample_token"], {})[CHANNELS[channel]] = str(root / each["filename"])
    frames: dict[str, list[_KeyFrame]] = {}
    for each in _entries(tables, "sample", "token", "timestamp", "scene_token"):
        token = each["token"]
        if token not in posed:
            raise BadInput(
                f"`{tables / 'sample_data.json'}` has no key frame of {_POSED_BY} for the sample {token!r}, by which "
                "it is posed. Fetch the tables again."
            )
        frame = _KeyFrame(token, each["timestamp"] / 1e6, posed[token], images.get(token, {}))
        frames.setdefault(each["scene_token"], []).append(frame)
    return {scene: sorted(of_scene, key=lambda frame: frame.time_s) for scene, of_scene in frames.items()}


def _ego_poses(tables: Path, wanted: Container[str]) -> dict[str, Pose]:
    fields = ("token", "translation", "rotation")
    return {each["token"]: _pose(each) for each in _entries(tables, "ego_pose", *fields) if each["token"] in wanted}


def _annotations(tables: Path, wanted: Container[str]) -> dict[str, dict[str, Pose]]:
    """Who is annotated at each key frame: sample -> instance -> pose in the world."""
    seen: dict[str, dict[str, Pose]] = {}
    for each in _entries(
        tables, "sample_annotation", "sample_token", "instance_token", "translation", "rotation", "size"
    ):
        if each["sample_token"] in wanted:
            seen.setdefault(each["sample_token"], {})[each["instance_token"]] = _pose(each)
    return seen


def _instances(tables: Path) -> dict[str, tuple[str, float, float]]:
    """Kind, length and width (m) of every road user, by its token; of an instance's annotations, the first."""
    kinds = {each["token"]: str(each["name"]) for each in _entries(tables, "category", "token", "name")}
    instances = _entries(tables, "instance", "token", "category_token")
    kind_of = {each["token"]: kinds.get(each["category_token"], "") for each in instances}
    sizes: dict[str, tuple[str, float, float]] = {}
    for each in _entries(tables, "sample_annotation", "instance_token", "size"):
        kind = kind_of.get(each["instance_token"], "")
        if kind.startswith(ROAD_USERS) and each["instance_token"] not in sizes:
            width_m, length_m, _ = each["size"]
            sizes[each["instance_token"]] = (kind, float(length_m), float(width_m))
    return sizes


def _recording(
    name: str,
    frames: Sequence[_KeyFrame],
    poses: Mapping[str, Pose],
    seen: Mapping[str, Mapping[str, Pose]],
    sizes: Mapping[str, tuple[str, float, float]],
    on_problem: OnProblem,
) -> Recording:
    """A scene on the grid; steps without a key frame are NaN."""
    times = [frame.time_s for frame in frames]
    at = steps_of(times, f"Scene `{name}`", on_problem)
    n = int(at[-1]) + 1
    frame_at = dict(zip(at.tolist(), frames, strict=True))
    instances = dict.fromkeys(i for frame in frames for i in seen.get(frame.token, {}) if i in sizes)
    agents = {
        instance: Track(
            *sizes[instance], _steps(n, {k: seen.get(f.token, {}).get(instance) for k, f in frame_at.items()})
        )
        for instance in instances
    }
    ego = _steps(n, {k: poses.get(frame.ego_pose) for k, frame in frame_at.items()})
    return Recording(
        source="nuscenes",
        log=name,
        tokens=[frame_at[k].token if k in frame_at else "" for k in range(n)],
        ego=Track("car", _LENGTH_M, _WIDTH_M, ego),
        times_s=[(frame_at[k].time_s - times[0]) if k in frame_at else math.nan for k in range(n)],
        agents=agents,
        images=[frame_at[k].images if k in frame_at else {} for k in range(n)],
    )


def _steps(n: int, known: Mapping[int, Pose | None]) -> Floats:
    poses = np.full((n, 3), np.nan)
    for k, pose in known.items():
        if pose is not None:
            poses[k] = pose
    return poses


def _pose(entry: Mapping[str, Any]) -> Pose:
    """On the ground, from a translation and a quaternion (w, x, y, z). NaN stays NaN: `samples_of` looks at it."""
    (x_m, y_m, _), (w, x, y, z) = entry["translation"], entry["rotation"]
    return Pose(float(x_m), float(y_m), math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
