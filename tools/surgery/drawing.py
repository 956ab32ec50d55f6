"""Draws what a simulated patient's endoscope sees: organs, adhesions, duct and artery, clips, blood, instruments.

The patient (colours, shapes) and the view (camera, light, where instruments reach in) are drawn by seed; what is
visible (`VisibleState`) and the instruments are shown always. Left and right are the picture's.
"""

import zlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.surgery.canvas import Array, Canvas, Colour, curve, ellipse, moved, scaled, shade
from loopwright.tools.surgery.instruments import draw_instrument
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.simulator import Moment

SIZE_PX = 128
"""The edge of a frame by default: what the small base sees."""


class Scene(NamedTuple):
    """A frame, and where in it the instruments' tips are."""

    pixels: NDArray[np.uint8]
    """(size, size, 3)."""
    tips: dict[str, tuple[float, float]]
    """Instrument to right and down, each in [-1, 1]; those beyond the frame are not in it."""


class _Patient(NamedTuple):
    """How one patient looks."""

    tissue: Colour
    liver: Colour
    gallbladder: Colour
    fat: Colour
    wobble: Array
    """(16,) in scene units: how shapes differ from the usual."""


_TISSUE, _LIVER, _GALLBLADDER, _FAT = (205, 118, 105), (128, 52, 44), (126, 160, 136), (232, 196, 104)
_DUCT, _ARTERY, _CLIP = (196, 192, 128), (216, 74, 70), (228, 232, 240)
_RIM, _BED, _WEB, _BLOOD, _POOL = (178, 104, 64), (88, 22, 20), (246, 232, 222), (224, 8, 14), (122, 0, 8)
_DUCT_WAY = ((0.50, 0.60), (0.62, 0.68), (0.76, 0.73), (0.90, 0.83))
_ARTERY_WAY = ((0.54, 0.50), (0.66, 0.53), (0.80, 0.56), (0.95, 0.60))


def draw_moment(moment: Moment, *, frame: int = 0, size_px: int = SIZE_PX) -> NDArray[np.uint8]:
    """(size, size, 3) uint8: the frame at the end of a simulated clip; `frame` counts further views of that moment."""
    patient, view = patient_seed(moment.clip.video), (moment.clip.index, frame)
    return draw_scene(moment.state, moment.clip.instruments, patient=patient, view=view, size_px=size_px).pixels


def patient_seed(video: str) -> int:
    """The seed of a simulated patient's looks, by the video's name."""
    return zlib.crc32(video.encode())


def draw_scene(
    state: VisibleState,
    instruments: Collection[str],
    *,
    patient: int = 0,
    view: tuple[int, ...] = (0,),
    size_px: int = SIZE_PX,
) -> Scene:
    """What the endoscope sees.

    Args:
        state: of the patient.
        instruments: in view, by their names in the vocabulary.
        patient: seed of the patient's looks.
        view: seed of camera and light.
        size_px: edge of the frame.
    """
    looks = _patient(np.random.default_rng(patient))
    rng = np.random.default_rng([patient, *view])
    canvas = Canvas(
        size_px,
        looks.tissue,
        turn_deg=float(rng.normal(0, 5)),
        zoom=float(rng.uniform(0.96, 1.1)),
        shift_scene=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
    )
    _background(canvas, looks, rng)
    if state.bleeding == "pooling":
        _pool(canvas, rng)
    _gallbladder(canvas, looks, state)
    _vessels(canvas, looks, state)
    _adhesions(canvas, looks, state, rng)
    if state.bleeding == "oozing":
        _ooze(canvas, state, rng)
    others = sorted(set(instruments) - {"grasper"})
    tips: dict[str, tuple[float, float]] = {}
    for place, name in enumerate(["grasper" if "grasper" in instruments else None, *others]):
        if name is not None:
            right, down = canvas.seen(draw_instrument(canvas, name, place, rng))
            if max(abs(right), abs(down)) <= 1:
                tips[name] = right, down
    pixels = canvas.finished(
        light=float(rng.uniform(0.88, 1.1)), noise=rng.normal(0, 9, (9, 9)), dark_edge=float(rng.uniform(0.5, 0.75))
    )
    return Scene(pixels, tips)


