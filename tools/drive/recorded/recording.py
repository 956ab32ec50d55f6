"""A recorded drive on the grid of steps, and the samples that it is cut into. Knows no file.

What is wrong is said with the log, the value, what was expected and the repair. By default the first problem is an
error; with `on_problem` it is handed over, and the samples that need what is missing are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.errors import BadInput
from loopwright.tools.drive.scene import (
    FUTURE_STEPS,
    HISTORY_STEPS,
    STEP_S,
    Agent,
    Box,
    Camera,
    Command,
    Lane,
    Point,
    Pose,
    Sample,
    Scene,
)

Floats = NDArray[np.float64]
OnProblem = Callable[[str], None]
RADIUS_M = 80.0
"""Agents and lanes farther from the ego are left out."""
TURN_M = 2.0
"""The command is a turn where the ego ends this far to a side, as UniAD and VAD have it."""
_SLOWEST_S = 0.55
_JITTER_S = 0.15


def raise_problem(problem: str) -> None:
    """What a loader does with a problem, unless it is told otherwise.

    Raises:
        BadInput: always.
    """
    raise BadInput(problem)


class Track(NamedTuple):
    """A road user: `poses` (n, 3) is x, y (m) and yaw (rad) in the log's frame by step, NaN where it is not seen."""

    kind: str
    length_m: float
    width_m: float
    poses: Floats


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A drive at n steps of `STEP_S`.

    Attributes:
        source: data set.
        log: names the drive.
        tokens: (n) names of the moments, unique within the source.
        ego: the ego vehicle's track.
        speeds_mps: (n,) where the log has them; else from the poses.
        times_s: (n,) since the log began.
        agents: all others by id.
        lanes: in the log's frame.
        images: (n) paths by camera; empty where there are none.
        commands: (n) where the log has them; else from where the ego goes (`command_of`).
    """

    source: str
    log: str
    tokens: Sequence[str]
    ego: Track
    times_s: ArrayLike
    speeds_mps: ArrayLike | None = None
    agents: Mapping[str, Track] = field(default_factory=dict)
    lanes: Sequence[Lane] = ()
    images: Sequence[Mapping[Camera, str]] = ()
    commands: Sequence[Command] = ()


def samples_of(
    recording: Recording, *, cameras: Sequence[Camera] = (), on_problem: OnProblem = raise_problem
) -> Iterator[Sample]:
    """A sample for each moment with a whole history, a pose after it, and a picture of each of `cameras`.

    Raises:
        BadInput: something is missing and `on_problem` raises.
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(recording.ego.poses).all(axis=1))
    speeds = _speeds(recording)
    n_without_past = 0
    for i in range(HISTORY_STEPS, len(known) - 1):
        if not known[i + 1 : i + 1 + FUTURE_STEPS].any():
            continue
        if not known[i - HISTORY_STEPS : i + 1].all():
            n_without_past += 1
            continue
        images = recording.images[i] if recording.images else {}
        if missing := [camera for camera in cameras if camera not in images]:
            on_problem(
                f"`{recording.log}`, moment {recording.tokens[i]!r}: no picture of camera {', '.join(missing)}; "
                f"expected {', '.join(cameras)}. Fetch the missing files, or ask for fewer cameras."
            )
            continue
        yield _sample(recording, i, speeds)
    if n_without_past:
        on_problem(
            f"`{recording.log}`: {n_without_past} moments have no pose at one of the {HISTORY_STEPS + 1} steps up to "
            "them (NaN, or a gap in time) and are left out. Repair the log, or do without them."
        )


def command_of(future: Sequence[Point | None]) -> Command:
    """The route's command, read off where the ego then went: what data sets without a route are given.

    It looks at the truth, so a model that is told it knows a little of what it is to predict.
    """
    side = next((point[1] for point in reversed(future) if point is not None), 0.0)
    return "left" if side >= TURN_M else "right" if side <= -TURN_M else "straight"


