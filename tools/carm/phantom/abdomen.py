"""What lies under the diaphragm: liver, spleen, stomach, kidneys and bowel with its gas."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas, Field, inside_mm

Array = NDArray[np.float64]
VISCERAL_FAT_HU = -70.0


def paint_abdomen(
    canvas: Canvas, anatomy: Anatomy, trunk: Trunk, domes: Array, rng: np.random.Generator, contrast: Array
) -> None:
    """Fat and organs below the domes (see `thorax`), filled from the domes down to the pelvis."""
    s = anatomy.scale
    z = canvas.axis_mm(2)
    gut = trunk.muscle(z).copy()
    ramp = np.clip((trunk.level(z) - 0.95) / 0.3, 0, 1)[:, None]
    gut[:, 2:5] = (gut[:, 2:5] - [14.0, 16.0, 34.0]) * (0.75 + 0.25 * ramp)
    gut[ramp[:, 0] == 0, 2] = 0.0
    canvas.stack(gut, VISCERAL_FAT_HU)
    right, left = domes[0], domes[1]
    liver_hu = float(rng.normal(58, 8) + contrast[3])
    depth = rng.uniform(95, 150) * s
    _organ_under(canvas, trunk, right, 1.0, liver_hu, right[2] - depth, rng.uniform(-70, -30))
    _organ_under(canvas, trunk, left, -1.0, 45.0, left[2] - rng.uniform(45, 80) * s, 20.0)
    spleen = left[:3] + np.array([-18, -32, -48]) * s
    canvas.solid(spleen, np.array([30, 34, 50]) * s * rng.uniform(0.85, 1.15), 52 + contrast[3])
    stomach = left[:3] + np.array([18, 2, -42]) * s
    size = np.array([40, 38, 40]) * s * rng.uniform(0.7, 1.1)
    canvas.solid(stomach, size, 38.0)
    if rng.random() < 0.75:
        share = rng.uniform(0.35, 0.8)
        canvas.solid(stomach + np.array([0, size[1] * (0.75 - 0.5 * share), 3]), size * [0.8, share * 0.7, 0.8], -960.0)
    for x in SIDES.values():
        kidney = anatomy.spine(trunk.t12_z * 1.17 - (8 if x > 0 else -4)) + np.array([x * 58, 14, 0])
        tilt = np.array([[1, 0, x * 0.25], [0, 1, 0], [-x * 0.25, 0, 1]]) / 1.03
        canvas.solid(kidney, np.array([28, 25, 54]) * s, 35 + 1.5 * contrast[3], axes=tilt)
    for _ in range(rng.integers(4, 26)):
        level = rng.uniform(1.05, 1.6)
        section = trunk.muscle(trunk.t12_z * level)
        at = np.array(
            [
                rng.uniform(-0.75, 0.75) * section[2],
                section[1] + rng.uniform(-0.1, 0.6) * section[3],
                trunk.t12_z * level,
            ]
        )
        radius = rng.uniform(8, 24)
        bend = rng.normal(0, 28, (2, 3)) * [1, 0.3, 0.7]
        canvas.tube([at, at + bend[0], at + bend[0] + bend[1]], radius, rng.uniform(10, 50))
        if rng.random() < 0.5:
            gas = [at + np.array([0, 3, 0]), at + bend[0] + np.array([0, 3, 0])]
            canvas.tube(gas, radius * rng.uniform(0.35, 0.8), -900.0)


@njit(fastmath=True, nogil=True, forceinline=True)
def dome_z(dome: Array, x: float, y: float) -> float:
    """Height of one hemidiaphragm over (x, y)."""
    dx, dy = x - dome[0], y - dome[1]
    outward = dx * dome[0] > 0
    a = dx / (dome[3] if outward else dome[4])
    b = dy / (dome[5] if dy > 0 else dome[6])
    q = a * a + b * b
    over, q = max(0.0, q - 1.0), min(q, 1.0)
    side = 0.45 * q + 0.55 * (1.0 - np.sqrt(1.0 - q))
    inner = dome[8] - 0.1 * min(1.0, max(-1.0, dy / 40.0))
    lateral = min(1.0, max(0.0, 0.5 + np.sign(dome[0]) * dx / 60.0))
    steep = inner + (1.0 - inner) * lateral * lateral * (3.0 - 2.0 * lateral)
    return float(dome[2] - dome[7] * (side * steep + lateral * min(0.6, 0.8 * over)))


def _organ_under(
    canvas: Canvas, trunk: Trunk, dome: Array, side: float, hu: float, bottom_z: float, medial_mm: float
) -> None:
    sections = trunk.inset(canvas.axis_mm(2), 12.0)
    _under(canvas.field, canvas.origin_mm, canvas.voxel_mm, sections, dome, side, hu, bottom_z, medial_mm)


@njit(cache=True, fastmath=True, parallel=True)
def _under(
    field: Field,
    origin: Array,
    h: float,
    sections: Array,
    dome: Array,
    side: float,
    hu: float,
    bottom: float,
    medial: float,
) -> None:
    nx, ny, nz = field.shape
    for i in prange(nx):
        x = origin[0] + i * h
        lateral = side * x
        if lateral < medial:
            continue
        rise = max(0.0, 70.0 - lateral) * 0.75
        for j in range(ny):
            y = origin[1] + j * h
            top = dome_z(dome, x, y) - 1.0
            low = bottom + rise - 0.15 * (y - dome[1])
            for k in range(nz):
                z = origin[2] + k * h
                if z > top + h or z < low - h:
                    continue
                depth = min(inside_mm(x, y, sections[k]), min(0.8 * (top - z), 0.8 * (z - low)))
                coverage = 0.5 + depth / h
                if coverage > 0.0:
                    field[i, j, k] += (hu - field[i, j, k]) * min(1.0, coverage)
