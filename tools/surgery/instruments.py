"""Draws the six instruments of CholecT50, each with a tip of its own, reaching in from the picture's edge."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from loopwright.tools.surgery.canvas import Array, Canvas, Colour, curve, ellipse, shade

_STEEL, _BLACK, _BLUE, _CREAM = (188, 194, 202), (46, 48, 56), (70, 120, 224), (238, 232, 206)


class _Reach(NamedTuple):
    """Where an instrument comes in and where its tip is, in scene units."""

    entry: tuple[float, float]
    tip: tuple[float, float]


_REACHES = (
    _Reach((-0.25, 0.86), (0.16, 0.46)),
    _Reach((1.25, 0.12), (0.66, 0.46)),
    _Reach((0.62, 1.30), (0.60, 0.72)),
    _Reach((0.20, -0.30), (0.30, 0.22)),
    _Reach((-0.25, 0.20), (0.10, 0.24)),
    _Reach((1.25, 0.95), (0.84, 0.80)),
)
"""By place among the instruments in view; the first is the grasper's."""


class _Frame(NamedTuple):
    """A tip's own axes: `at(a, b)` is `a` forward of it and `b` to its left."""

    tip: Array
    forward: Array

    def at(self, forward: float, left: float) -> tuple[float, float]:
        point = self.tip + forward * self.forward + left * np.array([self.forward[1], -self.forward[0]])
        return float(point[0]), float(point[1])


def draw_instrument(canvas: Canvas, name: str, place: int, rng: np.random.Generator) -> Array:
    """Draw an instrument of the vocabulary; `place` counts those in view, so that they do not lie on each other.

    Returns:
        (2,) where its tip is in the scene.
    """
    entry, tip = _REACHES[place]
    end = np.array(tip) + rng.normal(0, 0.025, 2)
    way = end - np.array(entry)
    frame = _Frame(end, way / np.hypot(*way))
    colour, width, draw_tip = _LOOKS[name]
    canvas.tube([entry, frame.at(-0.10, 0.0)], width, colour)
    draw_tip(canvas, frame)
    return end


def _grasper(canvas: Canvas, at: _Frame) -> None:
    for side in (-1, 1):
        jaw = curve([at.at(-0.11, 0.0), at.at(-0.05, 0.045 * side), at.at(0.03, 0.028 * side)])
        canvas.tube(jaw, 0.022, _STEEL)


def _hook(canvas: Canvas, at: _Frame) -> None:
    canvas.line([at.at(-0.11, 0.0), at.at(0.02, 0.0), at.at(0.025, 0.06)], 0.030, (20, 20, 24))
    canvas.line([at.at(-0.11, 0.0), at.at(0.02, 0.0), at.at(0.025, 0.06)], 0.018, (250, 196, 70))


def _bipolar(canvas: Canvas, at: _Frame) -> None:
    for side in (-1, 1):
        tine = curve([at.at(-0.12, 0.008 * side), at.at(-0.04, 0.034 * side), at.at(0.05, 0.010 * side)])
        canvas.tube(tine, 0.018, _BLUE)


def _scissors(canvas: Canvas, at: _Frame) -> None:
    for side in (-1, 1):
        blade = [at.at(-0.12, 0.0), at.at(-0.02, 0.012 * side), at.at(0.06, 0.060 * side), at.at(-0.04, 0.030 * side)]
        canvas.fill(blade, (236, 240, 246))
        canvas.line([blade[0], blade[2]], 0.006, (90, 94, 104))
    canvas.fill(ellipse(at.at(-0.07, 0.0), (0.02, 0.02)), (60, 62, 70))


def _clipper(canvas: Canvas, at: _Frame) -> None:
    for side in (-1, 1):
        jaw = [at.at(-0.12, 0.0), at.at(-0.08, 0.06 * side), at.at(0.05, 0.05 * side), at.at(0.05, 0.025 * side)]
        canvas.fill(jaw, shade(_CREAM, 0.9))
        canvas.line([at.at(-0.02, 0.02 * side), at.at(0.05, 0.02 * side)], 0.012, (228, 232, 240))


def _irrigator(canvas: Canvas, at: _Frame) -> None:
    canvas.tube([at.at(-0.12, 0.0), at.at(0.03, 0.0)], 0.058, (150, 200, 214))
    for back in (-0.10, -0.06, -0.02):
        canvas.fill(ellipse(at.at(back, 0.0), (0.010, 0.010)), (24, 40, 52))


_LOOKS: Mapping[str, tuple[Colour, float, Callable[[Canvas, _Frame], None]]] = {
    "grasper": (_STEEL, 0.046, _grasper),
    "bipolar": (_BLUE, 0.040, _bipolar),
    "hook": (_BLACK, 0.046, _hook),
    "scissors": (_STEEL, 0.040, _scissors),
    "clipper": (_CREAM, 0.066, _clipper),
    "irrigator": ((150, 200, 214), 0.058, _irrigator),
}
"""Colour and width of the shaft, and the tip."""
