"""The axial skeleton: vertebrae, ribs, sternum and skull, placed by the landmarks of a person."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.limbs import Bone, paint_arm, paint_shoulder
from loopwright.tools.carm.phantom.paint import Canvas

Array = NDArray[np.float64]


class Vertebra(NamedTuple):
    """One vertebra: the centroid of the whole bone, the body's centre and how large it is."""

    name: str
    centroid: Array
    body: Array
    axes: Array
    height_mm: float
    half_width_mm: float
    half_depth_mm: float


def paint_skeleton(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> None:
    """Every bone of one person."""
    bone = Bone(cortex=950 * anatomy.bone, core=180 * anatomy.bone**1.5)
    wear = float(rng.uniform(0, 1.4))
    column = vertebrae(anatomy)
    for vertebra in column:
        _vertebra(canvas, vertebra, bone, anatomy.scale, wear, rng)
    _ribs(canvas, {v.name: v for v in column}, trunk, bone, anatomy.scale, rng)
    _sternum(canvas, anatomy, trunk, bone)
    for side in SIDES:
        paint_shoulder(canvas, anatomy, trunk, bone, side, rng)
        paint_arm(canvas, anatomy, bone, side, rng)
    _skull(canvas, anatomy, bone, rng)


def vertebrae(anatomy: Anatomy) -> list[Vertebra]:
    """C1 to L4 along the spine's curve; T1 and T12 have their centroids at the landmarks."""
    t12 = -float(anatomy.landmarks["T12"][2])
    thoracic = np.cumsum(np.linspace(0.84, 1.16, 11))
    z = {f"T{n}": -t12 * (0.0 if n == 1 else thoracic[n - 2] / thoracic[-1]) for n in range(1, 13)}
    gap = (z["T1"] - z["T2"]) * 0.5 + 8
    neck = float(anatomy.spine_knots[0, 2])
    for n in range(1, 8):
        z[f"C{n}"] = min(neck - 6, gap * 7.0) * (8 - n) / 7
    low = (z["T11"] - z["T12"]) * 1.18
    for n in range(1, 5):
        z[f"L{n}"] = z["T12"] - low * (n + 0.06 * n * (n - 1) / 2)
    order = sorted(z, key=lambda name: -z[name])
    heights = np.array([z[name] for name in order])
    pitch = -np.gradient(heights)
    return [_placed(anatomy, name, zz, float(p)) for name, zz, p in zip(order, heights, pitch, strict=True)]


def _placed(anatomy: Anatomy, name: str, z_mm: float, pitch_mm: float) -> Vertebra:
    region, number = name[0], int(name[1:])
    width = {"C": 11.5 + 0.4 * number, "T": 13.5 + 0.55 * number, "L": 20.5 + 0.8 * number}[region]
    depth = {"C": 7.5 + 0.15 * number, "T": 8.5 + 0.55 * number, "L": 15.5 + 0.4 * number}[region]
    tangent = anatomy.spine(z_mm + 6) - anatomy.spine(z_mm - 6)
    up = tangent / np.linalg.norm(tangent)
    right = np.cross([0.0, 1.0, 0.0], up)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(up, right), up])
    centroid = anatomy.spine(z_mm)
    body = centroid + axes[1] * (0.55 * depth * anatomy.scale + 3)
    return Vertebra(name, centroid, body, axes, 0.78 * pitch_mm, width * anatomy.scale, depth * anatomy.scale)


