"""Draws vessels, and what was done to a dish as a whole: each finish in its own part of it, or thinly over all.

Lengths are in 256ths of the edge.
"""

from collections.abc import Callable, Iterable

import numpy as np

from loopwright.tools.recipe.kitchen.canvas import Canvas
from loopwright.tools.recipe.kitchen.draws import Draws, Ints
from loopwright.tools.recipe.kitchen.shapes import TURNS, Colour, along

_TABLES: tuple[Colour, ...] = ((112, 128, 116), (128, 116, 104), (104, 116, 134), (132, 124, 132))
_UNITS = 256


def draw_vessel(edge: int, vessel: str, draws: Draws) -> Canvas:
    """A new picture with an empty vessel on a table."""
    canvas = Canvas(edge, _TABLES[draws.below(len(_TABLES))])
    for radius, shape, colour in _VESSELS[vessel]:
        canvas.shape((edge // 2, edge // 2), radius * edge // _UNITS, 0, shape, colour)
    if vessel == "pan":
        canvas.shape((250 * edge // _UNITS, edge // 2), 26 * edge // _UNITS, 0, "stick", (40, 38, 40))
    return canvas


_VESSELS: dict[str, tuple[tuple[int, str, Colour], ...]] = {
    "plate": ((112, "ball", (244, 244, 240)), (96, "ball", (206, 210, 214)), (93, "ball", (224, 226, 228))),
    "bowl": ((114, "ball", (36, 66, 140)), (100, "ball", (90, 130, 200)), (95, "ball", (190, 204, 222))),
    "glass": ((112, "ball", (176, 226, 232)), (104, "ball", (222, 246, 250)), (96, "ball", (196, 222, 226))),
    "pan": ((108, "ball", (30, 30, 32)), (98, "ball", (82, 82, 86)), (94, "ball", (62, 62, 66))),
    "board": ((140, "block", (128, 84, 46)), (132, "block", (186, 138, 88))),
    "tin": ((138, "block", (150, 154, 160)), (126, "block", (96, 100, 106)), (122, "block", (176, 172, 166))),
}


def draw_finishes(canvas: Canvas, cues: Iterable[str], draws: Draws) -> None:
    """Every finish of `cues`, in one order."""
    for cue, paint in _FINISHES.items():
        if cue in cues:
            paint(canvas, draws)


def _at(canvas: Canvas, x: int, y: int) -> tuple[int, int]:
    return x * canvas.edge // _UNITS, y * canvas.edge // _UNITS


def _px(canvas: Canvas, length: int) -> int:
    return max(1, length * canvas.edge // _UNITS)


def _over(canvas: Canvas, draws: Draws, count: int) -> Ints:
    """(count, 2) places all over the dish."""
    turns, outs = draws.many(TURNS, count), draws.many(88 * 88, count)
    places = [along(128, 128, t, int(np.sqrt(o))) for t, o in zip(turns.tolist(), outs.tolist(), strict=True)]
    return np.array(places) * canvas.edge // _UNITS


def _film(canvas: Canvas, draws: Draws) -> None:
    canvas.shape(_at(canvas, 128, 128), _px(canvas, 88), 0, "lumps", (250, 236, 190))
    for turn in range(0, TURNS, 16):
        canvas.shape(_at(canvas, *along(128, 128, turn, 40)), _px(canvas, 44), turn, "strand", (226, 204, 144))


def _sprig(canvas: Canvas, draws: Draws) -> None:
    canvas.line([_at(canvas, 128, 34), _at(canvas, 128, 8)], _px(canvas, 2), (26, 84, 30))
    for x, y, turn in ((114, 18, 8), (142, 18, 24), (128, 10, 16)):
        canvas.piece(_at(canvas, x, y), _px(canvas, 13), turn, "leaf", "veins", ((38, 150, 50), (150, 230, 120)))


def _dots(canvas: Canvas, draws: Draws) -> None:
    for colour in ((255, 226, 40), (236, 40, 60), (60, 110, 240), (255, 255, 255)):
        canvas.dots(_over(canvas, draws, 16), _px(canvas, 5), colour)


def _zigzag(canvas: Canvas, draws: Draws) -> None:
    start = draws.between(34, 46)
    points = [_at(canvas, start + 26 * i, 70 if i % 2 else 188) for i in range(7)]
    canvas.line(points, _px(canvas, 1), (74, 28, 6))


def _powder(canvas: Canvas, draws: Draws) -> None:
    canvas.dots(_over(canvas, draws, 420), _px(canvas, 2), (255, 255, 255))


def _dollop(canvas: Canvas, draws: Draws) -> None:
    white: tuple[Colour, Colour] = ((255, 255, 255), (214, 218, 236))
    canvas.piece(_at(canvas, 220, 220), _px(canvas, 24), draws.below(TURNS), "pool", "swirl", white)
    canvas.piece(_at(canvas, 220, 214), _px(canvas, 12), draws.below(TURNS), "ball", "swirl", white)


def _crystals(canvas: Canvas, draws: Draws) -> None:
    for x, y in ((20, 20), (236, 20), (44, 12), (212, 12), (12, 44), (244, 44)):
        for turn in (0, 11, 21):
            canvas.shape(_at(canvas, x, y), _px(canvas, 13), turn + draws.below(4), "needle", (190, 236, 255))


def _spears(canvas: Canvas, draws: Draws) -> None:
    for y in (100, 156):
        left, right = _at(canvas, 6, y + draws.between(-6, 6)), _at(canvas, 250, y + draws.between(-6, 6))
        canvas.line([left, right], _px(canvas, 3), (96, 58, 22))
        canvas.line([left, right], _px(canvas, 1), (236, 196, 130))


def _ramekin(canvas: Canvas, draws: Draws) -> None:
    for radius, colour in ((28, (60, 60, 64)), (26, (240, 240, 236)), (20, (172, 30, 20)), (8, (220, 80, 50))):
        canvas.shape(_at(canvas, 32, 224), _px(canvas, radius), 0, "ball", colour)


def _rosettes(canvas: Canvas, draws: Draws) -> None:
    for turn in range(2, TURNS, 6):
        at = _at(canvas, *along(128, 128, turn, 104))
        canvas.piece(at, _px(canvas, 11), turn, "swirl", "swirl", ((255, 214, 232), (236, 140, 180)))


_FINISHES: dict[str, Callable[[Canvas, Draws], None]] = {
    "film": _film, "rosettes": _rosettes, "spears": _spears, "zigzag": _zigzag, "dots": _dots, "powder": _powder,
    "dollop": _dollop, "crystals": _crystals, "ramekin": _ramekin, "sprig": _sprig,
}  # fmt: skip
