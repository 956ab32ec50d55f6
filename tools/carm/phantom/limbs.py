"""Shoulder girdle, arm and hand, strung between humeral head, scapular angle, elbow and wrist."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas

Array = NDArray[np.float64]


class Bone(NamedTuple):
    """Hounsfield units of one person's bone."""

    cortex: float
    core: float

    def wall(self, thickness_mm: float) -> tuple[float, float]:
        """(HU, mm) of a cortical wall."""
        return self.cortex, thickness_mm

    def compact(self, thickness_mm: float) -> tuple[float, float]:
        """(HU, mm) of a shaft's or a border's wall: compact bone, denser than the thin shell of spongy bone."""
        return 1.55 * self.cortex, thickness_mm


def paint_shoulder(
    canvas: Canvas, anatomy: Anatomy, trunk: Trunk, bone: Bone, side: str, rng: np.random.Generator
) -> None:
    """Scapula and clavicle between the humeral head and the scapula's inferior angle."""
    x, s = SIDES[side], anatomy.scale
    strength = rng.uniform(0.5, 1.1)
    head, tip = anatomy.landmarks[f"{side} humeral head"], anatomy.landmarks[f"{side} scapular inferior angle"]
    glenoid = head + np.array([-x * 24, -4, -2]) * s
    down = tip - glenoid
    down_plane = np.array([down[0], 0, down[2]])
    down_plane /= np.linalg.norm(down_plane)
    medial = np.array([-x * abs(down_plane[2]), 0, x * down_plane[0] * np.sign(-down_plane[2])])
    upper = glenoid + medial * 70 * s - down_plane * 22 * s
    root = glenoid + medial * 76 * s + down_plane * 14 * s
    for corner, gap in ((upper, 12.0), (root, 14.0)):
        corner[1] = min(trunk.back_y(corner[0], corner[2], gap), glenoid[1] - 12)
    coracoid = glenoid + np.array([-x * 6, 26, 6]) * s
    acromion = head + np.array([x * 8, -6, 31]) * s
    neck = glenoid + medial * 14 * s
    lateral = 0.5 * (neck + tip) + medial * 4
    blade = [[neck, upper, root], [neck, root, lateral], [lateral, root, tip]]
    canvas.plate(blade, 1.0, bone.cortex)
    canvas.bone_tube([neck, lateral, tip], np.array([6.5, 5.6, 5.4]) * s, bone.compact(2.4 * strength), bone.core)
    canvas.bone_tube(
        [tip, 0.5 * (tip + root), root, upper],
        np.array([5.0, 3.4, 2.6, 2.2]) * s,
        bone.compact(1.8 * strength),
        bone.core,
    )
    _angle(canvas, tip, lateral, root, bone, s, strength)
    canvas.bone_tube([upper, neck], np.array([2.2, 3.0]) * s, bone.wall(1.5), bone.core)
    canvas.bone_solid(glenoid, np.array([6.0, 13.0, 18.0]) * s, bone.wall(1.5), bone.core)
    canvas.bone_tube(
        [neck, glenoid + np.array([-x * 8, 14, 16]), coracoid], np.array([6, 5.5, 4.5]) * s, bone.wall(1.4), bone.core
    )
    spine = [root, 0.5 * (root + acromion) + np.array([0, -12, 0]), acromion + np.array([0, -10, 0]), acromion]
    canvas.bone_tube(spine, np.array([2.2, 4.5, 6.5, 6.0]) * s, bone.wall(1.4), bone.core, squash=(0.8, 1, 1))
    canvas.plate([[root, spine[1], neck], [spine[1], neck, acromion]], 0.8, 0.6 * bone.cortex)
    start = trunk.on_cage(trunk.t12_z * 0.12, np.pi, x, 2.0) + np.array([x * 24, 2, 6])
    end = acromion + np.array([-x * 14, 8, 2])
    along = end - start
    clavicle = [start, start + 0.3 * along + np.array([0, 9, 4]), start + 0.7 * along + np.array([0, -7, 6]), end]
    fine = _spline(np.array(clavicle), 14)
    canvas.bone_tube(
        fine, np.interp(np.linspace(0, 1, 14), [0, 0.2, 0.6, 1], [8.5, 6.2, 5.6, 7]) * s, bone.wall(1.9), bone.core
    )


def _angle(canvas: Canvas, tip: Array, lateral: Array, root: Array, bone: Bone, s: float, strength: float) -> None:
    """The inferior angle: where both borders meet the bone is as thick as a finger, and compact where it is strong."""
    up = _unit(_unit(lateral - tip) + _unit(root - tip))
    across = _unit(np.cross(np.cross(up, root - lateral), up))
    axes = np.stack([across, np.cross(up, across), up])
    semi_mm = np.array([9.5, 5.0 * (0.4 + 0.6 * strength), 13.0]) * s
    canvas.bone_solid(tip + 7 * s * up, semi_mm, bone.compact(2.6 * strength), 2 * strength * bone.core, axes=axes)