def on_grid(
    times_s: ArrayLike, poses: ArrayLike, grid_s: ArrayLike, where: str, on_problem: OnProblem = raise_problem
) -> Floats:
    """Poses (m, 3) of any rate of 2 Hz or more, at the times `grid_s` (n,): (n, 3), NaN where there is none nearby.

    Raises:
        BadInput: times do not grow or are slower than 2 Hz; a NaN or a gap in time, and `on_problem` raises.
    """
    times, rows = np.asarray(times_s, dtype=np.float64), np.asarray(poses, dtype=np.float64)
    whole = np.isfinite(rows).all(axis=1) & np.isfinite(times)
    if not whole.all():
        first = int(np.flatnonzero(~whole)[0])
        on_problem(
            f"{where}: {np.count_nonzero(~whole)} of {len(rows)} poses are not finite, the first at row {first} "
            f"({rows[first].tolist()}). Expected x, y and yaw as numbers; repair the log, or do without these moments."
        )
        times, rows = times[whole], rows[whole]
    steps = np.diff(times)
    if len(times) < 2 or (steps <= 0).any():
        raise BadInput(f"{where}: times do not grow ({len(times)} of them are whole). Sort the log by time.")
    if np.median(steps) > _SLOWEST_S:
        raise BadInput(f"{where}: recorded at {1 / np.median(steps):.2g} Hz; expected 2 Hz or more. Use a faster log.")
    if (gaps := steps > _SLOWEST_S).any():
        at = int(np.flatnonzero(gaps)[0])
        on_problem(
            f"{where}: {np.count_nonzero(gaps)} gaps in time, the first of {steps[at]:.2f} s after {times[at]:.2f} s. "
            f"Expected a pose every {STEP_S:g} s or sooner; moments that need it are left out."
        )
    return _interpolated(times, rows, np.asarray(grid_s, dtype=np.float64))


def grid_of(times_s: ArrayLike) -> Floats:
    """Every `STEP_S` from the first finite time to the last."""
    times = np.asarray(times_s, dtype=np.float64)
    first, last = np.nanmin(times), np.nanmax(times)
    grid: Floats = first + STEP_S * np.arange(int((last - first) / STEP_S + 1e-6) + 1)
    return grid


def steps_of(times_s: ArrayLike, where: str, on_problem: OnProblem = raise_problem) -> NDArray[np.intp]:
    """Which step each key frame of a log of about 2 Hz is: key frames are taken as they are, as papers do.

    Raises:
        BadInput: times do not grow; a gap in time, and `on_problem` raises.
    """
    steps = np.diff(np.asarray(times_s, dtype=np.float64))
    if (steps <= 0).any():
        raise BadInput(f"{where}: times do not grow. Sort the key frames by time.")
    apart = np.maximum(1, np.rint(steps / STEP_S)).astype(np.intp)
    off = np.abs(steps - apart * STEP_S) > _JITTER_S
    apart[off] = FUTURE_STEPS + 1  # no history and no future reaches across
    if (apart > 1).any():
        at = int(np.flatnonzero(apart > 1)[0])
        on_problem(
            f"{where}: {np.count_nonzero(apart > 1)} gaps in time, the first of {steps[at]:.2f} s after key frame "
            f"{at}. Expected one every {STEP_S:g} s; moments that need it are left out."
        )
    return np.concatenate([np.zeros(1, np.intp), np.cumsum(apart)])


def _interpolated(times: Floats, rows: Floats, grid: Floats) -> Floats:
    rows = rows.copy()
    rows[:, 2] = np.unwrap(rows[:, 2])
    found = np.column_stack([np.interp(grid, times, column) for column in rows.T])
    after = np.clip(np.searchsorted(times, grid - 1e-6), 0, len(times) - 1)
    before = np.clip(np.searchsorted(times, grid + 1e-6, side="right") - 1, 0, len(times) - 1)
    outside = (grid < times[0] - 1e-6) | (grid > times[-1] + 1e-6)
    found[outside | (times[after] - times[before] > _SLOWEST_S)] = np.nan
    return found


