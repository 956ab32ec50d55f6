"""The lanes of a simulated road as polylines, and what of them lies within sight of a vehicle.

Works on the networks of highway-env (`loopwright.tools.drive.roads`) without importing it. Points are in the project's
frame: y up.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.scene import Lane, Pose

LaneIndex = tuple[str, str, int]
"""highway-env's: from node, to node, number from the left."""
Points = NDArray[np.float64]
SIGHT_M = 120.0
"""How far, ahead, behind and to the sides, a scene reaches."""
_SPACING_M = 1.0
_LONGEST_M = 2000.0
_SMOOTH_M = 2.0
_TURN_RAD = 0.05
_APART_M = 20.0


def pose_of(thing: Any) -> Pose:
    """Where a thing of highway-env is, whose frame has y down and headings clockwise."""
    return Pose(float(thing.position[0]), -float(thing.position[1]), -float(thing.heading))


class Strip(NamedTuple):
    """Lanes that follow one another without a choice."""

    lanes: tuple[LaneIndex, ...]
    points: Points
    lengths: NDArray[np.float64]
    """(N,) how far along it each point lies."""
    is_corner: NDArray[np.bool_]
    """(N,) the points that tell its shape."""
    width_m: float

    def along(self, pose: Pose) -> float:
        """How far along it its point nearest to `pose` lies."""
        nearest = np.hypot(self.points[:, 0] - pose.x_m, self.points[:, 1] - pose.y_m).argmin()
        return float(self.lengths[nearest])

    def seen_from(self, pose: Pose, *, is_route: bool = False) -> Lane | None:
        """What of it lies within sight of `pose`, in its frame; None where nothing does."""
        ahead, left = _inner(self.points, pose)
        inside = np.flatnonzero((np.abs(ahead) < SIGHT_M) & (np.abs(left) < SIGHT_M))
        if len(inside) < 2:
            return None
        first, last = inside[0], inside[-1]
        at = [first, *(first + 1 + np.flatnonzero(self.is_corner[first + 1 : last])), last]
        kept = np.column_stack((ahead[at], left[at]))
        return Lane(centre=tuple(map(tuple, kept.round(2).tolist())), width_m=self.width_m, is_route=is_route)


class RoadMap:
    """The lanes of one network."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._routes: dict[tuple[LaneIndex, ...], Strip] = {}

    @cached_property
    def strips(self) -> tuple[Strip, ...]:
        """Every lane once, joined with what can only follow it."""
        lanes: dict[LaneIndex, Any] = self._network.lanes_dict()
        follows = {a: [b for b in lanes if b[0] == a[1] and _touch(lanes[a], lanes[b])] for a in lanes}
        leads = {b: [a for a in lanes if b in follows[a]] for b in lanes}
        alone = {a: b[0] for a, b in follows.items() if len(b) == 1 and len(leads[b[0]]) == 1}
        strips: list[Strip] = []
        left = dict.fromkeys((*(lane for lane in lanes if lane not in alone.values()), *lanes))  # rings begin anywhere
        while left:
            chain = [next(iter(left))]
            while alone.get(chain[-1]) in left and alone[chain[-1]] not in chain:
                chain.append(alone[chain[-1]])
            left = {lane: None for lane in left if lane not in chain}
            strips.append(self._strip(chain, self._joined(chain)))
        return tuple(strips)

    def strip_of(self, lane: LaneIndex) -> Strip:
        """The strip that a lane is part of."""
        return next(strip for strip in self.strips if lane in strip.lanes)

    def route(self, lanes: Sequence[LaneIndex]) -> Strip:
        """Lanes that are driven one after another, the kinks between them smoothed."""
        known = tuple(lanes)
        if known not in self._routes:
            self._routes[known] = self._strip(known, _smoothed(self._joined(known)))
        return self._routes[known]

    def _strip(self, lanes: Sequence[LaneIndex], points: Points) -> Strip:
        width = float(self._network.get_lane(lanes[0]).width_at(0))
        return Strip(tuple(lanes), points, _lengths(points), _corners(points), width)

    def _joined(self, lanes: Iterable[LaneIndex]) -> Points:
        parts = [_centre(self._network.get_lane(lane)) for lane in lanes]
        return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def _touch(first: Any, second: Any) -> bool:
    return bool(np.hypot(*(first.position(first.length, 0) - second.position(0, 0))) < 0.5)


def _centre(lane: Any) -> Points:
    """(N, 2) points of a lane's centre line, about 1 m apart."""
    length = min(float(lane.length), _LONGEST_M)
    points = np.array([lane.position(s, 0) for s in np.linspace(0, length, max(2, round(length / _SPACING_M) + 1))])
    return points * (1, -1)


def _smoothed(points: Points) -> Points:
    """The same line at equal spacing, with a Gaussian of `_SMOOTH_M` over its points; the ends stay."""
    lengths = _lengths(points)
    at = np.arange(0, lengths[-1], _SPACING_M)
    even = np.column_stack([np.interp(at, lengths, points[:, axis]) for axis in (0, 1)])
    reach = int(3 * _SMOOTH_M / _SPACING_M)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _SPACING_M / _SMOOTH_M) ** 2)
    before = even[0] - (even[1] - even[0]) * np.arange(reach, 0, -1)[:, None]
    after = even[-1] + (even[-1] - even[-2]) * np.arange(1, reach + 1)[:, None]
    longer = np.concatenate([before, even, after])
    found = np.column_stack([np.convolve(longer[:, axis], kernel / kernel.sum(), "valid") for axis in (0, 1)])
    return np.asarray(found, dtype=np.float64)


def _lengths(points: Points) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])


def _inner(points: Points, pose: Pose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    c, s = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
    dx, dy = points[:, 0] - pose.x_m, points[:, 1] - pose.y_m
    return c * dx + s * dy, c * dy - s * dx


def _corners(points: Points) -> NDArray[np.bool_]:
    """Wherever the line has turned, and at least each `_APART_M`."""
    step = np.diff(points, axis=0)
    yaw = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    is_corner, last = np.zeros(len(points), dtype=bool), 0
    for i in range(1, len(yaw)):
        is_corner[i] = abs(yaw[i] - yaw[last]) > _TURN_RAD or i - last >= _APART_M / _SPACING_M
        last = i if is_corner[i] else last
    return is_corner
