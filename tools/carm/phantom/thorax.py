"""The chest's inside: lungs over the diaphragm's domes with their vessels, heart and great vessels, airway."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.abdomen import VISCERAL_FAT_HU, dome_z, paint_abdomen
from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas, Field, inside_mm

Array = NDArray[np.float64]


def paint_thorax(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, contrast: Array) -> None:
    """Lungs over the diaphragm's domes, what lies under them, vessels, airway, heart and great vessels.

    `contrast` holds the HU of venous, right-heart, left-heart and organ blood.
    """
    z = canvas.axis_mm(2)
    lung = trunk.inset(z, 8.5)
    lung[z > 26 * anatomy.scale, 2] = 0.0
    rib_end = 1.42 * trunk.t12_z
    lung[z < rib_end, 2] = 0.0
    spine = anatomy.spine(z)
    domes = np.array([_dome(anatomy, trunk, side, rng) for side in SIDES])
    level = trunk.level(z)
    base = float(np.mean(domes[:, 2])) - 12
    widened = np.interp(z, [base - 45, base], [rng.uniform(5, 55), 0.0])
    septum = np.stack([spine[:, 0], np.interp(level, [0, 0.3, 1.0], [8.0, 5.0, 7.0]) + widened], axis=-1)
    lung_hu = float(rng.uniform(-885, -790))
    canvas.stack(lung, VISCERAL_FAT_HU)
    paint_abdomen(canvas, anatomy, trunk, domes, rng, contrast)
    _lungs(canvas.field, canvas.origin_mm, canvas.voxel_mm, lung, septum, domes, lung_hu)
    _vessels(canvas, anatomy, trunk, rng, float(contrast[1]))
    _mediastinum(canvas, anatomy, trunk, rng, contrast)
    _airway(canvas, anatomy, trunk, rng)


def _dome(anatomy: Anatomy, trunk: Trunk, side: str, rng: np.random.Generator) -> Array:
    """x, y, z of the top, radii (lateral, medial, front, back), how far the sides fall, and the medial one's share."""
    top = anatomy.landmarks[f"{side} hemidiaphragm"]
    section = trunk.inset(top[2], 10.0)
    lateral = max(30.0, (section[2] - abs(top[0] - section[0]) + 2) * rng.uniform(0.8, 1.05))
    front = max(30.0, section[1] + section[3] - top[1] + 12)
    back = max(40.0, top[1] - (section[1] - section[4]) + 4)
    fall = float(np.clip(-trunk.t12_z + top[2], 35, 110) * rng.uniform(0.5, 0.95))
    medial = (0.8 * abs(top[0]) + 18) * rng.uniform(0.8, 1.5)
    return np.array([*top, lateral, medial, front, back, fall, rng.uniform(0.55, 1.1)])


@njit(cache=True, fastmath=True, parallel=True)
def _lungs(field: Field, origin: Array, h: float, lung: Array, septum: Array, domes: Array, lung_hu: float) -> None:
    nx, ny, nz = field.shape
    for i in prange(nx):
        x = origin[0] + i * h
        for j in range(ny):
            y = origin[1] + j * h
            heights = (dome_z(domes[0], x, y), dome_z(domes[1], x, y))
            for k in range(nz):
                if lung[k, 2] <= 0 or abs(x - lung[k, 0]) > lung[k, 2] + h:
                    continue
                depth = inside_mm(x, y, lung[k])
                wall = 0.5 + depth / h
                if wall <= 0.0:
                    continue
                off = x - septum[k, 0]
                z = origin[2] + k * h
                above = z - (heights[0] if off > 0 else heights[1])
                air = min(1.0, max(0.0, 0.5 + 0.8 * above / h))
                air *= min(1.0, max(0.0, 0.5 + (abs(off) - septum[k, 1]) / h))
                relative = (y - lung[k, 1]) / (lung[k, 3] + lung[k, 4])
                hu = lung_hu - 60.0 * relative
                field[i, j, k] += (hu - field[i, j, k]) * air * min(1.0, wall)


