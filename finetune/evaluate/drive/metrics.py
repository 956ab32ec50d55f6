"""Open-loop metrics of 3 s trajectories, under every convention in use; usable on anybody's predictions.

    l2_Ks           error at K seconds                        as UniAD prints it
    l2_to_Ks        mean error of all steps up to K seconds   as ST-P3 and VAD print it
    collision_...   the same two readings of a hit, and `collision_any_Ks`: a hit at any step up to K seconds
    ..._avg         mean over K = 1, 2, 3

A step whose truth is not known counts 0 and stays in N; a step where the truth itself hits leaves the numerator and
stays in the denominator. `collision` is the papers' reading: the ego is 4.084 x 1.85 m, its centre 0.5 m ahead, never
turned, on a grid of 0.5 m cells, 50 m to each side (the papers' code moves what lies outside to the edge; here it hits
nothing). `boxes` is the exact one: the ego's own size, turned along its way, without a grid. An answer that could not
be read is scored as standing still. Knows no data set and no model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Box, Point, Sample, headings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SECONDS = (1, 2, 3)
CELL_M, HALF_M = 0.5, 50.0
EGO_LENGTH_M, EGO_WIDTH_M, EGO_AHEAD_M = 4.084, 1.85, 0.5
STANDING: tuple[Point, ...] = ((0.0, 0.0),) * FUTURE_STEPS
"""What an unreadable answer is taken for: the car stays where it is."""


class Scores(NamedTuple):
    """Of n trajectories at 6 steps: errors (m, 0 where the truth is unknown), hits that count, and who was read."""

    l2_m: Floats
    known: Bools
    grid_hits: Bools
    box_hits: Bools
    parsed: Bools
    has_agents: Bools


def score(samples: Sequence[Sample], answers: Sequence[Sequence[Point] | None]) -> Scores:
    """Compare an answer a sample with what came; None is one that could not be read.

    Raises:
        BadInput: not one answer a sample, or one without six points.
    """
    if len(samples) != len(answers):
        raise BadInput(f"{len(answers)} answers to {len(samples)} samples; expected one each.")
    for sample, answer in zip(samples, answers, strict=True):
        if answer is not None and len(answer) != FUTURE_STEPS:
            raise BadInput(
                f"The answer to {sample.scene.token!r} has {len(answer)} points; expected {FUTURE_STEPS}, "
                f"{STEP_S:g} s apart."
            )
    truth = np.array([[p or (np.nan, np.nan) for p in sample.future] for sample in samples]).reshape(-1, 6, 2)
    known = np.isfinite(truth).all(axis=2)
    said = np.array([answer or STANDING for answer in answers], dtype=np.float64).reshape(-1, 6, 2)
    error = np.linalg.norm(np.where(known[..., None], said - truth, 0.0), axis=2)
    grid, boxes, present = [], [], []
    for sample, points, true in zip(samples, said, truth, strict=True):
        at_step = agents_by_step(sample)
        present.append(any(at_step))
        grid.append(hits_on_grid(points, at_step) & ~hits_on_grid(true, at_step))
        ego = sample.scene.ego
        boxes.append(hits_of_boxes(points, ego, at_step) & ~hits_of_boxes(true, ego, at_step))
    parsed = np.array([answer is not None for answer in answers], dtype=np.bool_)
    hits = [np.array(each, dtype=np.bool_).reshape(-1, FUTURE_STEPS) for each in (grid, boxes)]
    return Scores(error, known, *hits, parsed, np.array(present, dtype=np.bool_))


def figures(scores: Scores) -> dict[str, Floats]:
    """Each metric's value of each sample, (n,): a figure is the mean; collisions in percent."""
    found = {"parsed": scores.parsed.astype(np.float64), "known_3s": scores.known[:, -1].astype(np.float64)}
    found |= _read("l2", scores.l2_m)
    for name, hits in (("collision", scores.grid_hits), ("boxes", scores.box_hits)):
        so_far = np.maximum.accumulate(hits, axis=1)
        found |= _read(name, 100.0 * hits) | _at(f"{name}_any", 100.0 * so_far)
    return found