def _vertebra(canvas: Canvas, v: Vertebra, bone: Bone, scale: float, wear: float, rng: np.random.Generator) -> None:
    """`wear`: 0 with crisp parallel end plates, above 1 as in the old, whose tilted and thinned ones hardly show."""
    right, front, up = axes = _tilted(v.axes, np.deg2rad(rng.normal(0, 1 + 6 * wear)))
    shade = rng.uniform(0.9, 1.1)
    cortex, core = (0.75 * bone.cortex * shade * (1 - 0.35 * wear), 1.3), bone.core * 1.1 * shade * (1 + 0.5 * wear)

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(v.body + x * right + y * front + z * up)

    region, w, d, h = v.name[0], v.half_width_mm, v.half_depth_mm, v.height_mm
    if v.name != "C1":
        canvas.bone_solid(v.body, [w, d, 0.5 * h], cortex, core, axes=axes, power=(2.3, 7.0))
        for end in (-1.0, 1.0):
            rim = at(0, 0, end * 0.46 * h)
            rim_hu = cortex[0] + min(wear, 1.0) * (core - cortex[0])
            canvas.solid(rim, [w * 1.06, d * 1.06, 0.9], rim_hu, axes=axes, power=(2.3, 6.0), only_add=True)
        disc = at(0, 0, -0.5 * h - 0.14 * h)
        canvas.solid(disc, [w, d, 0.13 * h], 85.0 + 60 * wear, axes=axes, power=(2.2, 5.0), only_add=True)
    back = -d - {"C": 16, "T": 17, "L": 19}[region] * scale
    spinous = {"C": (-14, -8), "T": (-20, -24), "L": (-24, -6)}[region]
    wall = ((1 - 0.4 * wear) * bone.cortex, 1.4)
    tip = at(0, back + spinous[0] * scale, spinous[1] * scale)
    canvas.bone_tube([at(0, back, -2), tip], [3.2 * scale, 4.0 * scale], wall, bone.core, squash=(1.15, 1, 0.7))
    reach = {"C": 24.0, "T": 33.0 - 0.9 * int(v.name[1:]), "L": 40.0}[region] * scale
    rise = {"C": 0.0, "T": 3.0, "L": 0.0}[region]
    swept = {"C": 4.0, "T": -16.0, "L": -4.0}[region]
    for side in SIDES.values():
        pedicle = [at(side * 0.72 * w, -0.75 * d, 0.18 * h), at(side * 0.75 * w, -d - 9 * scale, 0.16 * h)]
        canvas.bone_tube(pedicle, [4.2 * scale, 4.4 * scale], wall, bone.core, squash=(1.15, 1, 0.75))
        canvas.bone_tube([pedicle[1], at(0, back, -3)], [3.6 * scale, 3.2 * scale], wall, bone.core, squash=(1, 1, 0.6))
        root = at(side * 0.8 * w, -d - 9 * scale, 0.14 * h)
        canvas.bone_tube(
            [root, at(side * reach, -d - 9 * scale + swept * 0.6, 0.14 * h + rise)],
            [4.2 * scale, 3.6 * scale],
            wall,
            bone.core,
        )
        facet = [at(side * 0.8 * w, -d - 11 * scale, 0.5 * h), at(side * 0.8 * w, -d - 12 * scale, -0.6 * h)]
        canvas.bone_tube(facet, [3.8 * scale, 3.8 * scale], (0.9 * wall[0], 1.2), bone.core)


def _tilted(axes: Array, angle: float) -> Array:
    """`axes` turned about the first: a vertebra that looks up or down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ axes)


_RIB_END_DEG = (150, 146, 142, 139, 136, 132, 127, 119, 110, 98, 72, 44)


_RIB_DROP_MM = (26, 42, 58, 70, 80, 88, 94, 96, 94, 88, 62, 34)


def rib_path(vertebra: Vertebra, trunk: Trunk, side: float, slope: float, length: float = 1.0) -> Array:
    """(n, 3) mm: the axis of a vertebra's rib from its head to where the cartilage begins; `length` is a factor."""
    number = int(vertebra.name[1:])
    top = vertebra.body[2] + 0.42 * vertebra.height_mm
    end = np.deg2rad(_RIB_END_DEG[number - 1] * length)
    angle = np.linspace(np.deg2rad(15), end, 26)
    along = (angle - angle[0]) / (np.pi * 0.8)
    drop = _RIB_DROP_MM[number - 1] * slope * -trunk.t12_z / 260
    span = (end - angle[0]) / (np.pi * 0.8)
    z = top - 1 - drop * np.sin(np.minimum(along / span, 1) * np.pi / 2 * 0.92) ** 1.35
    path = trunk.on_cage(z, angle, side, 4.5)
    half = vertebra.half_width_mm
    head = vertebra.body + np.array([side * half * 0.95, -0.7 * vertebra.half_depth_mm, 0.4 * vertebra.height_mm])
    return np.concatenate([[head, 0.45 * head + 0.55 * path[0] + np.array([0, -3.0, 1.5])], path])


def _ribs(
    canvas: Canvas, column: Mapping[str, Vertebra], trunk: Trunk, bone: Bone, scale: float, rng: np.random.Generator
) -> None:
    slope = float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.35))
    calcified = rng.random() < 0.35
    thick = scale * rng.uniform(0.9, 1.1)
    for number in range(1, 13):
        for side in SIDES.values():
            length = rng.uniform(0.6, 1.3) if number > 10 else rng.uniform(0.97, 1.03)
            path = rib_path(column[f"T{number}"], trunk, side, slope * rng.uniform(0.97, 1.03), length)
            radius = np.full(len(path), 6.6 if 2 < number < 11 else 5.4) * thick
            radius[:2] *= 0.8
            flat = (1.0, 1.0, 1.0) if number > 1 else (0.75, 0.75, 1.6)
            wide = np.where(np.linspace(0, 1, len(path)) > 0.9, 1.12, 1.0)
            _flat_tube(canvas, trunk, path, radius * wide, bone, flat)
            if number <= 10:
                _cartilage(canvas, trunk, path[-1], number, side, calcified, rng)


def _flat_tube(canvas: Canvas, trunk: Trunk, path: Array, radius: Array, bone: Bone, flat: ArrayLike) -> None:
    """A rib: taller than thick, flattened across the cage's normal by stacking thin tubes above each other."""
    if np.asarray(flat)[2] > 1:
        canvas.bone_tube(path, radius, bone.wall(1.2), bone.core, squash=flat)
        return
    for lift in (-0.5, 0.5):
        canvas.tube(path + np.array([0, 0, lift * radius.mean()]), 0.52 * radius, bone.cortex)
    for lift in (-0.5, 0.0, 0.5):
        canvas.tube(path + np.array([0, 0, lift * radius.mean()]), np.maximum(0.52 * radius - 1.15, 0.6), bone.core)


