"""Procedural CT volumes that no C-arm network was trained on: other anatomy, other scales, and no anatomy at all.

What a loop has to say it does not know. Shapes and Hounsfield units are those of textbooks; no voxel of a real CT went
into them.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from loopwright.errors import UnknownName
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.parallel import start_threads
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.phantom.devices import METAL_HU, paint_table
from loopwright.tools.carm.phantom.flesh import FAT_HU, MUSCLE_HU
from loopwright.tools.carm.phantom.paint import Canvas
from loopwright.tools.carm.volume import Volume

Array = NDArray[np.float64]
_CORTEX, _MARROW_HU = (1100.0, 3.0), 180.0
_BONE = (_CORTEX, _MARROW_HU)
_SIDES = (-1.0, 1.0)
_VOXEL_MM = 2.5


def make_stranger(kind: str, seed: int) -> Case:
    """One volume of `kind`, one of `STRANGERS`; the same arguments give the same bytes.

    Only the kind `scale`, a phantom of another size, holds landmarks.

    Raises:
        UnknownName: no such kind.
    """
    if kind not in STRANGERS:
        raise UnknownName("kind of stranger", kind, STRANGERS)
    start_threads()
    case = STRANGERS[kind](np.random.default_rng([seed, list(STRANGERS).index(kind)]), seed)
    name = f"{kind}-{seed}"
    volume = Volume(hounsfield=case.volume.hounsfield, affine_world=case.volume.affine_world, name=name)
    return Case(name=name, volume=volume, landmarks=case.landmarks)


def _pelvis(rng: np.random.Generator, _: int) -> Case:
    """From L1 to the upper thighs: z = 0 is the top of the sacrum."""
    s, wide = rng.uniform(0.88, 1.12), rng.uniform(150, 200)
    canvas = _canvas([-230, -140, -260], [230, 160, 240])
    _hips(canvas, wide, s, rng)
    for n in range(5):
        _lumbar(canvas, np.array([0, -30 + 6 * n, 22 + 38 * n]) * s, s)
    canvas.bone_tube(np.array([[0, -42, 0], [0, -72, -50], [0, -66, -95]]) * s, np.array([46, 34, 12]) * s, *_BONE,
                     squash=(1.0, 1.9, 1.0))  # fmt: skip
    for side in _SIDES:
        _hip_bone(canvas, side, s)
        _femur(canvas, np.array([side * 88, -8, -112]) * s, side, s)
    for _ in range(rng.integers(6, 20)):
        at = rng.uniform([-0.6 * wide, -10, -40], [0.6 * wide, 60, 200])
        bend = rng.normal(0, 30, (2, 3)) * [1, 0.3, 0.8]
        canvas.tube([at, at + bend[0], at + bend[0] + bend[1]], rng.uniform(8, 20), rng.choice([-900.0, 30.0, 60.0]))
    return _case(canvas, rng)


def _legs(rng: np.random.Generator, _: int) -> Case:
    """Both legs from mid-thigh to the ankles: z = 0 is the knee."""
    s = rng.uniform(0.88, 1.12)
    canvas = _canvas([-230, -120, -300], [230, 120, 260])
    apart = rng.uniform(85, 125)
    for side in _SIDES:
        x = side * apart
        path = np.array([[x, 0, 280], [x, 0, 20], [x, -10, -110], [x, 0, -320]])
        for hu, layer in ((FAT_HU, rng.uniform(4, 16)), (MUSCLE_HU, 0.0)):
            canvas.tube(path, np.array([82, 56, 58, 36]) * s + layer, hu)
        canvas.bone_tube(path[:2] + np.array([0, 0, 10]), np.array([15, 17]) * s, *_BONE)
        for condyle in _SIDES:
            canvas.bone_solid([x + condyle * 21 * s, -2, 14], np.array([20, 28, 22]) * s, *_BONE)
        canvas.bone_solid([x, 38, 22], np.array([21, 9, 21]) * s, *_BONE)
        canvas.bone_tube([[x, 0, -14], [x, 4, -70], [x, 0, -320]], np.array([35, 15, 13]) * s, *_BONE)
        canvas.bone_tube([[x + side * 32, -14, -28], [x + side * 26, -8, -320]], np.array([8, 6]) * s, *_BONE)
    return _case(canvas, rng)


def _air(rng: np.random.Generator, _: int) -> Case:
    """Nobody on the table; in half of them no table either."""
    canvas = _canvas([-200, -120, -250], [200, 120, 250])
    if rng.random() < 0.5:
        paint_table(canvas, 0.0, rng)
    return _case(canvas, rng)


def _metal(rng: np.random.Generator, _: int) -> Case:
    """A block of water or plastic with rods, plates, balls and screws in it."""
    canvas = _canvas([-180, -120, -220], [180, 120, 220])
    canvas.solid([0, 0, 0], rng.uniform([110, 70, 150], [175, 110, 215]), rng.uniform(-50, 120), power=(3.0, 4.0))
    for _ in range(rng.integers(6, 30)):
        at, way = rng.uniform([-130, -60, -170], [130, 60, 170]), rng.normal(0, 45, 3)
        match rng.integers(3):
            case 0:
                canvas.tube([at, at + way], rng.uniform(1, 8), METAL_HU)
            case 1:
                canvas.solid(at, rng.uniform(3, 30, 3), METAL_HU, power=(8.0, 8.0))
            case _:
                canvas.solid(at, np.full(3, rng.uniform(4, 20)), METAL_HU)
    return _case(canvas, rng)


def _scale(rng: np.random.Generator, seed: int) -> Case:
    """A phantom about half or twice as large as a person, as a CT whose voxel size is wrong makes it."""
    factor = float(rng.choice([rng.uniform(0.35, 0.6), rng.uniform(1.7, 2.5)]))
    case = make_phantom(seed, truncated=False, voxel_mm=3.0)
    affine = np.diag([factor, factor, factor, 1.0]) @ case.volume.affine_world
    volume = Volume(hounsfield=case.volume.hounsfield, affine_world=affine, name=case.name)
    return Case(name=case.name, volume=volume, landmarks={n: factor * p for n, p in case.landmarks.items()})


def _noise(rng: np.random.Generator, _: int) -> Case:
    """A random field with a random correlation length, in a body's density."""
    canvas = _canvas([-180, -100, -200], [180, 100, 200], voxel_mm=4.0)
    field = ndimage.gaussian_filter(rng.standard_normal(canvas.field.shape), rng.uniform(0.7, 8.0))
    canvas.field[:] = rng.uniform(-200, 100) + rng.uniform(150, 700) * field / field.std()
    return _case(canvas, rng)