def _patient(rng: np.random.Generator) -> _Patient:
    def tinted(colour: Colour) -> Colour:
        red, green, blue = (int(np.clip(value + rng.normal(0, 7), 0, 255)) for value in colour)
        return red, green, blue

    return _Patient(
        tissue=tinted(_TISSUE),
        liver=tinted(_LIVER),
        gallbladder=tinted(_GALLBLADDER),
        fat=tinted(_FAT),
        wobble=rng.normal(0, 0.012, 16),
    )


def _background(canvas: Canvas, looks: _Patient, rng: np.random.Generator) -> None:
    for x, y, size in rng.uniform((0, 0.5, 0.05), (1, 1, 0.16), (4, 3)):
        spot = ellipse((float(x), float(y)), (float(size), 0.6 * float(size)), float(rng.uniform(0, 180)))
        canvas.fill(spot, shade(looks.tissue, float(rng.uniform(0.88, 1.12))), opacity=0.6, blur_scene=0.02)
    w = looks.wobble
    edge = [(-0.3, 0.46 + w[0]), (0.1, 0.44 + w[1]), (0.4, 0.36 + w[2]), (0.7, 0.32 + w[3]), (1.3, 0.34 + w[4])]
    canvas.fill([*curve(edge), (1.3, -0.3), (-0.3, -0.3)], looks.liver)
    canvas.line(curve(edge), 0.012, shade(looks.liver, 0.6))
    canvas.line(curve(np.array(edge) - (0.0, 0.07)), 0.012, shade(looks.liver, 1.25))


def _gallbladder(canvas: Canvas, looks: _Patient, state: VisibleState) -> None:
    """A sac under the liver that swings down about its neck as it comes off; where it was, the raw bed shows."""
    off = state.thirds_detached / 3
    w = looks.wobble
    if off:
        bed = curve([(0.10, 0.30), (0.30, 0.20), (0.52, 0.28), (0.50, 0.42), (0.28, 0.46)], closed=True)
        shown = scaled(bed, 0.5 + 0.5 * off)
        canvas.fill(moved(shown, 0.0, 0.02), _RIM)
        canvas.fill(shown, _BED)
    body = [(0.06, 0.34), (0.22, 0.24), (0.42, 0.34), (0.55, 0.52), (0.50, 0.62), (0.34, 0.60), (0.14, 0.52)]
    neck = np.array([0.53, 0.58])
    turn = np.radians(-42 * off)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    sac = curve((np.array(body) + w[:14].reshape(7, 2) - neck) @ turned.T + neck, closed=True)
    canvas.fill(sac, shade(looks.gallbladder, 0.55))
    canvas.fill(scaled(sac, 0.93), looks.gallbladder)
    canvas.fill(moved(scaled(sac, 0.35), -0.05, -0.05), shade(looks.gallbladder, 1.25), opacity=0.6, blur_scene=0.02)


def _vessels(canvas: Canvas, looks: _Patient, state: VisibleState) -> None:
    duct, artery = curve(_DUCT_WAY), curve(_ARTERY_WAY)
    for way, width, colour, is_clipped in (
        (artery, 0.034, _ARTERY, state.vessels_clipped >= 1),
        (duct, 0.052, _DUCT, state.vessels_clipped == 2),
    ):
        if not is_clipped:
            canvas.tube(way, width, colour)
            continue
        cut = len(way) // 2
        canvas.tube(way[: cut - 3], width, colour)
        canvas.tube(way[cut + 2 :], width, colour)
        for place in (cut - 6, cut + 4, cut + 8):
            _clip(canvas, way, place, 1.9 * width)
    if state.exposure < 2:
        left = (0.50, 0.75)[state.exposure]
        outline = [(0.50, 0.50), (0.72, 0.45), (0.98, 0.50), (1.02, 0.72), (0.94, 0.92), (0.78, 0.84), (0.50, 0.66)]
        fat = curve([(max(x, left), y) for x, y in outline], closed=True)
        canvas.fill(fat, shade(looks.fat, 0.75))
        canvas.fill(scaled(fat, 0.93), looks.fat)
        for x, y in ((0.25, 0.3), (0.6, 0.35), (0.4, 0.7), (0.75, 0.7)):
            lobe = fat.min(axis=0) + np.array([x, y]) * np.ptp(fat, axis=0)
            crease = [lobe, lobe + np.array([0.03, 0.02]), lobe + np.array([0.07, 0.0])]
            canvas.line(curve(np.array(crease)), 0.008, shade(looks.fat, 0.8))


