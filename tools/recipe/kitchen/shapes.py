"""Shapes, textures and pieces of food, drawn in integer arithmetic: equal bytes on every machine.

A piece is drawn in its own small square of pixels. `u`, `v` are a pixel's place in the piece's turned frame; shapes and
textures are formulas of them. Knows no dish.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.recipe.kitchen.draws import Ints

Mask = NDArray[np.bool_]
Colour = tuple[int, int, int]
TURNS = 64
"""Directions of a whole turn."""
_ONE = 1024
_COS = np.array([round(float(np.cos(2 * np.pi * i / TURNS)) * _ONE) for i in range(TURNS)], dtype=np.int64)
_SIN = np.roll(_COS, TURNS // 4)


def direction(turn: int) -> tuple[int, int]:
    """The cosine and sine of `turn` of `TURNS`, times 1024."""
    return int(_COS[turn % TURNS]), int(_SIN[turn % TURNS])


def along(x: int, y: int, turn: int, distance: int) -> tuple[int, int]:
    """The point `distance` from (x, y) in a direction."""
    cos, sin = direction(turn)
    return x + (distance * cos) // _ONE, y + (distance * sin) // _ONE


class Frame(NamedTuple):
    """A piece's pixels in its own turned frame, and its half length."""

    u: Ints
    v: Ints
    r: int