def agents_by_step(sample: Sample) -> list[list[Box]]:
    """Where the agents are at each of the 6 steps, as far as the log knows."""
    return [
        [box for boxes in sample.agent_futures.values() if (box := boxes[step]) is not None]
        for step in range(FUTURE_STEPS)
    ]


def hits_on_grid(points: Floats, at_step: Sequence[Sequence[Box]]) -> Bools:
    """(6,) whether the papers' ego on `points` (6, 2) covers a cell whose centre is in an agent; NaN hits nothing."""
    hits = np.zeros(len(points), dtype=np.bool_)
    for step, ((x_m, y_m), boxes) in enumerate(zip(points, at_step, strict=True)):
        if boxes and np.isfinite(x_m + y_m):
            cells = np.floor(_EGO_CELLS + np.array([x_m, y_m]) / CELL_M)
            cells = cells[((cells >= 0) & (cells < 2 * HALF_M / CELL_M)).all(axis=1)]
            hits[step] = _inside(cells * CELL_M - HALF_M + CELL_M / 2, boxes).any()
    return hits


def hits_of_boxes(points: Floats, ego: Box, at_step: Sequence[Sequence[Box]]) -> Bools:
    """(6,) whether the ego on `points` (6, 2), turned along its way, overlaps an agent; NaN hits nothing."""
    hits = np.zeros(len(points), dtype=np.bool_)
    known = np.isfinite(points).all(axis=1)
    turned = dict(zip(np.flatnonzero(known).tolist(), headings([(x, y) for x, y in points[known]]), strict=True))
    for step, yaw in turned.items():
        here = ego.model_copy(update={"x_m": points[step, 0], "y_m": points[step, 1], "yaw_rad": yaw})
        hits[step] = any(overlap(here, box) for box in at_step[step])
    return hits


def overlap(one: Box, other: Box) -> bool:
    """Whether two rectangles have a point in common: no side of either separates them."""
    a, b = corners(one), corners(other)
    for yaw in (one.yaw_rad, other.yaw_rad):
        for axis in (np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])):
            p, q = a @ axis, b @ axis
            if p.max() < q.min() or q.max() < p.min():
                return False
    return True


def corners(box: Box) -> Floats:
    """(4, 2), counter-clockwise from the front left."""
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (box.length_m / 2, box.width_m / 2)
    c, s = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    found: Floats = half @ np.array([[c, s], [-s, c]]) + (box.x_m, box.y_m)
    return found


def _ego_cells() -> Floats:
    """(32, 2) the cells, as (x, y) indices, whose centres the ego at the origin covers."""
    centres = np.arange(2 * HALF_M / CELL_M) * CELL_M - HALF_M + CELL_M / 2
    x = np.flatnonzero(np.abs(centres - EGO_AHEAD_M) <= EGO_LENGTH_M / 2)
    y = np.flatnonzero(np.abs(centres) <= EGO_WIDTH_M / 2)
    return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float64)


_EGO_CELLS = _ego_cells()


def _inside(points: Floats, boxes: Sequence[Box]) -> Bools:
    """(n,) whether each of `points` (n, 2) lies in any of the boxes."""
    inside = np.zeros(len(points), dtype=np.bool_)
    for box in boxes:
        c, s = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
        own = (points - (box.x_m, box.y_m)) @ np.array([[c, -s], [s, c]])
        inside |= (np.abs(own) <= (box.length_m / 2, box.width_m / 2)).all(axis=1)
    return inside


def _read(name: str, values: Floats) -> dict[str, Floats]:
    """(n, 6) values at 1, 2, 3 s, and their means up to there, each with its average."""
    return _at(name, values) | _at(f"{name}_to", np.cumsum(values, axis=1) / np.arange(1, FUTURE_STEPS + 1))


def _at(name: str, values: Floats) -> dict[str, Floats]:
    found = {f"{name}_{second}s": values[:, round(second / STEP_S) - 1] for second in SECONDS}
    return found | {f"{name}_avg": np.mean(list(found.values()), axis=0)}