def _clip(canvas: Canvas, way: Array, place: int, length: float) -> None:
    """A metal clip across a vessel."""
    along = way[place + 1] - way[place - 1]
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * length / 2
    ends = [way[place] - across, way[place] + across]
    canvas.line(ends, 0.028, (60, 62, 70))
    canvas.line(ends, 0.018, _CLIP)


def _adhesions(canvas: Canvas, looks: _Patient, state: VisibleState, rng: np.random.Generator) -> None:
    """Pale strands over the gallbladder; dense ones bring an apron of fat with them."""
    if state.adhesions == 2:
        apron = [(-0.1, 0.60), (0.08, 0.42), (0.24, 0.50), (0.36, 0.42), (0.50, 0.52), (0.48, 0.76), (0.2, 0.9)]
        edge = curve(np.array([*apron, (-0.1, 0.9)]) + rng.normal(0, 0.01, (8, 2)), closed=True)
        canvas.fill(edge, shade(looks.fat, 0.78))
        canvas.fill(moved(edge, 0.0, 0.025), shade(looks.fat, 0.95))
    for i in range(3 * state.adhesions):
        x = 0.10 + 0.40 * (i + 0.5) / (3 * state.adhesions) + float(rng.normal(0, 0.015))
        strand = [(x - 0.03, 0.30 + 0.1 * x), (x, 0.50), (x + 0.05, 0.74 + float(rng.normal(0, 0.02)))]
        canvas.line(curve(strand), 0.022, shade(_WEB, 0.75))
        canvas.line(curve(strand), 0.014, _WEB)


def _ooze(canvas: Canvas, state: VisibleState, rng: np.random.Generator) -> None:
    """Bright trickles from where the work is: the triangle before the clipping, the liver bed after it."""
    x, y = (0.62, 0.55) if state.vessels_clipped < 2 else (0.36, 0.34)
    for i in range(5):
        top = np.array([x - 0.12 + 0.06 * i + float(rng.normal(0, 0.015)), y + float(rng.normal(0, 0.02))])
        length, bend = float(rng.uniform(0.10, 0.32)), float(rng.normal(0, 0.02))
        trickle = curve(np.array([top, top + np.array([bend, 0.4 * length]), top + np.array([-bend, length])]))
        canvas.line(trickle, float(rng.uniform(0.018, 0.034)), _BLOOD)
        canvas.fill(ellipse((float(trickle[-1, 0]), float(trickle[-1, 1])), (0.026, 0.034)), _BLOOD)
    canvas.fill(ellipse((x, y), (0.17, 0.045), float(rng.normal(0, 8))), _BLOOD, opacity=0.9, blur_scene=0.006)


def _pool(canvas: Canvas, rng: np.random.Generator) -> None:
    """A dark lake that covers the bottom of the view."""
    top = [(-0.3, 0.74), (0.1, 0.70), (0.4, 0.75), (0.7, 0.71), (1.3, 0.76)]
    lake = curve(np.array(top) + rng.normal(0, 0.015, (5, 2)))
    canvas.fill([*lake, (1.3, 1.4), (-0.3, 1.4)], _POOL)
    canvas.line(lake, 0.014, _BLOOD)
    for x, y in rng.uniform((0.1, 0.8), (0.9, 0.95), (3, 2)):
        canvas.line([(x, y), (x + 0.09, y + 0.005)], 0.012, (214, 120, 120))
