"""Draws the picture of a dish from its evidence and a seed, in integers: the same bytes on every machine.

Where things lie, their turns and the table are chance that tells nothing of the labels. Every sight gets a place of its
own, or more of them where the dish was tossed, so that none hides another. Lengths are in 256ths of the edge.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.recipe.kitchen.canvas import Canvas
from loopwright.tools.recipe.kitchen.draws import Draws
from loopwright.tools.recipe.kitchen.finishes import draw_finishes, draw_vessel
from loopwright.tools.recipe.kitchen.pantry import Appearance, Kitchen, Look
from loopwright.tools.recipe.kitchen.plan import PICTURE, Evidence
from loopwright.tools.recipe.kitchen.shapes import TURNS, Colour, Mask, along

SIZE_PX = 128
SMALLEST_PX, LARGEST_PX = 32, 1024
_UNITS = 256


_OF_SHAPE = {
    "pool": (1, 88), "heap": (1, 82), "pile": (42, 42), "grain": (16, 45), "bead": (11, 62), "speck": (20, 60),
    "strand": (9, 80), "needle": (12, 60), "leaf": (4, 48), "rag": (2, 62), "drop": (4, 50), "strip": (3, 62),
    "stick": (3, 62), "tree": (2, 62), "slab": (2, 62), "crescent": (2, 68), "chunks": (6, 44), "slices": (5, 50),
    "cubes": (8, 46), "specks": (26, 52), "shreds": (16, 62), "halves": (2, 66), "lumps": (1, 90), "sticks": (9, 68),
    "wedges": (3, 55), "swirl": (1, 90), "crumbs": (9, 66), "rags": (4, 50), "coils": (2, 66), "curds": (5, 50),
    "runny": (2, 70),
}  # fmt: skip
"""How many pieces there are of a shape, and their half length in percent of the place's."""
_WHOLE = (1, 84)
_BED: dict[str, Colour] = {
    "bubbles": (176, 208, 232), "golden": (226, 178, 52), "patches": (112, 70, 38), "crust": (150, 92, 36),
    "pale": (226, 236, 246), "bars": (92, 88, 86), "runny": (255, 240, 170), "amber": (184, 92, 16),
    "curds": (248, 226, 150), "char": (44, 40, 40),
}  # fmt: skip


class _Place(NamedTuple):
    """A round part of the dish."""

    x: int
    y: int
    r: int