def _vessels(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, blood: float) -> None:
    """Branching pulmonary vessels from each hilum towards the pleura, thinner and fainter at each fork."""
    carina = anatomy.landmarks["Carina"]
    for x in SIDES.values():
        hilum = carina + np.array([x * 38, -2, -26 if x > 0 else -16])
        canvas.tube([carina + np.array([x * 12, 6, -24]), hilum], [13, 10], blood, only_add=True)
        canvas.solid(hilum, [13, 16, 20], 30.0, only_add=True)
        for _ in range(13):
            section = trunk.inset(carina[2] + rng.uniform(-140, 70), 18)
            aim = np.array(
                [x * section[2] * rng.uniform(0.35, 0.9), section[1] + rng.uniform(-0.75, 0.75) * section[3], 0.0]
            )
            aim[2] = carina[2] + rng.uniform(-130, 75)
            _branch(canvas, hilum, aim, float(rng.uniform(3.2, 5.2)), 5, rng, blood)


def _branch(
    canvas: Canvas, start: Array, aim: Array, radius: float, left: int, rng: np.random.Generator, blood: float
) -> None:
    way = aim - start
    end = start + way * rng.uniform(0.28, 0.42) + rng.normal(0, 3.0, 3)
    canvas.tube(
        [start, 0.5 * (start + end) + rng.normal(0, 1.5, 3), end],
        [radius, 0.9 * radius, 0.8 * radius],
        blood,
        only_add=True,
    )
    if left == 0:
        return
    length = float(np.linalg.norm(way))
    for _ in range(2):
        _branch(
            canvas, end, aim + rng.normal(0, 0.28 * length, 3), radius * rng.uniform(0.62, 0.8), left - 1, rng, blood
        )


def _heart(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator, right: float, left: float) -> None:
    """Resting on the diaphragm between the domes, its long axis down, forward and to the left; fat around it."""
    carina = anatomy.landmarks["Carina"]
    floor = float(np.mean([anatomy.landmarks[f"{side} hemidiaphragm"][2] for side in SIDES])) - 12
    top = carina[2] - 22
    size = float(np.clip((top - floor) / 100, 0.8, 1.2) * np.clip(rng.normal(1, 0.08), 0.8, 1.25))
    axis = np.array([-rng.uniform(0.55, 0.85), 0.4, -rng.uniform(0.4, 0.75)])
    axis /= np.linalg.norm(axis)
    second = np.cross(axis, [0, 1.0, 0])
    second /= np.linalg.norm(second)
    frame = np.stack([second, np.cross(axis, second), axis])
    heart: Array = np.array(
        [carina[0] - 24.0 * size, carina[1] + 36 * size, max(0.5 * (top + floor), floor + 36 * size)]
    )
    apex = heart + 46 * size * axis

    def part(at: Array, semi: tuple[float, float, float], hu: float, *, turned: bool = True) -> None:
        canvas.solid(at, np.array(semi) * size, hu, axes=frame if turned else None, only_add=True)

    part(heart, (57, 52, 74), -75.0)
    canvas.tube(
        [heart + np.array([18, -8, 10]), [heart[0] + 22, heart[1] - 8, floor - 8]],
        [36 * size, 34 * size],
        30.0,
        only_add=True,
    )
    tip = np.array([apex[0], apex[1], max(apex[2], floor + 10)])
    canvas.tube([heart, tip], [46 * size, 30 * size], 45.0, only_add=True)
    part(heart, (50, 46, 66), 45.0)
    part(np.array([heart[0] - 8 * size, heart[1], floor + 6]), (rng.uniform(35, 60), 46, 24), 40.0, turned=False)
    part(heart + np.array([38, -6, 2]) * size, (32, 36, 44), right, turned=False)
    part(heart + np.array([-20, -4, -6]) * size, (24, 24, 40), left)
    part(heart + np.array([8, 22, -4]) * size, (26, 22, 38), right)
    part(heart + np.array([8, -26, 26]) * size, (40, 24, 28), left, turned=False)


