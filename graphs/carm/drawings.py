"""What the C-arm's report draws, as numbers for its SVG templates: overlays, the path over the body, the distances.

Everything that is in millimetres stays so: an overlay's unit is 1 / `OVERLAY` of the picture's edge, the map's unit is
1 mm with x to the patient's left and y caudal, as on an AP picture. Reads no log and writes no HTML.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.agents.carm.navigator import in_view
from loopwright.graphs.carm.steps import CArmStep
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm, view_axes
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.landmarks import Landmarks
from loopwright.tools.carm.render.attenuation import attenuation_per_mm
from loopwright.tools.carm.render.picture import to_uint8
from loopwright.tools.carm.volume import Volume

OVERLAY = 300.0
"""Edge of an overlay in its own units, whatever the picture's size in pixels."""

_PROJECTED_PX = 512
_DEPTH_STEP_MM = 4.0


class Label(NamedTuple):
    """Text centred at (x, y)."""

    text: str
    x: float
    y: float


class Mark(NamedTuple):
    """One landmark on an overlay: as predicted, with circles of one sigma and of its conformal radius (0: none)."""

    name: str
    x: float
    y: float
    sigma: float
    radius: float
    is_target: bool
    label: Label


class Arrow(NamedTuple):
    """From the centre to (x, y); `head` is a polygon's points. `is_cut`: the motion leads out of the picture."""

    x: float
    y: float
    head: str
    is_cut: bool


class Overlay(NamedTuple):
    """What is drawn over one picture. `known` are the true positions of landmarks, where they are known."""

    marks: list[Mark]
    known: list[tuple[float, float]]
    arrow: Arrow | None


def overlay(
    seen: Localisation | None, pose: Pose, motion: Motion | None, target: str, landmarks: Landmarks, view_mm: float
) -> Overlay:
    """Everything in view, in the plane through the isocentre, where the localiser's offsets are measured too."""
    scale, centre = OVERLAY / view_mm, OVERLAY / 2
    offsets = dict(seen.offsets_mm) if seen else {}
    visible = [name for name, offset in offsets.items() if in_view(offset, view_mm)]
    at = {name: (centre + offsets[name][0] * scale, centre + offsets[name][1] * scale) for name in visible}
    labels = place_labels([(short_name(n), *at[n]) for n in visible], size=13, within=(0, 0, OVERLAY, OVERLAY))
    radii = (seen.radius_mm or {}) if seen else {}
    marks = [
        Mark(n, *at[n], seen.sigma_mm[n] * scale, (radii.get(n) or 0.0) * scale, n == target, label)
        for n, label in zip(visible, labels, strict=True)
        if seen is not None
    ]
    true = [in_plane_offset_mm(point, pose) for point in landmarks.values()]
    known = [(float(centre + u * scale), float(centre + v * scale)) for u, v in true if in_view((u, v), view_mm)]
    return Overlay(marks, known, _arrow(motion, pose, scale) if motion else None)


def _arrow(motion: Motion, pose: Pose, scale: float) -> Arrow | None:
    """The motion of the view as it looks on this picture; None where it does not leave the centre."""
    way = np.array([-motion.left_mm, motion.anterior_mm, -motion.caudal_mm])
    axes = view_axes(pose)
    dx, dy = float(way @ axes.u) * scale, float(way @ axes.v) * scale
    length, furthest = math.hypot(dx, dy), max(abs(dx), abs(dy))
    if length < 2:
        return None
    room = 0.46 * OVERLAY
    is_cut = furthest > room
    if is_cut:
        dx, dy, length = dx * room / furthest, dy * room / furthest, length * room / furthest
    x, y = OVERLAY / 2 + dx, OVERLAY / 2 + dy
    ux, uy, size = dx / length, dy / length, min(12.0, length / 2)
    bx, by = x - ux * size, y - uy * size
    head = [(x, y), (bx - uy * size / 2, by + ux * size / 2), (bx + uy * size / 2, by - ux * size / 2)]
    return Arrow(bx, by, " ".join(f"{px:.1f},{py:.1f}" for px, py in head), is_cut)


class Stop(NamedTuple):
    """Where the isocentre stood in one step, mm to the patient's left and caudal."""

    name: str
    x: float
    y: float
    label: Label
    is_left_behind: bool


class Leg(NamedTuple):
    """One motion from stop to stop."""

    x1: float
    y1: float
    x2: float
    y2: float
    is_left_behind: bool


