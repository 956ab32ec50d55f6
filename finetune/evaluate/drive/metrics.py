"""Open-loop metrics of 3 s trajectories, under every convention in use; usable on anybody's predictions.

    l2_Ks           error at K seconds                        as UniAD prints it
    l2_to_Ks        mean error of all steps up to K seconds   as ST-P3 and VAD print it
    collision_...   the same two readings of a hit, and `collision_any_Ks`: a hit at any step up to K seconds
    ..._avg         mean over K = 1, 2, 3

A step whose truth is not known counts 0 and stays in N; a step where the truth itself hits leaves the numerator and
stays in the denominator (but for the row of the truth). `collision` is the papers' reading: the ego is 4.084 x 1.85 m,
its centre 0.5 m ahead, never turned, on a grid of 0.5 m cells, 50 m to each side (the papers' code moves what lies
outside to the edge; here it hits nothing). `boxes` is the exact one: the ego's own size, turned along its way, without
a grid. An answer that could not be read is scored as standing still. Knows no data set and no model.
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
SHARES = ("parsed", "known_3s", "with_agents")
"""Of samples: those answered readably, with a truth at 3 s, and with an agent to hit."""


class Scores(NamedTuple):
    """Of n trajectories at 6 steps: errors (m, 0 where the truth is unknown), hits that count, and who was read."""

    l2_m: Floats
    known: Bools
    grid_hits: Bools
    box_hits: Bools
    parsed: Bools
    has_agents: Bools


def score(samples: Sequence[Sample], answers: Sequence[Sequence[Point] | None], *, is_truth: bool = False) -> Scores:
    """Compare an answer a sample with what came; None is one that could not be read.

    Args:
        samples: with what came.
        answers: one a sample.
        is_truth: the answers are what came, and their own hits are counted.

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
    known: Bools = np.asarray(np.isfinite(truth).all(axis=2), dtype=np.bool_)
    said = np.array([answer or STANDING for answer in answers], dtype=np.float64).reshape(-1, 6, 2)
    error: Floats = np.asarray(np.linalg.norm(np.where(known[..., None], said - truth, 0.0), axis=2), dtype=np.float64)
    hits = np.zeros((2, len(samples), FUTURE_STEPS), dtype=np.bool_)
    present = np.zeros(len(samples), dtype=np.bool_)
    for k, sample in enumerate(samples):
        at_step = agents_by_step(sample)
        present[k] = any(map(len, at_step))
        if not present[k]:
            continue
        ego, excused = sample.scene.ego, known[k] & (not is_truth)
        hits[0, k] = hits_on_grid(said[k], at_step) & ~(hits_on_grid(truth[k], at_step) & excused)
        hits[1, k] = hits_of_boxes(said[k], ego, at_step) & ~(hits_of_boxes(truth[k], ego, at_step) & excused)
        hits[:, k] &= known[k] | (not is_truth)
    parsed = np.array([answer is not None for answer in answers], dtype=np.bool_)
    return Scores(error, known, hits[0], hits[1], parsed, present)


def figures(scores: Scores) -> dict[str, Floats]:
    """Each metric's value of each sample, (n,): a figure is the mean; collisions in percent."""
    shares = {"parsed": scores.parsed, "known_3s": scores.known[:, -1], "with_agents": scores.has_agents}
    found = {name: share.astype(np.float64) for name, share in shares.items()}
    found |= _read("l2", scores.l2_m.astype(np.float64))
    for name, hits in (("collision", scores.grid_hits), ("boxes", scores.box_hits)):
        so_far = np.maximum.accumulate(hits, axis=1)
        found |= _read(name, 100.0 * hits.astype(np.float64)) | _at(f"{name}_any", 100.0 * so_far.astype(np.float64))
    return found


def agents_by_step(sample: Sample) -> list[Floats]:
    """Where the agents are at each of the 6 steps, as far as the log knows; see `rectangles`."""
    futures = sample.agent_futures.values()
    return [rectangles([box for boxes in futures if (box := boxes[k]) is not None]) for k in range(FUTURE_STEPS)]


def rectangles(boxes: Sequence[Box]) -> Floats:
    """(k, 5) x, y (m), yaw (rad), length, width (m)."""
    return np.array([(b.x_m, b.y_m, b.yaw_rad, b.length_m, b.width_m) for b in boxes], dtype=np.float64).reshape(-1, 5)