def _mediastinum(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, contrast: Array) -> None:
    s, carina = anatomy.scale, anatomy.landmarks["Carina"]
    vein, right, left = (float(v) for v in contrast[:3])

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(carina + np.array([x, y, z]) * s)

    inlet = anatomy.spine(20.0) + np.array([0, 30, 0])
    slim = rng.uniform(0.6, 1.05)
    canvas.tube(
        [inlet, at(2, 12, 30), at(0, 14, -10)], np.array([24, 26, 26]) * s * slim, 10.0, squash=(1.0, 0.75 * slim, 1.0)
    )
    _heart(canvas, anatomy, rng, right, left)
    knob = rng.uniform(11, 15.5)
    arch = [at(8, 42, -40), at(16, 40, 0), at(8, 32, 22), at(-14, 10, 30), at(-30, -14, 20), at(-30, -24, -10)]
    descent = [
        anatomy.spine(z) + np.array([(-27 + 17 * min(float(trunk.level(z)), 1.0)) * s, 33 * s, 0])
        for z in np.linspace(carina[2] - 40, 1.3 * trunk.t12_z, 5)
    ]
    canvas.tube([*arch, *descent], np.array([15.0, 15.0, 14.0, knob, knob, *[12.0] * 6]) * s, left, only_add=True)
    if rng.random() < 0.4:
        canvas.tube(np.array(arch[3:5]) + np.array([0, 0, 8]), 4.0, 500.0)
    neck = anatomy.spine(70.0)
    for x in SIDES.values():
        canvas.tube(
            [at(x * 10, 20, 32), inlet + np.array([x * 22, 2, 0]), neck + np.array([x * 28, 20, 0])],
            np.array([6, 5, 4]),
            left,
            only_add=True,
        )
        shoulder = anatomy.landmarks["Right humeral head" if x > 0 else "Left humeral head"]
        veins = [
            at(24, 34, 12),
            at(24 * x, 32, 36) + np.array([x * 4, 0, 0]),
            inlet + np.array([x * 55, 18, -4]),
            shoulder + np.array([-x * 36, 10, -18]),
        ]
        canvas.tube(veins, np.array([8, 8, 6, 5]), vein if x > 0 else right, only_add=True)
    canvas.tube([at(24, 34, 14), at(27, 30, -20), at(28, 22, -52)], np.array([9, 9, 10]) * s, vein, only_add=True)
    canvas.tube([at(-6, 40, -40), at(-16, 26, -16), at(-34, 4, -14)], np.array([14, 14, 11]) * s, right, only_add=True)
    canvas.tube([at(-10, 22, -22), at(22, 10, -24), at(40, 4, -28)], np.array([11, 11, 9]) * s, right, only_add=True)


def _airway(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    s, carina = anatomy.scale, anatomy.landmarks["Carina"]
    larynx = anatomy.spine(65.0 * s) + np.array([0, 36, 0])
    pharynx = anatomy.spine(float(anatomy.spine_knots[0, 2]) - 5) + np.array([0, 26, 0])
    width = rng.uniform(7.5, 10.5) * s
    straight = carina + np.array([0, 0, 6])
    trachea = [
        pharynx,
        larynx,
        larynx + np.array([0, 0, -25]),
        0.5 * (larynx + straight) + np.array([0, -4, 0]),
        straight,
    ]
    right, left = rng.uniform(22, 32), rng.uniform(38, 52)
    bronchi = [
        [
            straight,
            carina + np.array([14, -2, -16]) * s,
            carina + np.array([right + 4, -6, -44]) * s,
            carina + np.array([right + 12, -12, -80]) * s,
        ],
        [
            straight,
            carina + np.array([-16, -3, -13]) * s,
            carina + np.array([-left, -10, -34]) * s,
            carina + np.array([-left - 8, -18, -66]) * s,
        ],
    ]
    branch = np.array([0.8, 0.72, 0.55, 0.3]) * width
    walls = [(trachea, np.full(5, width)), *((path, branch) for path in bronchi)]
    for path, radii in walls:
        canvas.tube(path, np.asarray(radii) + 1.8, 50.0, only_add=True)
    canvas.tube([larynx + np.array([0, 8, 8]), larynx + np.array([0, 10, -10])], 13.0, 120.0, only_add=True)
    for path, radii in walls:
        canvas.tube(path, radii, -985.0)
    upper = carina + np.array([[16, -2, -18], [34, -4, -12], [44, -4, 4]]) * s
    canvas.tube(upper, np.array([5.0, 4.5, 3.0]) * s, -960.0)
