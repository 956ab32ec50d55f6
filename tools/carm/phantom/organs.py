"""Soft tissue: skin, fat and muscle, lungs with their vessels, airway, heart and great vessels, and the abdomen."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas, inside_mm

Array = NDArray[np.float64]
FAT_HU, MUSCLE_HU, LIVER_HU = -100.0, 52.0, 62.0


def paint_envelope(canvas: Canvas, anatomy: Anatomy, trunk: Trunk) -> None:
    """Skin, fat and muscle of trunk, neck, head, shoulders and arms."""
    z = canvas.axis_mm(2)
    chin = anatomy.landmarks["Skull"][2] - 60
    for sections, hu, layer in ((trunk.skin(z), FAT_HU, 1.0), (trunk.muscle(z), MUSCLE_HU, 0.0)):
        sections[z > chin + 20, 2] = 0.0
        canvas.stack(sections, hu)
        _head(canvas, anatomy, hu, 4.0 * layer)
        for side in SIDES:
            _shoulder_flesh(canvas, anatomy, trunk, side, hu, layer)
            _arm_flesh(canvas, anatomy, side, hu, layer)
    if anatomy.is_female:
        _breasts(canvas, anatomy, trunk)


def _head(canvas: Canvas, anatomy: Anatomy, hu: float, layer_mm: float) -> None:
    s, centre = anatomy.scale**0.5, anatomy.landmarks["Skull"]
    canvas.solid(centre, np.array([78.0, 95.0, 75.0]) * s + layer_mm, hu)
    canvas.solid(centre + np.array([0, 34, -70]) * s, np.array([62.0, 58.0, 58.0]) * s + layer_mm, hu, power=(2.3, 2.5))


def _shoulder_flesh(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, side: str, hu: float, layer: float) -> None:
    x, s = SIDES[side], anatomy.scale
    bulk, fat = anatomy.muscle, layer * 0.55 * anatomy.fat_mm
    head, tip = anatomy.landmarks[f"{side} humeral head"], anatomy.landmarks[f"{side} scapular inferior angle"]
    neck = anatomy.spine(min(60.0, 0.5 * anatomy.spine_knots[0, 2])) + [x * 30, -8, 0]
    top = head + np.array([-x * 10, -12, 14]) * s
    canvas.tube([neck, top], [24 * bulk + fat, 26 * bulk + fat], hu, only_add=layer == 0)
    canvas.solid(head + [x * 4, 0, -6], np.array([40.0, 42.0, 44.0]) * s * bulk**0.5 + fat, hu, only_add=layer == 0)
    chest = trunk.on_cage(0.35 * trunk.t12_z, np.deg2rad(115), x, -8)
    canvas.tube([chest, head + [0, 6, -14]], [30 * bulk + fat, 34 * bulk + fat], hu, only_add=layer == 0)
    back = trunk.on_cage(0.45 * trunk.t12_z, np.deg2rad(70), x, -10)
    canvas.tube([back, head + [0, -14, -20]], [28 * bulk + fat, 32 * bulk + fat], hu, only_add=layer == 0)
    canvas.tube(
        [tip + [0, 0, -20], tip + [-x * 10, 2, 40], head + [-x * 34, -16, -20]],
        np.array([14, 20, 26]) + fat,
        hu,
        only_add=layer == 0,
    )
    chain = trunk.on_cage(trunk.t12_z * 0.12, np.deg2rad(150), x, -6)
    canvas.tube([chain, top + [0, 22, -12]], [20 * bulk + fat, 26 * bulk + fat], hu, only_add=layer == 0)


def _arm_flesh(canvas: Canvas, anatomy: Anatomy, side: str, hu: float, layer: float) -> None:
    head, elbow, wrist = (anatomy.landmarks[f"{side} {part}"] for part in ("humeral head", "elbow", "wrist"))
    girth = anatomy.scale * anatomy.muscle**0.6
    fat, thin = layer * 0.45 * anatomy.fat_mm, layer * 0.25 * anatomy.fat_mm
    upper = [head, head + 0.35 * (elbow - head), head + 0.7 * (elbow - head), elbow]
    canvas.tube(upper, np.array([38, 40, 38, 33]) * girth + fat, hu, only_add=layer == 0)
    lower = [elbow, elbow + 0.3 * (wrist - elbow), elbow + 0.75 * (wrist - elbow), wrist]
    canvas.tube(lower, np.array([34, 36, 26, 23]) * girth + thin, hu, only_add=layer == 0)
    along = (wrist - elbow) / max(float(np.linalg.norm(wrist - elbow)), 1.0)
    canvas.tube(
        [wrist, wrist + 70 * along, wrist + 130 * along], np.array([24, 28, 18]) * girth, hu, only_add=layer == 0
    )


def _breasts(canvas: Canvas, anatomy: Anatomy, trunk: Trunk) -> None:
    size = float(np.clip(46 + 7 * anatomy.build, 26, 75))
    for x in SIDES.values():
        at = trunk.on_cage(trunk.t12_z * 0.58, np.deg2rad(136), x, -22)
        canvas.solid(at, [size * 1.15, size * 0.75, size], FAT_HU, only_add=True)
        canvas.solid(at + [0, 6, -4], [size * 0.7, size * 0.45, size * 0.6], -10.0, only_add=True)


def paint_thorax(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, contrast: Array) -> None:
    """Lungs over the diaphragm's domes, what lies under them, vessels, airway, heart and great vessels.

    `contrast` holds the HU of venous, right-heart, left-heart and organ blood.
    """
    z = canvas.axis_mm(2)
    lung = trunk.inset(z, 10.0)
    lung[z > 26 * anatomy.scale, 2] = 0.0
    rib_end = 1.42 * trunk.t12_z
    lung[z < rib_end, 2] = 0.0
    spine = anatomy.spine(z)
    domes = np.array([_dome(anatomy, trunk, side, rng) for side in SIDES])
    level = trunk.level(z)
    septum = np.stack([spine[:, 0], np.interp(level, [0, 0.3, 1.0], [8.0, 5.0, 7.0])], axis=-1)
    lung_hu = float(rng.uniform(-885, -790))
    _cavity(canvas.field, canvas.origin_mm, canvas.voxel_mm, lung, septum, domes, lung_hu, -20.0)
    _abdomen(canvas, anatomy, trunk, domes, rng, contrast)
    _vessels(canvas, anatomy, trunk, rng, float(contrast[1]))
    _mediastinum(canvas, anatomy, trunk, rng, contrast)
    _airway(canvas, anatomy, trunk, rng)


def _dome(anatomy: Anatomy, trunk: Trunk, side: str, rng: np.random.Generator) -> Array:
    """x, y, z of the top, radii (lateral, medial, front, back) and how far the sides fall."""
    top = anatomy.landmarks[f"{side} hemidiaphragm"]
    section = trunk.inset(top[2], 10.0)
    lateral = max(30.0, section[2] - abs(top[0] - section[0]) + 6)
    front = max(30.0, section[1] + section[3] - top[1] + 12)
    back = max(40.0, top[1] - (section[1] - section[4]) + 4)
    fall = float(np.clip(-trunk.t12_z + top[2], 35, 110) * rng.uniform(0.6, 0.85))
    return np.array([*top, lateral, abs(top[0]) + 25, front, back, fall])


@njit(cache=True, fastmath=True, nogil=True)
def dome_z(dome: Array, x: float, y: float) -> float:
    """Height of one hemidiaphragm over (x, y)."""
    dx, dy = x - dome[0], y - dome[1]
    outward = dx * dome[0] > 0
    a = dx / (dome[3] if outward else dome[4])
    b = dy / (dome[5] if dy > 0 else dome[6])
    q = a * a + b * b
    side = 1.0 - np.sqrt(max(0.0, 1.0 - min(q, 1.0)))
    steep = 0.55 if dy > 0 and not outward else 1.0
    return dome[2] - dome[7] * side * steep


@njit(cache=True, fastmath=True, parallel=True)
def _cavity(field, origin, h, lung, septum, domes, lung_hu, under_hu):  # type: ignore[no-untyped-def]
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
                under = under_hu if above < 0 else 45.0
                mixed = air * hu + (1 - air) * under
                field[i, j, k] += (mixed - field[i, j, k]) * min(1.0, wall)


def _abdomen(
    canvas: Canvas, anatomy: Anatomy, trunk: Trunk, domes: Array, rng: np.random.Generator, contrast: Array
) -> None:
    s = anatomy.scale
    z = canvas.axis_mm(2)
    gut = trunk.muscle(z).copy()
    gut[:, 2:5] -= [14.0, 16.0, 34.0]
    below = z < 1.12 * trunk.t12_z
    gut[~below, 2] = 0.0
    canvas.stack(gut, -60.0)
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
        canvas.solid(stomach + [0, size[1] * (0.75 - 0.5 * share), 3], size * [0.8, share * 0.7, 0.8], -960.0)
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
            gas = [at + [0, 3, 0], at + bend[0] + [0, 3, 0]]
            canvas.tube(gas, radius * rng.uniform(0.35, 0.8), -900.0)


def _organ_under(
    canvas: Canvas, trunk: Trunk, dome: Array, side: float, hu: float, bottom_z: float, medial_mm: float
) -> None:
    sections = trunk.inset(canvas.axis_mm(2), 12.0)
    _under(canvas.field, canvas.origin_mm, canvas.voxel_mm, sections, dome, side, hu, bottom_z, medial_mm)


@njit(cache=True, fastmath=True, parallel=True)
def _under(field, origin, h, sections, dome, side, hu, bottom, medial):  # type: ignore[no-untyped-def]
    nx, ny, nz = field.shape
    for i in prange(nx):
        x = origin[0] + i * h
        lateral = side * x
        if lateral < medial:
            continue
        rise = max(0.0, 70.0 - lateral) * 0.75
        for j in range(ny):
            y = origin[1] + j * h
            top = dome_z(dome, x, y) - 3.0
            low = bottom + rise - 0.15 * (y - dome[1])
            for k in range(nz):
                z = origin[2] + k * h
                if z > top + h or z < low - h or field[i, j, k] < -500.0:
                    continue
                depth = min(inside_mm(x, y, sections[k]), min(0.8 * (top - z), 0.8 * (z - low)))
                coverage = 0.5 + depth / h
                if coverage > 0.0:
                    field[i, j, k] += (hu - field[i, j, k]) * min(1.0, coverage)


def _vessels(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, blood: float) -> None:
    """Branching pulmonary vessels from each hilum towards the pleura, thinner and fainter at each fork."""
    carina = anatomy.landmarks["Carina"]
    for x in SIDES.values():
        hilum = carina + np.array([x * 38, -2, -26 if x > 0 else -16])
        canvas.tube([carina + [x * 12, 6, -24], hilum], [13, 10], blood, only_add=True)
        canvas.solid(hilum, [13, 16, 20], 30.0, only_add=True)
        for _ in range(9):
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


def _mediastinum(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator, contrast: Array) -> None:
    s, carina = anatomy.scale, anatomy.landmarks["Carina"]
    vein, right, left = (float(v) for v in contrast[:3])

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(carina + np.array([x, y, z]) * s)

    inlet = anatomy.spine(20.0) + [0, 30, 0]
    canvas.tube([inlet, at(2, 12, 30), at(0, 14, -10)], np.array([24, 26, 26]) * s, 10.0, squash=(1.0, 0.75, 1.0))
    size = float(np.clip(rng.normal(1, 0.1), 0.75, 1.35)) * s
    base = min(anatomy.landmarks[f"{side} hemidiaphragm"][2] for side in SIDES)
    down = float(np.clip((base - carina[2]) * 0.62, -100, -48))
    heart = carina + np.array([-22.0 * s, 34 * s, down])
    axis = np.array([-0.62, 0.45, -0.64])
    second = np.cross(axis, [0, 1.0, 0])
    second /= np.linalg.norm(second)
    frame = np.stack([second, np.cross(axis, second), axis])
    canvas.solid(heart, np.array([53, 50, 68]) * size, -70.0, axes=frame, only_add=True)
    canvas.solid(heart, np.array([48, 45, 63]) * size, 45.0, axes=frame, only_add=True)
    canvas.solid(heart + np.array([42, -6, 4]) * size, np.array([30, 36, 44]) * size, right, only_add=True)
    canvas.solid(heart + np.array([-20, -4, -6]) * size, np.array([24, 24, 40]) * size, left, axes=frame, only_add=True)
    canvas.solid(heart + np.array([8, 22, -4]) * size, np.array([26, 22, 38]) * size, right, axes=frame, only_add=True)
    canvas.solid(heart + np.array([8, -26, 26]) * size, np.array([40, 24, 28]) * size, left, only_add=True)
    knob = rng.uniform(11, 15.5)
    arch = [at(8, 42, -40), at(16, 40, 0), at(8, 32, 22), at(-14, 10, 30), at(-26, -14, 20), at(-25, -24, -10)]
    descent = [anatomy.spine(z) + [-20 * s, 34 * s, 0] for z in np.linspace(carina[2] - 40, 1.3 * trunk.t12_z, 5)]
    canvas.tube([*arch, *descent], np.array([15, 15, 14, *[knob] * 2, *[12] * 6]) * s, left, only_add=True)
    if rng.random() < 0.4:
        canvas.tube(np.array(arch[3:5]) + [0, 0, 8], 4.0, 500.0)
    neck = anatomy.spine(70.0)
    for x in SIDES.values():
        canvas.tube(
            [at(x * 10, 20, 32), inlet + [x * 22, 2, 0], neck + [x * 28, 20, 0]],
            np.array([6, 5, 4]),
            left,
            only_add=True,
        )
        shoulder = anatomy.landmarks["Right humeral head" if x > 0 else "Left humeral head"]
        veins = [
            at(24, 34, 12),
            at(24 * x, 32, 36) + [x * 4, 0, 0],
            inlet + [x * 55, 18, -4],
            shoulder + [-x * 36, 10, -18],
        ]
        canvas.tube(veins, np.array([8, 8, 6, 5]), vein if x > 0 else right, only_add=True)
    canvas.tube([at(24, 34, 14), at(27, 30, -20), at(28, 22, -52)], np.array([9, 9, 10]) * s, vein, only_add=True)
    canvas.tube([at(-6, 40, -40), at(-16, 26, -16), at(-34, 4, -14)], np.array([14, 14, 11]) * s, right, only_add=True)
    canvas.tube([at(-10, 22, -22), at(22, 10, -24), at(40, 4, -28)], np.array([11, 11, 9]) * s, right, only_add=True)


def _airway(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    s, carina = anatomy.scale, anatomy.landmarks["Carina"]
    larynx = anatomy.spine(65.0 * s) + [0, 36, 0]
    pharynx = anatomy.spine(float(anatomy.spine_knots[0, 2]) - 5) + [0, 26, 0]
    width = rng.uniform(7.5, 10.5) * s
    straight = carina + [0, 0, 6]
    trachea = [pharynx, larynx, larynx + [0, 0, -25], 0.5 * (larynx + straight) + [0, -4, 0], straight]
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
    walls = [(trachea, [width, width, width, width, width])] + [
        (b, np.array([0.8, 0.72, 0.55, 0.3]) * width) for b in bronchi
    ]
    for path, radii in walls:
        canvas.tube(path, np.asarray(radii) + 1.8, 50.0, only_add=True)
    canvas.tube([larynx + [0, 8, 8], larynx + [0, 10, -10]], 13.0, 120.0, only_add=True)
    for path, radii in walls:
        canvas.tube(path, radii, -985.0)
    upper = carina + np.array([[16, -2, -18], [34, -4, -12], [44, -4, 4]]) * s
    canvas.tube(upper, np.array([5.0, 4.5, 3.0]) * s, -960.0)