STRANGERS: Mapping[str, Callable[[np.random.Generator, int], Case]] = {
    "pelvis": _pelvis,
    "legs": _legs,
    "air": _air,
    "metal": _metal,
    "scale": _scale,
    "noise": _noise,
}
"""How each kind is made. New ones come last: a kind's place is part of its seed."""


def _hips(canvas: Canvas, wide: float, s: float, rng: np.random.Generator) -> None:
    """Fat and muscle of the abdomen, the hips and the upper thighs."""
    z = canvas.axis_mm(2)
    fat = rng.uniform(8, 45)
    waist = 0.84 + 0.16 * np.clip(1 - np.abs(z + 70) / 180, 0, 1)
    half = np.where(z > -150, waist * wide, 0.0)
    for hu, layer in ((FAT_HU, fat), (MUSCLE_HU, 0.0)):
        width = np.where(half > 0, half + layer, 0.0)
        deep = np.full_like(z, 95.0 * s + layer)
        canvas.stack(np.stack([0 * z, 0 * z, width, deep, deep, np.full_like(z, 2.5)], axis=-1), hu)
        for side in _SIDES:
            canvas.tube([[side * 90, 0, -120], [side * 95, 0, -300]], np.array([88, 76]) * s + layer, hu)


def _lumbar(canvas: Canvas, at: Array, s: float) -> None:
    canvas.bone_solid(at, np.array([25, 17, 14]) * s, *_BONE, power=(2.5, 6.0))
    canvas.bone_solid(at + np.array([0, -45, -8]) * s, np.array([4, 16, 11]) * s, *_BONE)
    for side in _SIDES:
        pedicle, process = [[18 * side, -20, 3], [16 * side, -34, 0]], [[18 * side, -28, 0], [46 * side, -32, 4]]
        canvas.bone_tube(at + s * np.array(pedicle), np.array([7, 7]) * s, *_BONE)
        canvas.bone_tube(at + s * np.array(process), np.array([6, 4]) * s, *_BONE)


def _hip_bone(canvas: Canvas, side: float, s: float) -> None:
    """Iliac wing, acetabulum and the ring of pubis and ischium."""

    def at(x: float, y: float, z: float) -> list[float]:
        return [side * x * s, y * s, z * s]

    joint, top, back = at(46, -62, -28), at(98, -18, 62), at(52, -78, 30)
    spine, cup, symphysis, seat = at(128, 42, 8), at(92, -6, -104), at(12, 44, -128), at(58, -40, -172)
    wing = [[joint, top, back], [joint, top, spine], [joint, spine, cup]]
    canvas.plate(wing, 4.0 * s, 750.0)
    canvas.bone_tube([back, top, spine], np.array([7, 8, 8]) * s, *_BONE)
    canvas.bone_tube([joint, cup], np.array([13, 18]) * s, *_BONE)
    canvas.bone_solid(cup, np.full(3, 34 * s), *_BONE)
    for path in ([cup, symphysis], [symphysis, seat], [seat, cup]):
        canvas.bone_tube(path, np.array([11, 9]) * s, *_BONE)


def _femur(canvas: Canvas, head: Array, side: float, s: float) -> None:
    trochanter = head + np.array([side * 52, -8, -18]) * s
    canvas.bone_solid(head, np.full(3, 24 * s), *_BONE)
    canvas.bone_tube([head, trochanter], np.array([16, 17]) * s, *_BONE)
    canvas.bone_solid(trochanter, np.array([17, 20, 24]) * s, *_BONE)
    canvas.bone_tube([trochanter, trochanter + np.array([-side * 4, 6, -200]) * s], np.array([17, 15]) * s, *_BONE)


def _canvas(low_mm: list[float], high_mm: list[float], voxel_mm: float = _VOXEL_MM) -> Canvas:
    shape = np.ceil((np.array(high_mm) - low_mm) / voxel_mm).astype(int)
    field = np.full(shape, -1000.0, dtype=np.float32)
    return Canvas(field, np.array(low_mm, dtype=np.float64) + voxel_mm / 2, voxel_mm)


def _case(canvas: Canvas, rng: np.random.Generator) -> Case:
    """What was painted, with grain, as a CT without landmarks."""
    table = rng.normal(size=(24, 24, 24)).astype(np.float32)
    for scale_mm in (60.0, 14.0, 5.0):
        canvas.texture(table, np.array([14.0, 9.0, 30.0]), scale_mm)
    affine = np.diag([canvas.voxel_mm] * 3 + [1.0])
    affine[:3, 3] = canvas.origin_mm
    hounsfield = np.clip(np.rint(canvas.field), -1024, 3071).astype(np.int16)
    return Case(name="", volume=Volume(hounsfield=hounsfield, affine_world=affine, name=""))
