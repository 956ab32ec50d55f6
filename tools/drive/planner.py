"""Proposes what the ego might do for the next 3 s, rates each by what is then around it, and chooses.

A candidate keeps the lane or changes it, at one of several accelerations; one of them is what the Intelligent Driver
Model (IDM) asks for. Whatever is known of the future comes in as `Future`: the planner does not know who foresaw it.
"""

from collections.abc import Iterator, Sequence
from math import inf, isfinite, sin, sqrt, tan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.drive.futures import HORIZONS_S, Foresee, Future
from loopwright.tools.drive.paths import Path, Side, paths_of
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Box, Point, Scene

ACCELERATIONS_MPS2 = (2.0, 1.0, 0.0, -1.0, -2.0, -4.0, -7.0)
CHANGE_S = 3.0
"""What a change to the next lane takes."""
_ACROSS_MPS, _ASIDE_M = 0.4, 0.3
"""A lane change is under way where the ego moves faster and is further aside than this."""
_LEAST_CHANGE_M = 12.0
_TICKS = 5
_TICK_S = STEP_S / _TICKS
SIGHT_M = 40.0
"""How far along the path a frame is searched for the next vehicle."""


class Style(NamedTuple):
    """How the ego drives, and what it weighs against what. A cost of 1 is 1 m/s of mean speed."""

    cruise_mps: float = 28.0
    headway_s: float = 0.8
    standstill_m: float = 3.0
    time_to_collision_s: float = 3.0
    lateral_mps2: float = 3.5
    bend_braking_mps2: float = 2.5
    longer_m: float = 1.0
    wider_m: float = 0.35
    headway: float = 20.0
    closing: float = 30.0
    crowding: float = 10.0
    collision: float = 1000.0
    impact: float = 20.0
    comfort: float = 0.08
    change: float = 1.0
    turn_back: float = 6.0
    off_route: float = 1.0


STYLE = Style()


class Candidate(NamedTuple):
    """What the ego might do, and what that costs whoever else is there."""

    side: Side
    acceleration_mps2: float
    waypoints: tuple[Point, ...]
    states: NDArray[np.float64]
    """(6, 4): along its path, aside of it, speed, heading, at each horizon."""
    path: Path
    cost: float


class Rated(NamedTuple):
    """A candidate, beside what is around it at each horizon."""

    candidate: Candidate
    cost: float
    hit_s: float | None = None
    """When it first runs into somebody."""
    gap_m: tuple[float, ...] = ()
    """To the next vehicle on its path, at each horizon up to the hit; inf: none within sight."""


def propose(scene: Scene, style: Style = STYLE) -> tuple[Candidate, ...]:
    """What the ego might do, the best first as far as nobody is in its way."""
    paths = paths_of(scene)
    towards = _under_way(scene, paths.by_side)
    found = []
    for side, path in paths.by_side.items():
        idm = _idm(scene, path, style)
        accelerations = sorted({*ACCELERATIONS_MPS2, idm}, reverse=True)
        rolled = _roll(scene, path, accelerations, style)
        for acceleration, (states, waypoints) in zip(accelerations, rolled, strict=True):
            speeds = states[:, 2]
            cost = style.cruise_mps - float(speeds.mean())
            change = acceleration - scene.acceleration_mps2
            cost += style.comfort * (acceleration**2 + 0.25 * change**2)
            cost += style.change * (side != "keep") + style.turn_back * (towards not in (None, side))
            cost += style.off_route * (side != paths.route != "keep")
            found.append(Candidate(side, acceleration, waypoints, states, path, cost))
    return tuple(sorted(found, key=lambda one: one.cost))


def rate(scene: Scene, candidate: Candidate, futures: Sequence[Future], style: Style = STYLE) -> Rated:
    """What a candidate costs, given the futures that follow from it."""
    gaps: list[float] = []
    cost, before, since_s = candidate.cost, inf, 0.0
    for future in futures:
        k = round(future.horizon_s / STEP_S) - 1
        (x, y), (_, _, speed, yaw) = candidate.waypoints[k], candidate.states[k]
        box = Box(x_m=x, y_m=y, yaw_rad=float(yaw), length_m=scene.length_m, width_m=scene.width_m)
        if future.covers(box, style.longer_m, style.wider_m):
            cost += style.collision * (1.0 - 0.1 * k) + style.impact * float(speed)
            return Rated(candidate, cost, future.horizon_s, tuple(gaps))
        gap = gap_on(future, candidate, k, scene, style.wider_m)
        wanted = style.standstill_m + style.headway_s * speed
        cost += style.headway * max(0.0, 1.0 - gap / wanted) / len(HORIZONS_S)
        cost += style.crowding * max(0.0, 1.0 - gap / style.standstill_m)
        closing = (before - gap) / (future.horizon_s - since_s) if isfinite(before) and isfinite(gap) else 0.0
        if closing > 0:
            cost += style.closing * max(0.0, 1.0 - gap / closing / style.time_to_collision_s) / len(HORIZONS_S)
        gaps.append(gap)
        before, since_s = gap, future.horizon_s
    return Rated(candidate, cost, None, tuple(gaps))


def choose(scene: Scene, foresee: Foresee, style: Style = STYLE, most: int = 100) -> Rated:
    """The candidate of least cost. Asks for no more futures than it takes to know."""
    best: Rated | None = None
    for candidate in propose(scene, style)[:most]:
        if best is not None and candidate.cost >= best.cost:
            break
        rated = rate(scene, candidate, foresee(candidate.waypoints), style)
        if best is None or rated.cost < best.cost:
            best = rated
    assert best is not None
    return best


