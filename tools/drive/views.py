"""Pictures of a scene: from above, in the ego frame, and through six cameras on the ego; and grids of who is where.

Drawn in flat colours that lie far apart, so that a small tokenizer and a small model can read them. Knows no simulator.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from math import ceil, cos, hypot, radians, sin, tan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from loopwright.errors import UnknownName
from loopwright.tools.drive.scene import CAMERAS, Agent, Box, Camera, Lane, Point, Scene

Colour = tuple[int, int, int]
Picture = NDArray[np.uint8]
Flat = Sequence[tuple[float, float]]
Solid = Sequence[tuple[float, float, float]]
TOP_PX, TOP_M, TOP_FORWARD_M = 128, 64.0, 44.0
"""The view from above by default: its edge, what it spans, and how much of that lies ahead of the ego's centre."""
CAMERA_PX = (192, 128)
"""Width and height of a camera's picture."""
GROUND: Colour = (38, 64, 46)
ROAD: Colour = (100, 100, 106)
LINE: Colour = (205, 205, 200)
ROUTE: Colour = (70, 120, 205)
AGENT: Colour = (226, 54, 40)
WINDSCREEN: Colour = (70, 12, 12)
OBSTACLE: Colour = (200, 40, 170)
TRAIL: Colour = (250, 190, 60)
EGO: Colour = (90, 245, 110)
SKY: Colour = (160, 200, 235)
TRAIL_S = 0.5
"""A trail is what its vehicle drove in so many seconds."""
_LINE_M = 0.5
_YAW_DEG: dict[Camera, float] = {"F": 0, "FL": 55, "FR": -55, "B": 180, "BL": 110, "BR": -110}
_FIELD_DEG = 70.0
_EYE_M = 1.8
_HORIZON = 0.4
"""Of the height of a picture, from its top."""
_HEIGHT_M = 1.5
_NEAR_M = 0.5


