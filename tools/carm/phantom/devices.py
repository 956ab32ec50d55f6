"""What does not belong to the patient: the scanner's table, leads, tubes, lines and implants, each rarely."""

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas

Array = NDArray[np.float64]
METAL_HU = 3000.0


def paint_table(canvas: Canvas, back_y: float, rng: np.random.Generator) -> None:
    """A carbon shell around foam under the patient, with a thin mattress; `back_y` is the lowest skin."""
    z = canvas.axis_mm(2)
    half = rng.uniform(190, 230)
    at = [0.0, back_y - 14.0, float(z.mean())]
    length = float(z[-1] - z[0])
    canvas.solid(at, [half, 10.0, length], -350.0, power=(8.0, 8.0))
    canvas.solid(at, [half - 2, 7.5, length], -930.0, power=(8.0, 8.0))


def paint_devices(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    """Draw which devices this person has, and paint them."""
    painters = (
        (_ecg, 0.2),
        (_tracheal_tube, 0.06),
        (_central_line, 0.1),
        (_pacemaker, 0.05),
        (_wires, 0.06),
        (_clips, 0.1),
    )
    for painter, share in painters:
        if rng.random() < share:
            painter(canvas, anatomy, trunk, rng)


def _skin(trunk: Trunk, z_mm: float, angle_deg: float, side: float) -> Array:
    outside = float(trunk.skin(z_mm)[4] - trunk.cage(z_mm)[4])
    return trunk.on_cage(z_mm, np.deg2rad(angle_deg), side, -0.8 * outside)


def _ecg(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    for side in SIDES.values():
        for level in (0.15, 0.9):
            at = _skin(trunk, trunk.t12_z * (level + rng.normal(0, 0.05)), rng.uniform(135, 155), side)
            canvas.solid(at, [5.0, 2.0, 5.0], METAL_HU)
            bends = np.cumsum(rng.normal([side * -8, 2, -40], [22, 3, 15], (4, 3)), axis=0)
            canvas.tube(np.concatenate([[at], at + bends]), 0.8, METAL_HU)


def _tracheal_tube(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    top = anatomy.spine(70.0) + np.array([0, 36, 0])
    end = anatomy.landmarks["Carina"] + np.array([2, 0, rng.uniform(20, 50)])
    canvas.tube([top, end], 5.0, 250.0)
    canvas.tube([top, end], 3.6, -980.0)
    canvas.tube([top + np.array([4, 0, 0]), end + np.array([4, 0, 0])], 0.7, 2000.0)


def _central_line(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    carina = anatomy.landmarks["Carina"]
    neck = anatomy.spine(50.0) + np.array([32, 24, 0])
    path = [
        neck,
        anatomy.spine(0.0) + np.array([30, 42, 0]),
        carina + np.array([24, 34, 14]),
        carina + np.array([26, 30, rng.uniform(-60, -20)]),
    ]
    canvas.tube(path, 1.1, 1800.0)


def _pacemaker(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    box = _skin(trunk, 0.16 * trunk.t12_z, 138.0, -1.0)
    canvas.solid(box, [22.0, 4.0, 24.0], METAL_HU, power=(3.0, 3.0))
    carina = anatomy.landmarks["Carina"]
    path = [
        box,
        carina + np.array([-30, 40, 45]),
        carina + np.array([24, 34, 10]),
        carina + np.array([24, 26, -50]),
        carina + np.array([-30, 48, -95]),
    ]
    canvas.tube(path, 1.2, METAL_HU)


def _wires(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    for level in np.linspace(0.18, 0.58, 6):
        at = trunk.on_cage(trunk.t12_z * level, np.pi, 1.0, 1.0)
        angles = np.linspace(0, 2 * np.pi, 9)
        ring = at + np.stack([10 * np.cos(angles), 2 + 0 * angles, 7 * np.sin(angles)], axis=-1)
        canvas.tube(ring, 0.6, METAL_HU)


def _clips(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    middle = np.array([rng.uniform(-60, 90), trunk.cage(trunk.t12_z)[1], trunk.t12_z * rng.uniform(0.3, 1.15)])
    for _ in range(rng.integers(2, 7)):
        at = middle + rng.normal(0, 12, 3)
        canvas.tube([at, at + rng.normal(0, 3, 3)], 0.7, METAL_HU)