def hits_on_grid(points: Floats, at_step: Sequence[Floats]) -> Bools:
    """(6,) whether the papers' ego on `points` (6, 2) covers a cell whose centre is in an agent; NaN hits nothing."""
    hits = np.zeros(len(points), dtype=np.bool_)
    for step, (point, boxes) in enumerate(zip(points, at_step, strict=True)):
        if len(boxes) and np.isfinite(point).all():
            cells = np.floor(_EGO_CELLS + point / CELL_M)
            cells = cells[((cells >= 0) & (cells < 2 * HALF_M / CELL_M)).all(axis=1)]
            hits[step] = _inside(cells * CELL_M - HALF_M + CELL_M / 2, boxes).any()
    return hits


def hits_of_boxes(points: Floats, ego: Box, at_step: Sequence[Floats]) -> Bools:
    """(6,) whether the ego on `points` (6, 2), turned along its way, overlaps an agent; NaN hits nothing."""
    hits = np.zeros(len(points), dtype=np.bool_)
    known = np.isfinite(points).all(axis=1)
    turned = dict(zip(np.flatnonzero(known).tolist(), headings([(x, y) for x, y in points[known]]), strict=True))
    for step, yaw in turned.items():
        here = np.array([*points[step], yaw, ego.length_m, ego.width_m])
        hits[step] = overlaps(here, at_step[step]).any()
    return hits


def overlaps(one: Floats, others: Floats) -> Bools:
    """(k,) whether a rectangle (5,) has a point in common with each of others (k, 5): no side separates them."""
    yaws = np.stack([np.full(len(others), one[2]), others[:, 2]])
    along = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1)
    axes = np.concatenate([along, np.stack([-along[..., 1], along[..., 0]], axis=-1)])  # (4, k, 2)
    a = np.einsum("akd,cd->akc", axes, corners(one[None])[0])
    b = np.einsum("akd,kcd->akc", axes, corners(others))
    apart = (a.max(axis=2) < b.min(axis=2)) | (b.max(axis=2) < a.min(axis=2))
    found: Bools = np.asarray(~apart.any(axis=0))
    return found


def corners(boxes: Floats) -> Floats:
    """(k, 4, 2) of rectangles (k, 5), counter-clockwise from the front left."""
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * boxes[:, None, 3:] / 2
    c, s = np.cos(boxes[:, 2])[:, None], np.sin(boxes[:, 2])[:, None]
    x, y = half[..., 0], half[..., 1]
    found: Floats = np.stack([c * x - s * y, s * x + c * y], axis=-1) + boxes[:, None, :2]
    return found


def _ego_cells() -> Floats:
    """(32, 2) the cells, as (x, y) indices, whose centres the ego at the origin covers."""
    centres = np.arange(2 * HALF_M / CELL_M) * CELL_M - HALF_M + CELL_M / 2
    x = np.flatnonzero(np.abs(centres - EGO_AHEAD_M) <= EGO_LENGTH_M / 2)
    y = np.flatnonzero(np.abs(centres) <= EGO_WIDTH_M / 2)
    return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float64)


_EGO_CELLS = _ego_cells()


def _inside(points: Floats, boxes: Floats) -> Bools:
    """(n,) whether each of `points` (n, 2) lies in any of the rectangles (k, 5)."""
    off = points[:, None] - boxes[:, :2]
    c, s = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])
    along, across = c * off[..., 0] + s * off[..., 1], c * off[..., 1] - s * off[..., 0]
    inside = (np.abs(along) <= boxes[:, 3] / 2) & (np.abs(across) <= boxes[:, 4] / 2)
    found: Bools = np.asarray(inside.any(axis=1))
    return found


def _read(name: str, values: Floats) -> dict[str, Floats]:
    """(n, 6) values at 1, 2, 3 s, and their means up to there, each with its average."""
    return _at(name, values) | _at(f"{name}_to", np.cumsum(values, axis=1) / np.arange(1, FUTURE_STEPS + 1))


def _at(name: str, values: Floats) -> dict[str, Floats]:
    found = {f"{name}_{second}s": values[:, round(second / STEP_S) - 1] for second in SECONDS}
    return found | {f"{name}_avg": np.mean(list(found.values()), axis=0)}
