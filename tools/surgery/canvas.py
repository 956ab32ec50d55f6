"""Draws shapes given in a scene's own units, as a moving camera sees them, smoothly. Knows no anatomy.

The scene is the unit square, x to the right, y down; `_scene` are its coordinates, `_px` pixels of the picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float64]
Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | Array

_OVERSAMPLING = 3


class Canvas:
    """A square picture of `size_px`, seen by a camera that may be turned, shifted and zoomed."""

    def __init__(
        self,
        size_px: int,
        background: Colour,
        *,
        turn_deg: float = 0.0,
        zoom: float = 1.0,
        shift_scene: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._size_px = size_px
        self._edge = size_px * _OVERSAMPLING
        self._image = Image.new("RGB", (self._edge, self._edge), background)
        cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
        self._camera = zoom * np.array([[cos, -sin], [sin, cos]])
        self._shift = np.array(shift_scene)

    def fill(self, points_scene: Points, colour: Colour, *, opacity: float = 1.0, blur_scene: float = 0.0) -> None:
        """A closed shape; `blur_scene` softens its edge."""
        if opacity >= 1 and not blur_scene:
            ImageDraw.Draw(self._image).polygon(self._px(points_scene), fill=colour)
            return
        mask = Image.new("L", self._image.size)
        ImageDraw.Draw(mask).polygon(self._px(points_scene), fill=round(255 * opacity))
        if blur_scene:
            mask = mask.filter(ImageFilter.GaussianBlur(blur_scene * self._edge))
        self._image.paste(colour, (0, 0, *self._image.size), mask)

    def line(self, points_scene: Points, width_scene: float, colour: Colour) -> None:
        """A line with round ends."""
        draw, points = ImageDraw.Draw(self._image), self._px(points_scene)
        width = max(1.0, width_scene * self._edge * self._zoom)
        draw.line(points, fill=colour, width=round(width), joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=colour)

    def tube(self, points_scene: Points, width_scene: float, colour: Colour) -> None:
        """A round tube: dark outline, body, light along it."""
        self.line(points_scene, 1.3 * width_scene, shade(colour, 0.55))
        self.line(points_scene, width_scene, colour)
        self.line(np.asarray(points_scene) - 0.22 * width_scene, 0.25 * width_scene, shade(colour, 1.3))

    def finished(self, *, light: float, noise: Array, dark_edge: float) -> NDArray[np.uint8]:
        """(size, size, 3) uint8.

        Args:
            light: factor of brightness.
            noise: (k, k) blotches, in grey values, spread over the picture.
            dark_edge: how much darker the corners are than the middle, 0 to 1.
        """
        pixels = np.asarray(self._image.resize((self._size_px, self._size_px), Image.Resampling.BOX), dtype=np.float64)
        blotches = Image.fromarray(noise.astype(np.float32)).resize((self._size_px, self._size_px))
        middle = (np.arange(self._size_px) + 0.5) / self._size_px - 0.5
        from_middle = np.hypot(*np.meshgrid(middle, middle)) / np.hypot(0.5, 0.5)
        vignette = light * (1 - dark_edge * from_middle**3)
        seen = (pixels + np.asarray(blotches)[..., None]) * vignette[..., None]
        return np.asarray(np.clip(seen.round(), 0, 255), dtype=np.uint8)

    def seen(self, point_scene: Array) -> tuple[float, float]:
        """Where a point of the scene is in the picture: right and down, [-1, 1] from edge to edge."""
        [(x, y)] = self._px(point_scene[None])
        return 2 * x / self._edge - 1, 2 * y / self._edge - 1

    @property
    def _zoom(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self._camera))))

    def _px(self, points_scene: Points) -> list[tuple[float, float]]:
        seen = (np.asarray(points_scene, dtype=np.float64) - 0.5) @ self._camera.T + 0.5 + self._shift
        return [(float(x), float(y)) for x, y in seen * self._edge]


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or lighter colour."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


def curve(points_scene: Points, *, closed: bool = False, n: int = 8) -> Array:
    """(m, 2) a smooth curve through points: Catmull-Rom, `n` steps between two of them."""
    p = np.asarray(points_scene, dtype=np.float64)
    around = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack(pieces if closed else [*pieces, p[-1:]])


def moved(points_scene: Points, x_scene: float, y_scene: float) -> Array:
    """(n, 2) points, shifted."""
    return np.asarray(np.asarray(points_scene, dtype=np.float64) + np.array([x_scene, y_scene]))


def scaled(points_scene: Points, factor: float) -> Array:
    """(n, 2) points, drawn nearer to their middle or away from it."""
    points = np.asarray(points_scene, dtype=np.float64)
    middle = points.mean(axis=0)
    return np.asarray(middle + factor * (points - middle))


def ellipse(centre_scene: tuple[float, float], radii_scene: tuple[float, float], turn_deg: float = 0.0) -> Array:
    """(32, 2) points of an ellipse."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    points = np.column_stack([radii_scene[0] * np.cos(angles), radii_scene[1] * np.sin(angles)])
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(centre_scene))
