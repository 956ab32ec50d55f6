"""Skin, fat and muscle of trunk, neck, head, shoulders, arms and breasts."""

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.carm.phantom.anatomy import SIDES, Anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.paint import Canvas

Array = NDArray[np.float64]
FAT_HU, MUSCLE_HU = -100.0, 52.0


def paint_envelope(canvas: Canvas, anatomy: Anatomy, trunk: Trunk) -> None:
    """Skin, fat and muscle of trunk, neck, head, shoulders and arms."""
    z = canvas.axis_mm(2)
    chin = anatomy.landmarks["Skull"][2] - 60
    for sections, hu, layer in ((trunk.skin(z), FAT_HU, 1.0), (trunk.muscle(z), MUSCLE_HU, 0.0)):
        sections[z > chin - 12, 2] = 0.0
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
    neck = anatomy.spine(min(60.0, 0.5 * anatomy.spine_knots[0, 2])) + np.array([x * 30, -8, 0])
    top = head + np.array([-x * 10, -12, 14]) * s
    canvas.tube([neck, top], [24 * bulk + fat, 26 * bulk + fat], hu, only_add=layer == 0)
    canvas.solid(
        head + np.array([x * 4, 0, -6]), np.array([40.0, 42.0, 44.0]) * s * bulk**0.5 + fat, hu, only_add=layer == 0
    )
    low = anatomy.spine(0.2 * trunk.t12_z) + np.array([x * 30, -18, 0])
    front = trunk.on_cage(0.1 * trunk.t12_z, np.deg2rad(150), x, 0)
    canvas.plate(
        [[neck, top, low], [neck + np.array([0, 18, -10]), top, front]], 17 * bulk + fat, hu, only_add=layer == 0
    )
    chest = trunk.on_cage(0.35 * trunk.t12_z, np.deg2rad(115), x, -8)
    canvas.tube([chest, head + np.array([0, 6, -14])], [30 * bulk + fat, 34 * bulk + fat], hu, only_add=layer == 0)
    back = trunk.on_cage(0.45 * trunk.t12_z, np.deg2rad(70), x, -10)
    canvas.tube([back, head + np.array([0, -14, -20])], [28 * bulk + fat, 32 * bulk + fat], hu, only_add=layer == 0)
    canvas.tube(
        [tip + np.array([0, 0, -20]), tip + np.array([-x * 10, 2, 40]), head + np.array([-x * 34, -16, -20])],
        np.array([14, 20, 26]) + fat,
        hu,
        only_add=layer == 0,
    )
    fold = [tip + np.array([x * 6, 8, -12]), tip + np.array([x * 8, 10, 40]), head + np.array([-x * 6, -4, -25])]
    canvas.tube(fold, np.array([15, 25, 32]) * bulk + fat, hu, only_add=layer == 0)
    chain = trunk.on_cage(trunk.t12_z * 0.12, np.deg2rad(150), x, -6)
    canvas.tube([chain, top + np.array([0, 22, -12])], [20 * bulk + fat, 26 * bulk + fat], hu, only_add=layer == 0)


def _arm_flesh(canvas: Canvas, anatomy: Anatomy, side: str, hu: float, layer: float) -> None:
    head, elbow, wrist = (anatomy.landmarks[f"{side} {part}"] for part in ("humeral head", "elbow", "wrist"))
    girth = anatomy.scale * anatomy.muscle**0.6
    fat, thin = layer * 0.45 * anatomy.fat_mm, layer * 0.25 * anatomy.fat_mm
    upper = [head, head + 0.35 * (elbow - head), head + 0.7 * (elbow - head), elbow]
    canvas.tube(upper, np.array([38, 40, 38, 33]) * girth + fat, hu, only_add=layer == 0)
    lower = [elbow, elbow + 0.3 * (wrist - elbow), elbow + 0.75 * (wrist - elbow), wrist]
    canvas.tube(lower, np.array([34, 36, 26, 23]) * girth + thin, hu, only_add=layer == 0)
    along = anatomy.hand_way(side)
    canvas.tube(
        [wrist, wrist + 70 * along, wrist + 130 * along], np.array([24, 28, 18]) * girth, hu, only_add=layer == 0
    )


def _breasts(canvas: Canvas, anatomy: Anatomy, trunk: Trunk) -> None:
    size = float(np.clip(40 + 10 * anatomy.build + 6 * anatomy.stature, 22, 70))
    for x in SIDES.values():
        at = trunk.on_cage(trunk.t12_z * 0.62, np.deg2rad(140), x, -12)
        canvas.solid(at, [size * 1.45, size * 0.6, size * 1.35], FAT_HU, only_add=True)
        canvas.solid(at + np.array([0, 6, -4]), [size * 0.9, size * 0.4, size * 0.8], -40.0, only_add=True)