def _spline(points: Array, n: int) -> Array:
    """(n, 3): a smooth curve through four points."""
    t = np.linspace(0, 1, len(points))
    fits = [np.polyfit(t, points[:, axis], len(points) - 1) for axis in range(3)]
    return np.stack([np.polyval(fit, np.linspace(0, 1, n)) for fit in fits], axis=-1).astype(np.float64)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6))


def paint_arm(canvas: Canvas, anatomy: Anatomy, bone: Bone, side: str, rng: np.random.Generator) -> None:
    """Humerus, elbow, radius, ulna and hand."""
    x, s = SIDES[side], anatomy.scale
    head, elbow, wrist = (anatomy.landmarks[f"{side} {part}"] for part in ("humeral head", "elbow", "wrist"))
    out = np.array([x, 0.1, 0.05])
    shaft, forearm = _unit(elbow - head), _unit(wrist - elbow)
    across = _unit(np.cross(shaft, forearm) + 0.2 * np.cross(shaft, [0.3, 1.0, 0.0]))
    canvas.bone_solid(head, [23.5 * s] * 3, bone.wall(1.4), 1.1 * bone.core)
    neck = head + 22 * s * shaft + 8 * s * out * (1 - abs(shaft @ _unit(out)))
    canvas.bone_tube(
        [head + 10 * s * shaft, neck, neck + 18 * shaft], np.array([21, 17, 13.5]) * s, bone.wall(2.0), bone.core
    )
    tubercle = head + np.array([x * 15, 6, 4]) * s + 8 * shaft
    canvas.bone_solid(tubercle, np.array([11, 11, 14]) * s, bone.wall(1.4), bone.core)
    low = elbow - 22 * s * shaft
    canvas.bone_tube(
        [neck + 12 * shaft, 0.5 * (neck + low), low], np.array([13.2, 11, 10.5]) * s, bone.compact(4.0), 20.0
    )
    for end in (-1.0, 1.0):
        condyle = elbow + across * end * 19 * s - 6 * s * shaft
        canvas.bone_tube([low, condyle], np.array([9, 10]) * s, bone.wall(1.8), bone.core)
    canvas.bone_tube(
        [elbow - across * 18 * s, elbow + across * 18 * s], np.array([10.5, 10.5]) * s, bone.wall(1.6), bone.core
    )
    olecranon = elbow - forearm * 16 * s - _unit(shaft + 0.2 * forearm) * -9 * s
    gap = across * 9 * s
    twist = _unit(np.cross(forearm, across)) * 6 + across * rng.uniform(4, 10)
    canvas.bone_tube([olecranon, elbow + 12 * forearm - gap], np.array([11, 10]) * s, bone.wall(2), bone.core)
    ulna = [elbow + 10 * forearm - gap, 0.5 * (elbow + wrist) - 1.2 * gap, wrist - 14 * forearm - 1.3 * twist]
    radius = [elbow + 12 * forearm + gap, 0.5 * (elbow + wrist) + 1.3 * gap, wrist - 30 * forearm + twist]
    canvas.bone_tube(ulna, np.array([9.5, 6.8, 6.0]) * s, bone.compact(2.8), 40.0)
    canvas.bone_tube(radius, np.array([9.5, 7.6, 8.0]) * s, bone.compact(2.8), 40.0)
    flare = [radius[-1], wrist - 20 * forearm + twist, wrist - 10 * forearm + 0.8 * twist]
    canvas.bone_tube(flare, np.array([8.0, 11.0, 14.0]) * s, bone.compact(1.8), 1.5 * bone.core)
    _hand(canvas, wrist, anatomy.hand_way(side), _unit(twist), bone, s, rng)


def _hand(
    canvas: Canvas, wrist: Array, along: Array, across: Array, bone: Bone, s: float, rng: np.random.Generator
) -> None:
    across = _unit(across - along * (across @ along))
    normal = np.cross(along, across)
    for row in (-0.5, 0.7):
        for column in np.linspace(-1.5, 1.5, 4):
            centre = wrist + along * row * 13 * s + across * column * 10.5 * s + normal * rng.normal(0, 1.5)
            canvas.bone_solid(centre, np.array([7.0, 6.5, 7.0]) * s, bone.compact(1.4), 2.2 * bone.core)
    curl = rng.uniform(0.1, 0.8)
    lengths = (62.0, 40.0, 25.0, 18.0)
    for finger, spread in enumerate(np.linspace(-1, 1, 5)):
        at = wrist + along * 15 * s + across * spread * 20 * s
        way = _unit(along + across * (spread * 0.28 + (0.35 if finger == 4 else 0.0)))
        for joint, length in enumerate(lengths if finger < 4 else lengths[1:]):
            way = _unit(way - normal * curl * 0.5 * (joint > 0))
            end = at + way * length * s * (0.85 if finger in (0, 4) else 1.0)
            size = np.array([5.0, 4.0, 5.2]) * s * (1 - 0.16 * joint)
            canvas.bone_tube([at, 0.5 * (at + end), end], size, bone.compact(1.6), bone.core)
            at = end + way * 1.5