def top_view(scene: Scene, size_px: int = TOP_PX, metres: float = TOP_M, forward_m: float = TOP_FORWARD_M) -> Picture:
    """The scene from above, (size_px, size_px, 3) uint8: the ego's direction is up, its left is left.

    Args:
        scene: what is drawn: lanes, the route blue, the ego green, cars red, obstacles purple, each with a trail of
            what it drove in the last `TRAIL_S`.
        size_px: edge of the picture.
        metres: what the edge spans.
        forward_m: how much of it lies ahead of the ego's centre.
    """
    canvas = _Canvas(size_px, size_px, ceil(4 * metres / size_px), GROUND)
    scale = canvas.factor * size_px / metres

    def flat(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [((metres / 2 - y) * scale, (forward_m - x) * scale) for x, y in points]

    rim = 1 / scale  # a filled polygon has its outline too
    for colour, lane, narrower_m in _road(scene):
        canvas.fill(flat(_outline(lane, narrower_m)), colour)
    for agent in scene.agents:
        canvas.fill(flat(_trail(agent.box, agent.vx_mps, agent.vy_mps)), TRAIL)
    canvas.fill(flat(_trail(scene.ego, scene.speed_mps, 0.0)), TRAIL)
    for agent in scene.agents:
        canvas.fill(flat(_corners(agent.box, narrower_m=rim)), _colour(agent))
        if agent.kind != "obstacle":
            canvas.fill(flat(_corners(agent.box, 0.12, 0.32, rim)), WINDSCREEN)
    canvas.fill(flat(_corners(scene.ego, narrower_m=rim)), EGO)
    return canvas.picture()


def camera_view(
    scene: Scene,
    camera: Camera,
    width_px: int = CAMERA_PX[0],
    height_px: int = CAMERA_PX[1],
    *,
    ways: Sequence[tuple[Sequence[Point], Colour, float]] = (),
) -> Picture:
    """The scene through one of the ego's cameras, (height_px, width_px, 3) uint8; colours as in `top_view`.

    A pinhole at the ego's centre, 1.8 m above the ground, 70 degrees wide, its horizon at 0.4 of the height. F looks
    ahead, FL and FR 55 degrees to a side, BL and BR 110 degrees, B back. `ways` are trajectories, each with its colour
    and width (m), drawn on the ground in turn.

    Raises:
        UnknownName: there is no such camera.
    """
    if camera not in CAMERAS:
        raise UnknownName("camera", camera, CAMERAS)
    lens = _Lens.of(camera, width_px, height_px)
    canvas = _Canvas(width_px, height_px, lens.factor, GROUND)
    canvas.fill([(0, 0), (lens.width, 0), (lens.width, lens.horizon), (0, lens.horizon)], SKY)
    for colour, lane, narrower_m in _road(scene):
        for quad in _quads(lane, narrower_m):
            canvas.fill(lens.seen([(x, y, 0.0) for x, y in quad]), colour)
    for points, colour, width_m in ways:
        for quad in _quads(Lane(centre=((0.0, 0.0), *points), width_m=width_m), 0.0):
            canvas.fill(lens.seen([(x, y, 0.0) for x, y in quad]), colour)
    for agent in sorted(scene.agents, key=lambda agent: -hypot(agent.box.x_m, agent.box.y_m)):
        for face, shade in _faces(agent.box):
            canvas.fill(lens.seen(face), _shaded(_colour(agent), shade))
    return canvas.picture()


def occupancy(
    scene: Scene, size: int = 64, metres: float = TOP_M, forward_m: float = TOP_FORWARD_M
) -> NDArray[np.bool_]:
    """(size, size) which cells, laid out as the pixels of `top_view`, have their centre in another road user."""
    grid = np.zeros((size, size), dtype=bool)
    at = (np.arange(size) + 0.5) * metres / size
    x, y = forward_m - at[:, None], metres / 2 - at[None, :]
    for agent in scene.agents:
        box, (c, s) = agent.box, (cos(agent.box.yaw_rad), sin(agent.box.yaw_rad))
        dx, dy = x - box.x_m, y - box.y_m
        grid |= (np.abs(c * dx + s * dy) <= box.length_m / 2) & (np.abs(c * dy - s * dx) <= box.width_m / 2)
    return grid


def occupancy_seen(picture: Picture, size: int = 64) -> NDArray[np.bool_]:
    """(size, size) which cells of a picture as `top_view` draws it show another road user, by their colour.

    Args:
        picture: (N, N, 3) uint8, N a multiple of `size`; drawn or imagined.
        size: cells an edge.
    """
    is_agent = _is_agent()[tuple(np.moveaxis(picture >> 4, -1, 0))]
    cells = picture.shape[0] // size
    return np.asarray(is_agent.reshape(size, cells, size, cells).mean(axis=(1, 3)) >= 0.5)


@cache
def _is_agent() -> NDArray[np.bool_]:
    """(16, 16, 16) whether a colour, in sixteenths, is nearer to a road user's than to any other of the palette."""
    palette = np.array([AGENT, WINDSCREEN, OBSTACLE, GROUND, ROAD, LINE, ROUTE, TRAIL, EGO])
    colours = np.stack(np.meshgrid(*[np.arange(16) * 16 + 8] * 3, indexing="ij"), axis=-1)
    return np.asarray(((colours[..., None, :] - palette) ** 2).sum(axis=-1).argmin(axis=-1) < 3)


class _Canvas:
    """A picture that is drawn `factor` times as large and then reduced."""

    def __init__(self, width_px: int, height_px: int, factor: int, ground: Colour) -> None:
        self.factor = factor
        self._image = Image.new("RGB", (width_px * factor, height_px * factor), ground)
        self._draw = ImageDraw.Draw(self._image)

    def fill(self, points: Flat, colour: Colour) -> None:
        """Fill a polygon of continuous coordinates, 0 at the outer edge of the first pixel."""
        if len(points) > 2:
            self._draw.polygon([(x - 0.5, y - 0.5) for x, y in points], fill=colour)

    def picture(self) -> Picture:
        return np.asarray(self._image.reduce(self.factor))


class _Lens(NamedTuple):
    """A pinhole camera on the ego."""

    yaw_rad: float
    width: int
    horizon: float
    focal: float
    factor: int

    @classmethod
    def of(cls, camera: Camera, width_px: int, height_px: int) -> "_Lens":
        factor = 2
        width = width_px * factor
        return cls(
            radians(_YAW_DEG[camera]),
            width,
            _HORIZON * height_px * factor,
            width / 2 / tan(radians(_FIELD_DEG / 2)),
            factor,
        )

    def seen(self, points: Solid) -> Flat:
        """The part of a polygon that lies before the camera, in pixels."""
        c, s = cos(self.yaw_rad), sin(self.yaw_rad)
        inner = [(c * x + s * y, c * y - s * x, z - _EYE_M) for x, y, z in points]
        clipped = []
        for a, b in zip(inner, [*inner[1:], *inner[:1]], strict=True):
            if a[0] >= _NEAR_M:
                clipped.append(a)
            if (a[0] >= _NEAR_M) != (b[0] >= _NEAR_M):
                t = (_NEAR_M - a[0]) / (b[0] - a[0])
                clipped.append((_NEAR_M, a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])))
        return [(self.width / 2 - self.focal * y / x, self.horizon - self.focal * z / x) for x, y, z in clipped]


