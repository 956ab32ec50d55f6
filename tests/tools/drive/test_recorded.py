"""Recorded drives of every format become samples; what is missing or damaged is said, and left out where asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tools.drive import recordings
from tests.tools.drive.recordings import Entry, expected_future, planning_row

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.drive.recorded.argoverse2 import read_argoverse2
from loopwright.tools.drive.recorded.nuscenes import read_nuscenes
from loopwright.tools.drive.recorded.read import read_samples
from loopwright.tools.drive.recorded.recording import command_of
from loopwright.tools.drive.scene import Sample


def write_nuscenes(folder: Path) -> Path:
    return recordings.nuscenes(folder)


def write_comma(folder: Path) -> Path:
    recordings.comma2k19(folder)
    return folder


def write_comma_npz(folder: Path) -> Path:
    arrays = recordings.comma2k19(folder)
    return recordings.packed(folder / "segment.npz", arrays)


def write_traffic(folder: Path) -> Path:
    folder.mkdir()
    return recordings.traffic(folder / "scenario.json.gz")


WRITERS: list[Callable[[Path], Path]] = [
    write_nuscenes,
    write_comma,
    write_comma_npz,
    write_traffic,
    recordings.argoverse2,
]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_drive(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """However a log writes poses down, in the ego frame the drive is the same circle at 10 m/s."""
    if write is recordings.argoverse2:
        pytest.importorskip("pyarrow")
    samples = list(read_samples(write(tmp_path / "set")))
    first = samples[0]
    assert first.scene.time_s == pytest.approx(2.0)
    assert np.array(first.future) == pytest.approx(np.array(expected_future()), abs=0.02)
    back = np.array(expected_future())[3::-1] * (-1, 1)
    assert np.array(first.scene.history) == pytest.approx(np.array([*back, (0, 0)]), abs=0.02)
    assert first.scene.speed_mps == pytest.approx(10, abs=0.02)
    assert first.scene.acceleration_mps2 == pytest.approx(0, abs=0.02)
    assert len({(sample.log, sample.scene.token) for sample in samples}) == len(samples)
    assert samples[-1].future[1:] == (None,) * 5  # to the end of the log


@pytest.mark.parametrize("write", [write_nuscenes, write_traffic, recordings.argoverse2])
def test_agents_are_seen_from_the_ego_with_their_futures(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    if write is recordings.argoverse2:
        pytest.importorskip("pyarrow")
    sample = next(iter(read_samples(write(tmp_path / "set"))))
    (agent,) = sample.scene.agents
    assert (agent.box.x_m, agent.box.y_m) == pytest.approx((15.0, 0.22), abs=0.02)
    assert agent.box.yaw_rad == pytest.approx(0.03, abs=1e-3)
    assert agent.vx_mps == pytest.approx(10, abs=0.02)
    futures = sample.agent_futures[agent.id]
    assert futures[0] is not None
    assert futures[0].x_m == pytest.approx(20, abs=0.05)
    if write is recordings.argoverse2:  # seen to 6 s only
        late = next(s for s in read_samples(tmp_path / "set") if s.scene.time_s == pytest.approx(5))
        assert [box is None for box in late.agent_futures["17"]] == [False, False, True, True, True, True]


def test_lanes_are_between_their_boundaries(tmp_path: Path) -> None:
    sample = next(iter(read_samples(write_traffic(tmp_path / "set"))))
    (lane,) = sample.scene.lanes
    assert lane.width_m == 4 and len(lane.centre) == 2
    pytest.importorskip("pyarrow")
    argoverse = next(read_argoverse2(recordings.argoverse2(tmp_path / "av2")))
    assert argoverse.scene.lanes[0].width_m == pytest.approx(3.5)


@pytest.mark.parametrize(("side_m", "command"), [(2.5, "left"), (-2.0, "right"), (1.9, "straight")])
def test_the_command_is_read_off_the_last_known_point(side_m: float, command: str) -> None:
    assert command_of([(5.0, 0.0), (30.0, side_m), None]) == command


def test_a_missing_picture_is_said_or_left_out(tmp_path: Path) -> None:
    root = recordings.nuscenes(tmp_path, channels=("CAM_FRONT", "CAM_BACK"))
    (root / "samples" / "CAM_BACK" / "6.jpg").unlink()
    with pytest.raises(BadInput, match=r"`scene-0001`, moment 's6': no picture of camera B; expected F, B"):
        list(read_nuscenes(root, cameras=("F", "B")))
    problems: list[str] = []
    kept = list(read_nuscenes(root, cameras=("F", "B"), on_problem=problems.append))
    assert len(problems) == 1
    assert [sample.scene.token for sample in kept] == ["s4", "s5", "s7", "s8", "s9", "s10", "s11", "s12"]
    assert Path(kept[0].images["B"]).name == "4.jpg"
    assert len(list(read_nuscenes(root))) == 9  # pictures do not matter unless they are asked for


def nan_pose(tables: dict[str, list[Entry]]) -> None:
    tables["ego_pose"][6]["translation"][0] = float("nan")


def gap(tables: dict[str, list[Entry]]) -> None:
    for sample in tables["sample"][6:]:
        sample["timestamp"] += 1_200_000


@pytest.mark.parametrize(
    ("change", "said", "kept"),
    [
        (nan_pose, r"5 moments have no pose .* \(NaN, or a gap in time\)", ["s4", "s5", "s11", "s12"]),
        (gap, r"1 gaps in time, the first of 1.70 s after key frame 5", ["s4", "s10", "s11", "s12"]),
    ],
)
def test_moments_without_poses_are_said_or_left_out(
    tmp_path: Path, change: recordings.Change, said: str, kept: list[str]
) -> None:
    root = recordings.nuscenes(tmp_path, change=change)
    with pytest.raises(BadInput, match=said):
        list(read_nuscenes(root))
    problems: list[str] = []
    samples = list(read_nuscenes(root, on_problem=problems.append))
    assert any(problems) and [sample.scene.token for sample in samples] == kept
    if change is nan_pose:
        assert [point is None for point in samples[0].future] == [False, True, False, False, False, False]


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        arrays = recordings.comma2k19(folder)
        change(arrays)
        return recordings.packed(folder / "segment.npz", arrays)

    return write


def nan_positions(arrays: dict[str, Any]) -> None:
    arrays["frame_positions"][60:90] = np.nan


def slow(arrays: dict[str, Any]) -> None:
    for name in arrays:
        arrays[name] = arrays[name][::20]


def cut(arrays: dict[str, Any]) -> None:
    arrays["frame_velocities"] = arrays["frame_velocities"][:-3]


def reversed_times(arrays: dict[str, Any]) -> None:
    arrays["frame_times"] = arrays["frame_times"][::-1]


def without_positions(arrays: dict[str, Any]) -> None:
    del arrays["frame_positions"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nan_positions, "30 of 160 poses are not finite, the first at row 60"),
        (slow, "recorded at 1 Hz; expected 2 Hz or more"),
        (cut, r"`frame_velocities` has shape \(157, 3\); expected 3 numbers for each of 160 times"),
        (reversed_times, "times do not grow"),
    ],
)
def test_a_damaged_log_says_what_is_wrong(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        list(read_samples(damaged(change)(tmp_path / "set")))


def test_a_short_hole_in_a_fast_log_is_bridged_and_a_long_one_left_out(tmp_path: Path) -> None:
    problems: list[str] = []
    path = damaged(nan_positions)(tmp_path / "set")  # 1.5 s of 8 s
    samples = list(read_samples(path, on_problem=problems.append))
    assert [sample.scene.time_s for sample in samples] == pytest.approx([2.0, 2.5, 6.5, 7.0])
    assert [point is None for point in samples[0].future] == [False, True, True, True, False, False]
    assert len(problems) == 3 and "gaps in time, the first of 1.55 s" in problems[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"history_2s": [[0, 0]] * 4}, r"row 2: `history_2s` has 4 points; expected 5, 0.5 s apart"),
        ({"history_2s": [[float("nan"), 0]] * 5}, r"row 2: `history_2s` has the point \[nan, 0\]"),
        ({"speed_mps": None}, r"row 2: `speed_mps`: Input should be a valid number"),
        ({"command": "back"}, r"row 2: `command`: Input should be 'straight'"),
    ],
)
def test_a_wrong_planning_row_is_said_or_left_out(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = tmp_path / "planning.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (planning_row(), planning_row(**changed))))
    with pytest.raises(BadInput, match=said):
        list(read_samples(path))
    problems: list[str] = []
    (sample,) = read_samples(path, on_problem=problems.append)
    assert len(problems) == 1
    assert (sample.scene.token, sample.scene.command) == ("log1/frame40", "straight")
    assert sample.agent_futures["7"][0] is not None and sample.agent_futures["7"][1] is None


def test_what_is_no_recorded_drive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no recorded drive\. Expected nuScenes' folder"):
        list(read_samples(tmp_path))
    (tmp_path / "v1.0-mini").mkdir()
    (tmp_path / "v1.0-test").mkdir()
    with pytest.raises(UnknownName, match=r"Known: v1\.0-mini, v1\.0-test"):
        list(read_samples(tmp_path))
    with pytest.raises(BadInput, match=r"sensor.json` is not there"):
        list(read_nuscenes(tmp_path, "v1.0-mini"))


def test_real_logs_agree_with_the_samples_cut_from_them(real_data: Path) -> None:
    folder = real_data / "driving" / "comma2k19_mit"
    if not folder.is_dir():
        pytest.skip(f"`{folder}` is not there")
    cut = list(read_samples(folder / "planning_comma.jsonl.gz"))
    raw = list(read_samples(folder / "example1_segment40.npz"))
    apart = [_apart(a, b) for a, b in zip(cut, raw, strict=False) if None not in b.future]
    assert len(apart) == 110
    assert np.abs(apart).max() < 0.3 and np.median(np.abs(apart)) < 0.02


def _apart(one: Sample, other: Sample) -> np.ndarray[Any, Any]:
    apart: np.ndarray[Any, Any] = np.array(one.future, dtype=float) - np.array(other.future, dtype=float)
    return apart
