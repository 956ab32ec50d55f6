"""A square picture that pieces of food, lines and dots are drawn on, in integers. Knows no dish."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.recipe.kitchen.draws import Ints
from loopwright.tools.recipe.kitchen.shapes import SHAPES, TEXTURES, Colour, Mask, frame

_FULL = 256
_SMALLEST_LINED = 5


class Canvas:
    """(edge, edge, 3), RGB from 0 to 255. Opacity is of 256."""

    def __init__(self, edge: int, colour: Colour) -> None:
        self.edge = edge
        self._rgb = np.empty((edge, edge, 3), dtype=np.int64)
        self._rgb[:] = colour

    def piece(
        self,
        at: tuple[int, int],
        radius: int,
        turn: int,
        shape: str,
        texture: str,
        colours: tuple[Colour, Colour],
        covered: Mask | None = None,
    ) -> None:
        """A piece of food, lit from the upper left, with a dark outline. `covered`, (edge, edge), is where it is."""
        rows, columns, f = frame(self.edge, *at, radius, turn)
        mask = SHAPES[shape](f)
        light = ((at[0] + at[1] - _grid(rows, columns).sum(0)) * 24 // max(1, radius)).clip(-26, 26)[mask]
        painted = np.where(TEXTURES[texture](f)[mask][:, None], colours[1], colours[0]) + light[:, None]
        inside = _eroded(mask)[mask] if radius >= _SMALLEST_LINED else np.ones(len(painted), dtype=bool)
        self._rgb[rows, columns][mask] = np.where(inside[:, None], painted, painted * 11 // 20).clip(0, 255)
        if covered is not None:
            covered[rows, columns] |= mask

    def shape(
        self, at: tuple[int, int], radius: int, turn: int, shape: str, colour: Colour, opacity: int = _FULL
    ) -> None:
        """A flat shape of one colour."""
        rows, columns, f = frame(self.edge, *at, radius, turn)
        self._blend((rows, columns), SHAPES[shape](f), colour, opacity)

    def tint(self, mask: Mask, colour: Colour, opacity: int = _FULL) -> None:
        """Colour everything of an (edge, edge) mask."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if rows.size:
            window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            self._blend(window, mask[window], colour, opacity)

    def line(self, points: Sequence[tuple[int, int]], width: int, colour: Colour) -> None:
        """Straight lines from point to point."""
        for (x, y), (to_x, to_y) in pairwise(points):
            steps = max(abs(to_x - x), abs(to_y - y), 1)
            for i in range(0, steps + 1, max(1, width // 2)):
                self.shape((x + (to_x - x) * i // steps, y + (to_y - y) * i // steps), width, 0, "ball", colour)

    def dots(self, points: Ints, size: int, colour: Colour) -> None:
        """(n, 2) squares of `size` pixels, by column and row."""
        for x, y in points.tolist():
            self._rgb[max(0, y) : max(0, y + size), max(0, x) : max(0, x + size)] = colour

    def places(self) -> Ints:
        """(2, edge, edge) the column and row of every pixel."""
        return _grid(slice(0, self.edge), slice(0, self.edge))

    def picture(self, size_px: int) -> NDArray[np.uint8]:
        """(size_px, size_px, 3) the mean of so many pixels; the edge is a multiple of `size_px`."""
        by = self.edge // size_px
        blocks = self._rgb.reshape(size_px, by, size_px, by, 3)
        return np.asarray(blocks.sum((1, 3)) // (by * by), dtype=np.uint8)

    def _blend(self, window: tuple[slice, slice], mask: Mask, colour: Colour, opacity: int) -> None:
        pixels = self._rgb[window]
        if opacity == _FULL:
            pixels[mask] = colour
        else:
            pixels[mask] = (pixels[mask] * (_FULL - opacity) + np.array(colour, dtype=np.int64) * opacity) // _FULL


def _grid(rows: slice, columns: slice) -> Ints:
    y, x = np.mgrid[rows, columns]
    return np.stack([x, y]).astype(np.int64)


def _eroded(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    return mask & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