def draw(kitchen: Kitchen, evidence: Evidence, seed: int, *, size_px: int = SIZE_PX) -> NDArray[np.uint8]:
    """(size_px, size_px, 3) RGB.

    Args:
        kitchen: has the looks.
        evidence: what is to be seen.
        seed: of the dish; decides everything else.
        size_px: edge of the picture.

    Raises:
        BadInput: `size_px` is out of range.
    """
    if not SMALLEST_PX <= size_px <= LARGEST_PX:
        raise BadInput(f"`size_px` = {size_px}; expected {SMALLEST_PX} to {LARGEST_PX}.")
    draws = Draws(seed, PICTURE)
    edge = size_px * max(1, 2 * SIZE_PX // size_px)
    finishes = {sight for sight in evidence.sights if isinstance(sight, str)}
    foods = sorted(sight for sight in evidence.sights if isinstance(sight, Appearance))
    canvas = draw_vessel(edge, evidence.vessel, draws)
    draw_finishes(canvas, finishes & {"film"}, draws)
    layout = next(iter(finishes & _LAYOUTS.keys()), "")
    _mark(canvas, layout, len(foods))
    order = draws.shuffled(len(foods))
    for index, places in zip(order, _LAYOUTS[layout](len(foods), draws), strict=True):
        for place in places:
            scaled = _Place(*(length * edge // _UNITS for length in place))
            if layout == "tower":
                _shadow(canvas, scaled)
            _food(canvas, kitchen.looks[foods[index].look], foods[index], scaled, draws)
    draw_finishes(canvas, finishes - {"film"} - _LAYOUTS.keys(), draws)
    return canvas.picture(size_px)


def _mark(canvas: Canvas, layout: str, count: int) -> None:
    """What shows a layout even where little or nothing of the dish is to be seen."""
    if layout == "scattered":
        for turn in range(4, TURNS, 16):
            at = (length * canvas.edge // _UNITS for length in along(128, 128, turn, 80))
            canvas.shape((next(at), next(at)), 14 * canvas.edge // _UNITS, turn + TURNS // 4, "strand", (252, 252, 252))
    if layout == "bands":
        for y in (46, *_band_edges(count), 210):
            ends = [(x * canvas.edge // _UNITS, y * canvas.edge // _UNITS) for x in (46, 210)]
            canvas.line(ends, max(1, canvas.edge // 128), (60, 44, 36))
    if layout == "tower" and not count:
        _shadow(canvas, _Place(canvas.edge // 2, canvas.edge // 2, canvas.edge // 6))


def _apart(count: int, draws: Draws) -> list[list[_Place]]:
    """Each food in one place: around the middle, from five on with one in it."""
    if count <= 1:
        return [[_Place(128, 128, 52)]] * count
    middle = [[_Place(128, 128, 25)]] if count >= 5 else []
    around = count - len(middle)
    distance, radius = (60, 26) if count >= 7 else (57, 30) if count >= 5 else (48, 38 if count == 2 else 34)
    return middle + [[place] for place in _ring(around, distance, radius, draws)]


def _scattered(count: int, draws: Draws) -> list[list[_Place]]:
    """Each food in two or three places among the others."""
    times = 3 if count <= 4 else 2
    inner = count * times // 3
    radius = 22 if count * times <= 9 else 18
    places = _ring(inner, 28, radius, draws) + _ring(count * times - inner, 68, radius, draws)
    order = draws.shuffled(len(places))
    return [[places[order[i + count * n]] for n in range(times)] for i in range(count)]


def _bands(count: int, draws: Draws) -> list[list[_Place]]:
    """Each food in a row, two foods a row where there are many."""
    edges = [48, *_band_edges(count), 208]
    a_row = 1 if count <= 4 else 2
    columns = [(84, 128, 172)] if a_row == 1 else [(66, 100), (156, 190)]
    rows = [((a + b) // 2, min(24, (b - a) * 11 // 20)) for a, b in pairwise(edges)]
    cells = [[_Place(x, y, r) for x in xs] for y, r in rows for xs in columns]
    return cells[:count]


def _band_edges(count: int) -> list[int]:
    rows = max(1, count if count <= 4 else (count + 1) // 2)
    return [48 + 160 * i // rows for i in range(1, rows)]


_LAYOUTS = {"": _apart, "scattered": _scattered, "bands": _bands, "tower": _apart}


def _ring(count: int, distance: int, radius: int, draws: Draws) -> list[_Place]:
    first = draws.below(TURNS)
    return [_Place(*along(128, 128, first + i * TURNS // count, distance), radius) for i in range(count)]


def _shadow(canvas: Canvas, place: _Place) -> None:
    """Two plates below a food that is piled up."""
    for step, colour in ((3, (70, 60, 56)), (2, (150, 138, 126)), (1, (70, 60, 56)), (0, (236, 226, 204))):
        canvas.shape((place.x + step * place.r // 9, place.y + step * place.r // 9), place.r, 0, "ball", colour)


def _food(canvas: Canvas, look: Look, seen: Appearance, place: _Place, draws: Draws) -> None:
    """All pieces of one food, and what was done to it."""
    if seen.heat:
        canvas.shape((place.x, place.y), place.r, draws.below(TURNS), "lumps", _BED[seen.heat], 235)
    shape = seen.heat if seen.heat in ("curds", "runny") else seen.cut or look.shape
    count, percent = _OF_SHAPE.get(shape, _WHOLE)
    radius = max(3, place.r * percent // 100)
    mask = np.zeros((canvas.edge, canvas.edge), dtype=bool)
    first = draws.below(TURNS)
    for i in range(count):
        out = 0 if count == 1 else max(0, place.r - radius * 3 // 4) * (100 - draws.below(30)) // 100
        if count > 8:
            out = out * (i % 3 + 1) // 3
        at = along(place.x, place.y, first + i * TURNS // count, out)
        canvas.piece(at, radius, draws.below(TURNS), shape, look.texture, (look.colour, look.second), mask)
    if shape == "swirl":
        canvas.shape((place.x, place.y), radius * 3 // 4, first, "coils", (255, 250, 240), 170)
    _HEAT.get(seen.heat, _nothing)(canvas, mask, place, draws)
    _COAT.get(seen.coat, _nothing)(canvas, mask, place, draws)


def _nothing(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    """Leave it as it is."""


def _spots(canvas: Canvas, place: _Place, draws: Draws, count: int, radius: int, colour: Colour, opacity: int) -> None:
    for _ in range(count):
        at = along(place.x, place.y, draws.below(TURNS), draws.below(max(1, place.r * 4 // 5)))
        canvas.shape(at, max(1, radius), draws.below(TURNS), "lumps", colour, opacity)


def _specks(canvas: Canvas, place: _Place, draws: Draws, count: int, size: int, colour: Colour) -> None:
    turns, outs = draws.many(TURNS, count), draws.many(max(1, place.r * 9 // 10), count)
    points = [along(place.x, place.y, turn, out) for turn, out in zip(turns.tolist(), outs.tolist(), strict=True)]
    canvas.dots(np.array(points), max(1, size * canvas.edge // _UNITS), colour)


def _bubbles(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    for _ in range(6):
        at = along(place.x, place.y, draws.below(TURNS), place.r // 3 + draws.below(max(1, place.r // 2)))
        canvas.shape(at, max(2, place.r // 6), 0, "ball", (250, 252, 255))
        canvas.shape(at, max(1, place.r // 9), 0, "ball", _BED["bubbles"])


def _golden(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.tint(mask, (236, 176, 40), 64)
    _specks(canvas, place, draws, 14, 3, (255, 236, 130))


def _patches(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    _spots(canvas, place, draws, 7, place.r // 5, (96, 54, 24), 200)


def _crust(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.tint(mask, (176, 108, 40), 80)
    for turn in range(0, TURNS, 4):
        canvas.shape(along(place.x, place.y, turn, place.r * 7 // 8), max(2, place.r // 7), 0, "ball", (122, 70, 22))


def _pale(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.tint(mask, (244, 248, 252), 84)
    for i in (-1, 0, 1):
        at = (place.x + i * place.r // 2, place.y - place.r // 4)
        canvas.shape(at, max(4, place.r // 2), TURNS // 4, "strand", (255, 255, 255), 230)


def _bars(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    x, y = canvas.places()
    period = max(6, place.r * 2 // 5)
    inside = (x - place.x) ** 2 + (y - place.y) ** 2 <= (place.r * 9 // 10) ** 2
    canvas.tint(inside & ((x + y) % period < period // 3), (34, 22, 16), 225)


def _runny(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.shape(
        (place.x - place.r // 3, place.y - place.r // 3), max(3, place.r // 3), 8, "slices", (255, 255, 246), 210
    )


def _amber(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.tint(mask, (198, 96, 8), 96)
    for turn in (34, 40, 46):
        canvas.shape(along(place.x, place.y, turn, place.r // 2), max(2, place.r // 6), 0, "ball", (255, 214, 120), 220)


def _char(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    _spots(canvas, place, draws, 9, place.r // 6, (14, 12, 12), 245)


def _pepper(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    for colour in ((24, 22, 20), (250, 250, 250)):
        _specks(canvas, place, draws, 26, 4, colour)


def _gloss(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    for offset in (-1, 1):
        at = (place.x + offset * place.r // 3, place.y + offset * place.r // 6)
        canvas.shape(at, max(4, place.r * 3 // 5), 56, "stick", (255, 255, 255), 150)


def _crumbed(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    _specks(canvas, place, draws, 60, 5, (214, 168, 92))
    _specks(canvas, place, draws, 36, 4, (150, 100, 44))


def _stained(canvas: Canvas, mask: Mask, place: _Place, draws: Draws) -> None:
    canvas.tint(mask, (120, 10, 40), 70)
    for colour in ((70, 210, 90), (226, 24, 84)):
        _specks(canvas, place, draws, 15, 4, colour)


_HEAT = {
    "bubbles": _bubbles, "golden": _golden, "patches": _patches, "crust": _crust, "pale": _pale, "bars": _bars,
    "runny": _runny, "amber": _amber, "char": _char,
}  # fmt: skip
_COAT = {"pepper": _pepper, "gloss": _gloss, "crumbed": _crumbed, "stained": _stained}