def gap_on(future: Future, candidate: Candidate, k: int, scene: Scene, wider_m: float) -> float:
    """How far before the ego, on its way from horizon `k` on, the first occupied cell is; inf: none in sight."""
    path, states = candidate.path, candidate.states
    ahead = states[k, 0] + scene.length_m / 2 + np.arange(0.0, SIGHT_M, 0.5)
    aside = np.interp(ahead, states[k:, 0], states[k:, 1])
    half = scene.width_m / 2 + wider_m
    across = np.linspace(-half, half, 5)
    points = path.at(ahead[:, None] + 0 * across, aside[:, None] + across)
    hit = future.at(points[..., :2]).any(axis=1)
    return float(0.5 * hit.argmax()) if hit.any() else inf


class _Rolled(NamedTuple):
    states: NDArray[np.float64]
    waypoints: tuple[Point, ...]


def _roll(scene: Scene, path: Path, accelerations: Sequence[float], style: Style) -> Iterator[_Rolled]:
    """States and waypoints along `path`, for each acceleration, between standing and what cruise and bends allow.

    Across the path the ego moves on a quintic of the distance, to the path's middle.
    """
    now, wanted = scene.speed_mps, np.asarray(accelerations)
    takes_m = max(_LEAST_CHANGE_M, now * CHANGE_S * min(1.0, max(0.5, abs(path.aside_m) / path.width_m)))
    most, bends = path.speeds(style.lateral_mps2, style.bend_braking_mps2), path.curvature
    n = FUTURE_STEPS * _TICKS + 1
    along, speed = np.full((n, len(wanted)), path.along_m), np.full((n, len(wanted)), now)
    for i in range(1, n):
        at = along[i - 1]
        limit = np.minimum(style.cruise_mps, np.interp(at, path.lengths, most))
        free = speed[i - 1] + wanted * _TICK_S
        eased = np.minimum(free, speed[i - 1] - style.bend_braking_mps2 * _TICK_S)
        speed[i] = np.maximum(0.0, np.maximum(np.minimum(free, limit), eased))
        aside, _ = _across(path, takes_m, at)
        inside = np.clip(1.0 - np.interp(at, path.lengths, bends) * aside, 0.5, 2.0)
        along[i] = at + (speed[i] + speed[i - 1]) / 2 * _TICK_S / inside
    ticks = slice(_TICKS, None, _TICKS)
    along, speed = along[ticks], speed[ticks]
    aside, slope = _across(path, takes_m, along)
    placed = path.at(along, aside)
    yaws = placed[..., 2] + np.arctan(slope)
    for k in range(len(wanted)):
        states = np.stack([along[:, k], aside[:, k], speed[:, k], yaws[:, k]], axis=1)
        yield _Rolled(states, tuple((round(float(x), 3), round(float(y), 3)) for x, y, _ in placed[:, k]))


def _across(path: Path, takes_m: float, along: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far aside of the path the ego is, and at what slope: a quintic from now to rest within `takes_m`."""
    u = np.clip((along - path.along_m) / takes_m, 0.0, 1.0)
    begin, slope = path.aside_m, float(np.clip(tan(-path.yaw_rad), -1.0, 1.0)) * takes_m
    aside = begin * (1 - 10 * u**3 + 15 * u**4 - 6 * u**5) + slope * (u - 6 * u**3 + 8 * u**4 - 3 * u**5)
    rising = begin * (-30 * u**2 + 60 * u**3 - 30 * u**4) + slope * (1 - 18 * u**2 + 32 * u**3 - 15 * u**4)
    return aside, rising / takes_m


def _under_way(scene: Scene, by_side: dict[Side, Path]) -> Side | None:
    """The side to which a lane change is under way, by how the ego moves across its lane; None: none is."""
    keep = by_side["keep"]
    across = scene.speed_mps * sin(-keep.yaw_rad)
    if abs(across) < _ACROSS_MPS:
        return None
    side: Side = "left" if across > 0 else "right"
    return side if across * keep.aside_m > 0 and abs(keep.aside_m) > _ASIDE_M and side in by_side else "keep"


def _idm(scene: Scene, path: Path, style: Style) -> float:
    """The acceleration that IDM asks for behind the next vehicle on `path`."""
    gap, closing = _leader(scene, path)
    v, a, b = scene.speed_mps, 2.0, 3.0
    wanted = style.standstill_m + max(0.0, v * (style.headway_s + 0.3) + v * closing / (2 * sqrt(a * b)))
    asked = a * (1 - (v / max(style.cruise_mps, 1.0)) ** 4 - (wanted / max(gap, 0.5)) ** 2)
    return round(float(np.clip(asked, -7.0, 2.0)), 2)


def _leader(scene: Scene, path: Path) -> tuple[float, float]:
    """How far the next vehicle on `path` is, and how fast the ego closes in on it."""
    best = (inf, 0.0)
    for agent in scene.agents:
        dx, dy = path.points[:, 0] - agent.box.x_m, path.points[:, 1] - agent.box.y_m
        i = int(np.hypot(dx, dy).argmin())
        if np.hypot(dx[i], dy[i]) > 1.8 or path.lengths[i] <= path.along_m:
            continue
        gap = float(path.lengths[i]) - path.along_m - (agent.box.length_m + scene.length_m) / 2
        if gap < best[0]:
            step = path.points[min(i + 1, len(dx) - 1)] - path.points[max(i - 1, 0)]
            speed = float(np.dot(step, (agent.vx_mps, agent.vy_mps)) / np.hypot(*step))
            best = (max(gap, 0.0), scene.speed_mps - speed)
    return best