def _speeds(recording: Recording) -> Floats:
    """(n,) the ego's, m/s; by default from one step to the next, NaN where that is not known."""
    if recording.speeds_mps is not None:
        return np.asarray(recording.speeds_mps, dtype=np.float64)
    moved = np.linalg.norm(np.diff(recording.ego.poses[:, :2], axis=0), axis=1) / STEP_S
    return np.concatenate([moved[:1], moved])


def _sample(recording: Recording, i: int, speeds: Floats) -> Sample:
    here = Pose(*map(float, recording.ego.poses[i]))
    future = tuple(_point(here, recording.ego.poses, i + k) for k in range(1, FUTURE_STEPS + 1))
    agents, boxes = _agents(recording.agents, here, i)
    scene = Scene(
        source=recording.source,
        token=recording.tokens[i],
        time_s=float(np.asarray(recording.times_s)[i]),
        speed_mps=float(speeds[i]),
        acceleration_mps2=float(speeds[i] - speeds[i - 1]) / STEP_S,
        history=tuple(here.to_inner(*map(float, recording.ego.poses[k, :2])) for k in range(i - HISTORY_STEPS, i + 1)),
        command=recording.commands[i] if recording.commands else command_of(future),
        length_m=recording.ego.length_m,
        width_m=recording.ego.width_m,
        agents=agents,
        lanes=tuple(_near(lane.seen_from(here) for lane in recording.lanes)),
    )
    images = dict(recording.images[i]) if recording.images else {}
    return Sample(scene=scene, future=future, agent_futures=boxes, log=recording.log, images=images)


def _agents(
    tracks: Mapping[str, Track], here: Pose, i: int
) -> tuple[tuple[Agent, ...], dict[str, tuple[Box | None, ...]]]:
    """Who is near the ego at step `i`, and where each is then seen."""
    agents, futures = [], {}
    for name, track in tracks.items():
        box = _box(track, here, i)
        if box is None or np.hypot(box.x_m, box.y_m) > RADIUS_M:
            continue
        vx, vy = _velocity(track, here, i)
        agents.append(Agent(id=name, kind=track.kind, box=box, vx_mps=vx, vy_mps=vy))
        futures[name] = tuple(_box(track, here, i + k) for k in range(1, FUTURE_STEPS + 1))
    return tuple(agents), futures


def _velocity(track: Track, here: Pose, i: int) -> tuple[float, float]:
    """From the step before, so that nothing of the future is in it; 0 where it was not seen then."""
    moved = (track.poses[i, :2] - track.poses[i - 1, :2]) / STEP_S
    return Pose(yaw_rad=here.yaw_rad).to_inner(*map(float, moved)) if np.isfinite(moved).all() else (0.0, 0.0)


def _box(track: Track, here: Pose, k: int) -> Box | None:
    if k >= len(track.poses) or not np.isfinite(track.poses[k]).all():
        return None
    x, y, yaw = map(float, track.poses[k])
    x_m, y_m = here.to_inner(x, y)
    turned = float(np.angle(np.exp(1j * (yaw - here.yaw_rad))))
    return Box(x_m=x_m, y_m=y_m, yaw_rad=turned, length_m=track.length_m, width_m=track.width_m)


def _point(here: Pose, poses: Floats, k: int) -> Point | None:
    if k >= len(poses) or not np.isfinite(poses[k]).all():
        return None
    return here.to_inner(*map(float, poses[k, :2]))


def _near(lanes: Iterator[Lane]) -> Iterator[Lane]:
    """The stretch of each lane that is near the ego, where two points or more are."""
    for lane in lanes:
        kept = [k for k, point in enumerate(lane.centre) if np.hypot(*point) <= RADIUS_M]
        if len(kept) > 1:
            yield lane.model_copy(update={"centre": lane.centre[kept[0] : kept[-1] + 1]})
