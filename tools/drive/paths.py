"""Lanes as paths that the ego can drive along: the one that it is in, and those beside it. Knows no traffic."""

from math import cos, sin
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.scene import Lane, Scene

Side = Literal["keep", "left", "right"]
_SPACING_M = 1.0
_ALIGNED_RAD = 1.0
_PARALLEL_M = 1.0
_PARALLEL_FOR_M = 30.0
_BEND_PER_M = 0.02
"""Where a path bends more than this, lanes are not changed."""
_RUN_ON_S = 4.5
_BEND_OVER_M = 3.0
_LEAST_RUN_ON_M = 20.0


class Path(NamedTuple):
    """A line in the ego frame, and where along it the ego is."""

    points: NDArray[np.float64]
    """(N, 2), about 1 m apart, from behind the ego to as far as the lane is known."""
    lengths: NDArray[np.float64]
    """(N,) how far along the line each point lies."""
    width_m: float
    along_m: float
    """Of the point nearest to the ego."""
    aside_m: float
    """Of the ego, to the left of the line."""
    yaw_rad: float
    """Of the line at the ego."""

    @property
    def curvature(self) -> NDArray[np.float64]:
        """(N,) how sharply it bends to the left at each point, 1/m, over 6 m."""
        step = np.diff(self.points, axis=0)
        yaws = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        middles = (self.lengths[1:] + self.lengths[:-1]) / 2
        before, after = self.lengths - _BEND_OVER_M, self.lengths + _BEND_OVER_M
        turned = np.interp(after, middles, yaws) - np.interp(before, middles, yaws)
        return turned / (2 * _BEND_OVER_M)

    def speeds(self, lateral_mps2: float, braking_mps2: float) -> NDArray[np.float64]:
        """(N,) the most that bends allow at each point: this much to the side in them, and this much braking before."""
        squares = lateral_mps2 / np.maximum(np.abs(self.curvature), 1e-6)
        slopes = 2 * braking_mps2 * self.lengths
        later = np.minimum.accumulate((squares + slopes)[::-1])[::-1]
        return np.sqrt(np.minimum(squares, later - slopes))

    @property
    def ahead_m(self) -> float:
        """How far the lane runs on before the ego."""
        return float(self.lengths[-1]) - self.along_m

    def at(self, along_m: NDArray[np.float64], aside_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 3) x, y and yaw of points at distances along and to the left of it; beyond its ends straight on."""
        i = np.clip(np.searchsorted(self.lengths, along_m, side="right") - 1, 0, len(self.points) - 2)
        step = (self.points[i + 1] - self.points[i]) / (self.lengths[i + 1] - self.lengths[i])[..., None]
        on = self.points[i] + step * (along_m - self.lengths[i])[..., None]
        normal = np.stack([-step[..., 1], step[..., 0]], axis=-1)
        return np.concatenate(
            [on + normal * aside_m[..., None], np.arctan2(step[..., 1], step[..., 0])[..., None]], axis=-1
        )


class Paths(NamedTuple):
    """What the ego can drive along."""

    by_side: dict[Side, Path]
    """"keep" is always there."""
    route: Side
    """The side on which the route lies."""


def path_of(lane: Lane) -> Path | None:
    """A lane as a path; None where the ego is not beside it or heads elsewhere."""
    corners = np.asarray(lane.centre, dtype=np.float64)
    corners = corners[np.concatenate([[True], np.hypot(*np.diff(corners, axis=0).T) > 1e-6])]
    if len(corners) < 2:
        return None
    known = np.concatenate([[0.0], np.hypot(*np.diff(corners, axis=0).T).cumsum()])
    lengths = np.linspace(0.0, known[-1], max(2, round(known[-1] / _SPACING_M) + 1))
    points = np.column_stack([np.interp(lengths, known, corners[:, axis]) for axis in (0, 1)])
    step = np.diff(points, axis=0)
    spans = np.hypot(*step.T)
    on = np.clip(-(points[:-1] * step).sum(1) / spans**2, 0.0, 1.0)
    nearest = points[:-1] + on[:, None] * step
    yaws = np.arctan2(step[:, 1], step[:, 0])
    away = np.hypot(*nearest.T) + np.where(np.abs(yaws) < _ALIGNED_RAD, 0.0, 1e6)
    i = int(away.argmin())
    if away[i] > 2 * lane.width_m:
        return None
    ux, uy = step[i] / spans[i]
    aside = float(ux * -nearest[i, 1] - uy * -nearest[i, 0])
    along = float(lengths[i] + on[i] * spans[i])
    return Path(points, lengths, lane.width_m, along, aside, float(yaws[i]))


def paths_of(scene: Scene) -> Paths:
    """The path that the ego is in, those beside it that run along it, and where the route is.

    Where nothing is known of lanes the ego goes straight on.
    """
    found = [(lane.is_route, path) for lane in scene.lanes if (path := path_of(lane)) is not None]
    if not found:
        straight = Lane(centre=((-20.0, 0.0), (100.0, 0.0)))
        return Paths({"keep": path_of(straight)}, "keep")  # type: ignore[dict-item]  # the ego is on it
    is_route, keep = min(found, key=lambda one: max(0.0, abs(one[1].aside_m) / one[1].width_m - 0.5) - 0.25 * one[0])
    by_side: dict[Side, Path] = {"keep": keep}
    route: Side = "keep"
    for on_route, path in found:
        side = _side_of(path, keep, scene.speed_mps)
        if side is not None:
            by_side.setdefault(side, path)
            route = side if on_route and not is_route else route
    return Paths(by_side, route)


def _side_of(path: Path, keep: Path, speed_mps: float) -> Side | None:
    """The side on which `path` runs along `keep`; None where it does not, or ends too soon to change to it."""
    if path.ahead_m < max(_LEAST_RUN_ON_M, min(speed_mps * _RUN_ON_S, keep.ahead_m - 1.0)):
        return None
    near = (keep.lengths > keep.along_m) & (keep.lengths < keep.along_m + _PARALLEL_FOR_M)
    if (np.abs(keep.curvature[near]) > _BEND_PER_M).any():
        return None
    offsets = [_aside_at(path, keep, ahead) for ahead in (0.0, _PARALLEL_FOR_M / 2, _PARALLEL_FOR_M)]
    lane = (path.width_m + keep.width_m) / 2
    if max(offsets) - min(offsets) > _PARALLEL_M or not 0.6 * lane < abs(offsets[0]) < 1.4 * lane:
        return None
    return "left" if offsets[0] > 0 else "right"


def _aside_at(path: Path, keep: Path, ahead_m: float) -> float:
    """How far to the left of `keep` the nearest point of `path` lies, `ahead_m` before the ego."""
    x, y, yaw = keep.at(np.array(keep.along_m + ahead_m), np.array(0.0))
    dx, dy = path.points[:, 0] - x, path.points[:, 1] - y
    i = int(np.hypot(dx, dy).argmin())
    return float(cos(yaw) * dy[i] - sin(yaw) * dx[i])