def frame(edge: int, x: int, y: int, radius: int, turn: int) -> tuple[slice, slice, Frame]:
    """The window of a picture that a piece may fill, rows and columns, and the frame there."""
    reach = radius + radius // 2 + 2
    rows, columns = (slice(max(0, c - reach), max(0, min(edge, c + reach + 1))) for c in (y, x))
    dx = np.arange(columns.start, columns.stop, dtype=np.int64)[None, :] - x
    dy = np.arange(rows.start, rows.stop, dtype=np.int64)[:, None] - y
    cos, sin = direction(turn)
    return rows, columns, Frame((dx * cos + dy * sin) // _ONE, (dy * cos - dx * sin) // _ONE, radius)


def _ellipse(f: Frame, a: int, b: int, du: int = 0, dv: int = 0) -> Mask:
    a, b = max(1, a), max(1, b)
    return (f.u - du) ** 2 * b * b + (f.v - dv) ** 2 * a * a <= a * a * b * b


def _box(f: Frame, a: int, b: int) -> Mask:
    return (abs(f.u) <= max(1, a)) & (abs(f.v) <= max(1, b))


def _bumpy(f: Frame, count: int, size: int, out: int) -> Mask:
    """Discs around the middle."""
    mask = _ellipse(f, out, out)
    for i in range(count):
        du, dv = along(0, 0, i * TURNS // count, out)
        mask = mask | _ellipse(f, size, size, du, dv)
    return mask


def _chunk(f: Frame) -> Mask:
    """An irregular polygon."""
    mask = np.ones(f.u.shape, dtype=bool)
    for turn, share in ((0, 9), (11, 7), (24, 10), (37, 6), (50, 8)):
        cos, sin = direction(turn)
        mask = mask & (f.u * cos + f.v * sin <= f.r * share * _ONE // 10)
    return mask


def _curve(f: Frame, width: int) -> Mask:
    """A bent line."""
    return (abs(f.v - (f.u * f.u) // max(1, f.r) + f.r // 3) <= width) & (abs(f.u) <= f.r)


def _coil(f: Frame) -> Mask:
    outer = _ellipse(f, f.r, f.r) & ~_ellipse(f, f.r * 3 // 4, f.r * 3 // 4)
    inner = _ellipse(f, f.r // 2, f.r // 2, f.r // 6) & ~_ellipse(f, f.r // 4, f.r // 4, f.r // 6)
    return outer & ~((f.u > 0) & (abs(f.v) < f.r // 5)) | inner


SHAPES: dict[str, Callable[[Frame], Mask]] = {
    "ball": lambda f: _ellipse(f, f.r, f.r),
    "block": lambda f: _box(f, f.r * 4 // 5, f.r * 4 // 5),
    "slab": lambda f: _ellipse(f, f.r * 5 // 4, f.r) & _box(f, f.r * 11 // 10, f.r * 3 // 5),
    "stick": lambda f: _box(f, f.r * 5 // 4, f.r * 2 // 5),
    "strip": lambda f: (
        abs(f.v - (((f.u + 4 * f.r) // max(1, f.r * 2 // 3)) % 2) * (f.r // 5)) * (abs(f.u) <= f.r * 5 // 4)
        + 99 * (abs(f.u) > f.r * 5 // 4)
        <= f.r // 3
    ),
    "leaf": lambda f: (
        _ellipse(f, f.r * 5 // 4, f.r * 5 // 4, 0, f.r * 2 // 3)
        & _ellipse(f, f.r * 5 // 4, f.r * 5 // 4, 0, -f.r * 2 // 3)
    ),
    "rag": lambda f: _bumpy(f, 5, f.r * 2 // 5, f.r * 3 // 5) & ~_ellipse(f, f.r // 4, f.r // 4, f.r * 4 // 5),
    "drop": lambda f: (
        _ellipse(f, f.r * 3 // 5, f.r * 3 // 5, f.r // 3)
        | ((abs(f.v) * 8 <= (f.u + f.r) * 5) & (f.u <= f.r // 4) & (f.u >= -f.r))
    ),
    "crescent": lambda f: _ellipse(f, f.r, f.r) & ~_ellipse(f, f.r, f.r, 0, -f.r * 3 // 5),
    "ring": lambda f: _ellipse(f, f.r, f.r) & ~_ellipse(f, f.r * 2 // 5, f.r * 2 // 5),
    "cap": lambda f: (_ellipse(f, f.r, f.r) & (f.v <= 0)) | (_box(f, f.r // 3, f.r) & (f.v >= 0)),
    "tree": lambda f: (
        _bumpy(Frame(f.u, f.v + f.r // 3, f.r), 7, f.r // 3, f.r // 2) | (_box(f, f.r // 4, f.r) & (f.v > 0))
    ),
    "pool": lambda f: _bumpy(f, 6, f.r * 2 // 5, f.r * 3 // 4),
    "pile": lambda f: _ellipse(f, max(2, f.r // 3), max(2, f.r // 3)),
    "heap": lambda f: _ellipse(f, f.r, f.r * 3 // 4),
    "strand": lambda f: _curve(f, max(1, f.r // 6)),
    "needle": lambda f: _box(f, f.r, max(1, f.r // 8)),
    "grain": lambda f: _ellipse(f, f.r * 2 // 5, max(2, f.r // 5)),
    "bead": lambda f: _ellipse(f, max(3, f.r * 2 // 5), max(3, f.r * 2 // 5)),
    "speck": lambda f: _ellipse(f, max(2, f.r // 4), max(2, f.r // 5)),
    # what is left when it was cut
    "chunks": _chunk,
    "slices": lambda f: _ellipse(f, f.r, f.r * 3 // 5),
    "cubes": lambda f: _box(f, f.r // 2, f.r // 2),
    "specks": lambda f: _ellipse(f, max(2, f.r // 4), max(2, f.r // 4)),
    "shreds": lambda f: _curve(f, max(1, f.r // 7)),
    "halves": lambda f: _ellipse(f, f.r, f.r) & (f.v >= -f.r // 8),
    "wedges": lambda f: _ellipse(f, f.r * 2, f.r * 2, 0, -f.r) & (f.v * 2 >= abs(f.u) * 3 - f.r * 2) & (f.v <= f.r),
    "sticks": lambda f: _box(f, f.r, max(2, f.r // 6)),
    "lumps": lambda f: _bumpy(f, 7, f.r // 2, f.r * 3 // 5),
    "swirl": lambda f: _bumpy(f, 9, f.r // 4, f.r * 4 // 5),
    "crumbs": lambda f: _bumpy(f, 3, max(2, f.r // 4), f.r // 4),
    "rags": lambda f: _bumpy(f, 4, f.r // 2, f.r // 2) & ~_ellipse(f, f.r // 3, f.r // 3, -f.r * 4 // 5, f.r // 3),
    "coils": _coil,
    "curds": lambda f: _bumpy(f, 5, f.r // 2, f.r // 2),
    "runny": lambda f: _bumpy(f, 5, f.r // 3, f.r * 3 // 4) | (_box(f, f.r // 5, f.r) & (f.v > 0)),
}

TEXTURES: dict[str, Callable[[Frame], Mask]] = {
    "plain": lambda f: np.zeros(f.u.shape, dtype=bool),
    "gloss": lambda f: _ellipse(f, f.r // 2, f.r // 6, -f.r // 4, -f.r // 3),
    "grain": lambda f: (f.u * 7 + f.v * 13 + f.u * f.v * 3) % 5 == 0,
    "spots": lambda f: ((f.u + 64) % 8 < 3) & ((f.v + 64) % 8 < 3),
    "holes": lambda f: ((f.u + 60 + (f.v + 60) // 10 * 5) % 10 < 4) & ((f.v + 60) % 10 < 4),
    "stripes": lambda f: (f.u + 64) % 8 < 3,
    "net": lambda f: ((f.u + f.v + 64) % 8 < 2) | ((f.u - f.v + 64) % 8 < 2),
    "marble": lambda f: (f.u + (f.v * f.v) // max(1, f.r) + 64) % 9 < 2,
    "rings": lambda f: (f.u * f.u + f.v * f.v) * 9 // max(1, f.r * f.r) % 4 == 2,
    "rim": lambda f: f.u * f.u + f.v * f.v > f.r * f.r * 5 // 9,
    "core": lambda f: _ellipse(f, f.r * 2 // 5, f.r * 2 // 5),
    "seeds": lambda f: ((f.u * f.u + f.v * f.v) * 9 // max(1, f.r * f.r)).clip(0, 9) % 9 // 2 == 1,
    "segments": lambda f: (
        (abs(f.u) < f.r // 8 + 1) | (abs(f.v) < f.r // 8 + 1) | (f.u**2 + f.v**2 > f.r * f.r * 3 // 4)
    ),
    "veins": lambda f: (abs(f.v) < 1 + f.r // 10) | ((abs(f.v) + f.u + 64) % 7 < 1),
    "swirl": lambda f: (f.u * f.u + f.v * f.v + f.u * f.r) * 6 // max(1, f.r * f.r) % 2 == 0,
}