class Place(NamedTuple):
    """A landmark whose position is known."""

    name: str
    x: float
    y: float
    is_target: bool
    label: Label


class Map(NamedTuple):
    """The path in the coronal plane. `box` is (x, y, width, height) of all that is drawn, mm."""

    stops: list[Stop]
    legs: list[Leg]
    places: list[Place]
    view_mm: float
    box: tuple[float, float, float, float]


def path_map(
    steps: Sequence[CArmStep], landmarks: Landmarks, targets: Iterable[str], view_mm: float, volume: Volume | None
) -> Map:
    """The isocentre's way, seen from the front: x to the patient's left, y caudal."""
    seen = [(one, one.observation.pose) for one in steps if one.observation is not None]
    at = [(-pose.x_mm, -pose.z_mm) for _, pose in seen]
    marks = {name: (-float(p[0]), -float(p[2])) for name, p in landmarks.items()}
    corners = [(x + s * view_mm / 2, y + s * view_mm / 2) for x, y in at for s in (-1, 1)] + list(marks.values())
    if volume is not None:
        corners += [(-float(x), -float(z)) for x, _, z in volume.bounds_world]
    box = _box(corners, margin=8.0)
    size = box[2] / 45
    within = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    texts = [(one.name, *point) for (one, _), point in zip(seen, at, strict=True)]
    texts += [(short_name(name), *point) for name, point in marks.items()]
    labels = place_labels(texts, size=size, within=within)
    stops = [
        Stop(one.name, *point, label, one.is_left_behind)
        for (one, _), point, label in zip(seen, at, labels[: len(at)], strict=True)
    ]
    wanted = set(targets)
    places = [Place(n, *marks[n], n in wanted, label) for n, label in zip(marks, labels[len(at) :], strict=True)]
    where = dict(zip([id(one) for one, _ in seen], at, strict=True))
    legs = [
        Leg(*where[id(one)], *where[id(after)], one.is_left_behind)
        for one, after in pairwise(steps)
        if one.has_moved and after.branch == one.branch and id(one) in where and id(after) in where
    ]
    return Map(stops, legs, places, view_mm, box)


class Projection(NamedTuple):
    """The body from the front: grey, and `matrix` from picture coordinates to the map's mm (SVG `matrix(...)`)."""

    grey: NDArray[np.uint8]
    matrix: tuple[float, float, float, float, float, float]


def project_body(volume: Volume) -> Projection:
    """The whole volume projected along its second axis: the mean attenuation, with its maximum so that bone stands out.

    Thinned to about 4 mm in depth and at most 512 pixels across: it is a backdrop, no measurement.
    """
    step = np.maximum(1, np.ceil(np.array(volume.shape) / _PROJECTED_PX).astype(int))
    step[1] = max(1, round(_DEPTH_STEP_MM / volume.voxel_mm[1]))
    attenuation = attenuation_per_mm(volume.hounsfield[:: step[0], :: step[1], :: step[2]])
    grey = to_uint8(np.asarray(100 * attenuation.mean(axis=1) + 30 * attenuation.max(axis=1), dtype=np.float32)).T
    to_world, middle = volume.affine_world, (volume.shape[1] - 1) / 2
    # A picture's coordinate is a column's edge: column c spans c to c + 1 and shows voxels around step * c.
    along_x, along_z = to_world[:3, 0] * step[0], to_world[:3, 2] * step[2]
    corner = to_world[:3, 3] + to_world[:3, 1] * middle - (along_x + along_z) / 2
    matrix = (-along_x[0], -along_x[2], -along_z[0], -along_z[2], -corner[0], -corner[2])
    a, b, c, d, e, f = (float(v) for v in matrix)
    return Projection(np.ascontiguousarray(grey), (a, b, c, d, e, f))


class Point(NamedTuple):
    """A distance on the chart; `mm` is what the axis says."""

    x: float
    y: float
    mm: float
    name: str


class Series(NamedTuple):
    """The distance to one target over consecutive steps."""

    target: str
    claimed: list[Point]
    true: list[Point]
    is_left_behind: bool


class Chart(NamedTuple):
    """Distance over steps. The scale is that of the square root, so that 300 mm and 5 mm can both be read."""

    width: float
    height: float
    series: list[Series]
    ticks_x: list[Label]
    ticks_y: list[tuple[float, int]]
    success_y: float
    base_y: float