def _cartilage(
    canvas: Canvas, trunk: Trunk, start: Array, number: int, side: float, calcified: bool, rng: np.random.Generator
) -> None:
    """From the rib's end up to the sternum's edge, soft but denser than muscle, flecked with calcium in the old."""
    notch = trunk.t12_z * (0.165 + 0.058 * min(number - 1, 6))
    goal = trunk.on_cage(notch, np.deg2rad(180 - 7.0), side, 5.5)
    t = np.linspace(0, 1, 9)[:, None]
    path = start * (1 - t) + goal * t
    path[:, 2] -= 10 * np.sin(np.pi * t[:, 0]) * (number > 3)
    angle = np.arctan2(np.abs(path[:, 0] - trunk.cage(path[:, 2])[:, 0]), -(path[:, 1] - trunk.cage(path[:, 2])[:, 1]))
    path = trunk.on_cage(path[:, 2], angle, side, 5.5)
    canvas.tube(path, 5.0, 110.0, only_add=True)
    for _ in range(int(calcified) * rng.integers(2, 7)):
        i = rng.integers(0, 7)
        canvas.tube(path[i : i + 2] + rng.normal(0, 2, 3), rng.uniform(1.2, 2.4), rng.uniform(350, 700))


def _sternum(canvas: Canvas, anatomy: Anatomy, trunk: Trunk, bone: Bone) -> None:
    wall, s = bone.wall(1.0), anatomy.scale
    top, angle, end = (trunk.t12_z * level for level in (0.115, 0.3, 0.66))

    def middle(z: float) -> Array:
        return trunk.on_cage(z, np.pi, 1.0, 5.0)

    upper, joint, lower = middle(top), middle(angle), middle(end)
    for a, b, width in ((upper, joint, (30, 19)), (joint, lower, (16, 19))):
        for part in np.linspace(0.1, 0.9, 5):
            half = np.array([width[0] + (width[1] - width[0]) * part, 6.0, 0.13 * np.linalg.norm(b - a)]) * [s, 1, 1]
            canvas.bone_solid(a + (b - a) * part, half, wall, 0.7 * bone.core, power=(2.6, 4.0))
    canvas.tube([lower, lower + np.array([0, -3, -28 * s])], [5, 2], 160.0)


def _skull(canvas: Canvas, anatomy: Anatomy, bone: Bone, rng: np.random.Generator) -> None:
    s, centre = anatomy.scale**0.5, anatomy.landmarks["Skull"]
    thick = rng.uniform(5, 7.5)
    vault = np.array([74.0, 90.0, 70.0]) * s * rng.uniform(0.95, 1.05, 3)

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(centre + np.array([x, y, z]) * s)

    canvas.bone_solid(centre, vault, (0.95 * bone.cortex, thick), 38.0, power=(2.1, 2.2))
    canvas.bone_solid(at(0, -8, -44), np.array([54, 62, 8]) * s, (0.55 * bone.cortex, 1.5), 120.0)
    for x in (-1.0, 1.0):
        canvas.bone_tube(
            [at(x * 54, -10, -46), at(x * 24, 12, -50)], np.array([13, 8]) * s, (0.8 * bone.cortex, 3.0), 400.0
        )
        canvas.solid(at(x * 56, -24, -56), np.array([9, 11, 14]) * s, -250.0)
        canvas.bone_solid(at(x * 33, 74, -32), np.array([23, 22, 19]) * s, bone.wall(2.0), -60.0)
        canvas.bone_solid(at(x * 30, 66, -66), np.array([18, 20, 19]) * s, bone.wall(1.8), -980.0)
        canvas.solid(at(x * 14, 88, -2), np.array([12, 6, 12]) * s, -980.0)
        canvas.bone_tube([at(x * 50, 64, -46), at(x * 61, 18, -50)], np.array([6, 3.5]) * s, bone.wall(2.0), bone.core)
        jaw = [at(x * 52, 14, -52), at(x * 50, 14, -96), at(x * 34, 58, -112), at(0, 78, -114)]
        canvas.bone_tube(jaw, np.array([7, 8, 9, 10]) * s, bone.wall(3.0), bone.core, squash=(1.4, 1.0, 0.8))
    canvas.solid(at(0, 70, -60), np.array([9, 26, 22]) * s, -980.0)
    angles = np.linspace(-1.1, 1.1, 14)
    for z, length in ((-90, 8.0), (-104, 7.0)):
        for a in angles[rng.random(14) < rng.uniform(0.5, 1.2)]:
            tooth = at(29 * np.sin(a), 48 + 30 * np.cos(a), z)
            canvas.solid(tooth, np.array([3.6, 3.6, length]) * s, 1700.0 if rng.random() > 0.08 else 2800.0)
    canvas.bone_tube(
        [at(-26, 60, -84), at(0, 82, -84), at(26, 60, -84)], np.array([8, 9, 8]) * s, bone.wall(1.5), bone.core
    )