def _road(scene: Scene) -> Iterable[tuple[Colour, Lane, float]]:
    """What to fill, in turn: lanes in the colour of lines, narrower ones upon them, so that lines stay between them."""
    yield from ((LINE, lane, 0.0) for lane in scene.lanes)
    yield from ((ROAD, lane, _LINE_M) for lane in scene.lanes)
    yield from ((ROUTE, lane, _LINE_M) for lane in scene.lanes if lane.is_route)


def _sides(lane: Lane, narrower_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) the points of a lane's left and right side."""
    centre = np.array(lane.centre)
    along = np.gradient(centre, axis=0)
    left = np.column_stack((-along[:, 1], along[:, 0])) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    half = lane.width_m / 2 - narrower_m / 2
    return centre + left * half, centre - left * half


def _outline(lane: Lane, narrower_m: float) -> Flat:
    left, right = _sides(lane, narrower_m)
    return [(x, y) for x, y in np.concatenate((left, right[::-1])).tolist()]


def _quads(lane: Lane, narrower_m: float) -> Iterable[Flat]:
    """The lane piece by piece, as far as each is convex."""
    left, right = (side.tolist() for side in _sides(lane, narrower_m))
    return ((left[i], left[i + 1], right[i + 1], right[i]) for i in range(len(left) - 1))


def _corners(box: Box, begin: float = -0.5, end: float = 0.5, narrower_m: float = 0.0) -> Flat:
    """A box's corners, or those of a part of its length: from `begin` to `end`, -0.5 its rear and 0.5 its front."""
    c, s, w = cos(box.yaw_rad), sin(box.yaw_rad), (box.width_m - narrower_m) / 2
    rear, front = begin * box.length_m + narrower_m / 2, end * box.length_m - narrower_m / 2
    sides = ((rear, -w), (rear, w), (front, w), (front, -w))
    return [(box.x_m + c * a - s * b, box.y_m + s * a + c * b) for a, b in sides]


def _trail(box: Box, vx_mps: float, vy_mps: float) -> Flat:
    """Where the middle of the box was during the last `TRAIL_S`, at constant velocity."""
    speed = hypot(vx_mps, vy_mps)
    if speed < 0.1:
        return []
    rear = box.length_m / 2
    length = rear + speed * TRAIL_S
    ux, uy, w = vx_mps / speed, vy_mps / speed, box.width_m / 5
    ends = ((0.0, w), (-length, w), (-length, -w), (0.0, -w))
    return [(box.x_m + a * ux - b * uy, box.y_m + a * uy + b * ux) for a, b in ends]


def _colour(agent: Agent) -> Colour:
    return OBSTACLE if agent.kind == "obstacle" else AGENT


def _faces(box: Box) -> Iterable[tuple[Solid, float]]:
    """The faces of a box that the ego can see, its roof last, each with how bright it is."""
    corners = _corners(box)
    for i in range(4):
        (ax, ay), (bx, by) = corners[i], corners[(i + 1) % 4]
        if (bx - ax) * -ay - (by - ay) * -ax > 0:  # the origin lies on the outer side
            yield [(ax, ay, 0.0), (bx, by, 0.0), (bx, by, _HEIGHT_M), (ax, ay, _HEIGHT_M)], (0.75, 0.55)[i % 2]
    yield [(x, y, _HEIGHT_M) for x, y in corners], 1.0


def _shaded(colour: Colour, shade: float) -> Colour:
    r, g, b = (round(each * shade) for each in colour)
    return r, g, b