_MARGIN_LEFT, _MARGIN_TOP, _PLOT_HEIGHT, _PER_ROUND = 52.0, 16.0, 220.0, 54.0


def distance_chart(steps: Sequence[CArmStep], landmarks: Landmarks, success_mm: float) -> Chart | None:
    """Claimed and, where the landmark is known, true distance of the target, step by step; None without any claim."""
    seen = [one for one in steps if one.observation is not None]
    found = [(i, one, c.target, c.distance_mm) for i, one in enumerate(seen) for c in one.claims]
    true = {(i, target): true_distance_mm(one, landmarks, target) for i, one, target, _ in found}
    if not found:
        return None
    top = max([success_mm * 2, *(mm for *_, mm in found), *(mm for mm in true.values() if mm is not None)]) * 1.08
    width = _MARGIN_LEFT + max(8, len(seen)) * _PER_ROUND + 12

    def x(i: int) -> float:
        return _MARGIN_LEFT + (i + 0.5) * _PER_ROUND

    def y(mm: float) -> float:
        return _MARGIN_TOP + _PLOT_HEIGHT * (1 - math.sqrt(mm / top))

    groups: dict[tuple[int, str, bool], Series] = {}
    for i, one, target, mm in found:
        key = (one.branch, target, one.is_left_behind)
        series = groups.setdefault(key, Series(target, [], [], one.is_left_behind))
        series.claimed.append(Point(x(i), y(mm), mm, one.name))
        known = true[i, target]
        if known is not None:
            series.true.append(Point(x(i), y(known), known, one.name))
    ticks = [(y(mm), mm) for mm in (0, 5, 15, 50, 100, 200, 300, 400, 600) if mm <= top]
    base = _MARGIN_TOP + _PLOT_HEIGHT
    names = [Label(one.name, x(i), base + 20) for i, one in enumerate(seen)]
    return Chart(width, base + 44, list(groups.values()), names, ticks, y(success_mm), base)


def true_distance_mm(one: CArmStep, landmarks: Landmarks, target: str) -> float | None:
    """From the target to the central ray, where its position is known."""
    if one.observation is None or target not in landmarks:
        return None
    return float(np.linalg.norm(in_plane_offset_mm(landmarks[target], one.observation.pose)))


def short_name(landmark: str) -> str:
    """'R scapular inf. angle': fit for a label on a picture."""
    return landmark.replace("Right ", "R ").replace("Left ", "L ").replace("inferior", "inf.")


def place_labels(
    texts: Sequence[tuple[str, float, float]], size: float, within: tuple[float, float, float, float]
) -> list[Label]:
    """Put each text beside its point so that it covers no point and no other text, as far as there is room.

    Args:
        texts: (text, x, y) of each point.
        size: font size.
        within: least and greatest x and y: (x0, y0, x1, y1).
    """
    taken = [(x - size / 3, y - size / 3, x + size / 3, y + size / 3) for _, x, y in texts]
    placed = []
    for text, x, y in texts:
        half_w, half_h = 0.3 * size * len(text) + 0.2 * size, 0.6 * size
        boxes = [
            (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
            for gap in (0.6, 1.2, 2.2, 3.6)
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
            for cx, cy in [(x + dx * (half_w + gap * size), y + dy * (half_h + gap * size))]
        ]
        best = min(boxes, key=lambda box: (_outside(box, within), sum(_overlap(box, other) for other in taken)))
        taken.append(best)
        placed.append(Label(text, (best[0] + best[2]) / 2, (best[1] + best[3]) / 2))
    return placed


_Box = tuple[float, float, float, float]


def _overlap(a: _Box, b: _Box) -> float:
    """Common area of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: _Box, within: _Box) -> float:
    """How far a box sticks out."""
    return sum(max(0.0, v) for v in (within[0] - box[0], within[1] - box[1], box[2] - within[2], box[3] - within[3]))


def _box(points: Sequence[tuple[float, float]], margin: float) -> _Box:
    """(x, y, width, height) around points; around the origin where there is none."""
    low, high = (np.array(points or [(0.0, 0.0)]).min(axis=0), np.array(points or [(0.0, 0.0)]).max(axis=0))
    x, y = (float(v) - margin for v in low)
    width, height = (float(v) + 2 * margin for v in high - low)
    return x, y, width, height
