"""Procedural CT volumes of the upper body with the fourteen landmarks, seeded: the population that networks train on.

Landmark positions come from the population table (`tools/carm/atlas.py`); everything else is general adult anatomy
(shapes, sizes and Hounsfield units of textbooks), varied far enough that a real patient should look like one more
sample. No voxel and no landmark of a real CT went into it.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import Landmarks
from loopwright.tools.carm.parallel import start_threads
from loopwright.tools.carm.phantom.anatomy import Anatomy, sample_anatomy
from loopwright.tools.carm.phantom.body import Trunk
from loopwright.tools.carm.phantom.devices import paint_devices, paint_table
from loopwright.tools.carm.phantom.flesh import paint_envelope
from loopwright.tools.carm.phantom.paint import Canvas
from loopwright.tools.carm.phantom.skeleton import paint_skeleton
from loopwright.tools.carm.phantom.thorax import paint_thorax
from loopwright.tools.carm.volume import Volume

__all__ = ["make_phantom"]

Array = NDArray[np.float64]
ARMS: tuple[Literal["crossed", "side", "raised"], ...] = ("crossed", "side", "raised")
_ARMS_SHARE = (0.45, 0.15, 0.4)
_TRUNCATED_SHARE = {"crossed": 0.2, "side": 0.3, "raised": 0.7}


def make_phantom(
    seed: int,
    *,
    arms: Literal["crossed", "side", "raised"] | None = None,
    truncated: bool | None = None,
    voxel_mm: float | None = None,
) -> Case:
    """One person of the population as a CT; the same arguments give the same bytes.

    Args:
        seed: 0 or more.
        arms: posture; None draws one.
        truncated: cut like a thorax CT; then landmarks outside the volume are absent. None draws.
        voxel_mm: edge of the cubic voxels; None draws 2.2 to 2.8 mm.
    """
    start_threads()
    rng = np.random.default_rng(seed)
    drawn = ARMS[int(rng.choice(3, p=_ARMS_SHARE))]
    posture = arms or drawn
    cut, size = rng.random() < _TRUNCATED_SHARE[posture], float(rng.uniform(2.2, 2.8))
    cut, size = bool(cut if truncated is None else truncated), size if voxel_mm is None else voxel_mm
    anatomy = sample_anatomy(rng, posture)
    trunk = Trunk(anatomy, rng)
    bounds = _thorax_bounds(anatomy, trunk, rng) if cut else _whole_bounds(anatomy, trunk)
    canvas = _canvas(bounds, size)
    if rng.random() < 0.4:
        paint_table(canvas, float(bounds[0, 1]) + 30, rng)
    paint_envelope(canvas, anatomy, trunk)
    paint_thorax(canvas, anatomy, trunk, rng, _blood(rng))
    paint_skeleton(canvas, anatomy, trunk, rng)
    paint_devices(canvas, anatomy, trunk, rng)
    _noise(canvas, rng)
    return _case(seed, canvas, anatomy, rng)


def _whole_bounds(anatomy: Anatomy, trunk: Trunk) -> Array:
    """(2, 3) mm: everything but what reaches far beyond the scanner's usual field."""
    points = np.stack(list(anatomy.landmarks.values()))
    skin = trunk.skin(np.linspace(0, 1.3, 9) * trunk.t12_z)
    half = float(np.clip(np.abs(points[:, 0]).max() + 55, 290, 350))
    low = min(1.42 * trunk.t12_z, float(points[:, 2].min()) - 40)
    high = max(float(anatomy.landmarks["Skull"][2]) + 95, float(points[:, 2].max()) + 60)
    front = max(float((skin[:, 1] + skin[:, 3]).max()), float(points[:, 1].max()) + 25) + 15
    back = float((skin[:, 1] - skin[:, 4]).min()) - 30
    return np.array([[-half, back, max(low, -400.0)], [half, front, min(high, 400.0)]])


def _thorax_bounds(anatomy: Anatomy, trunk: Trunk, rng: np.random.Generator) -> Array:
    """(2, 3) mm: a thorax scan's field, from above the lung apex to below the lungs, cut at the sides."""
    bounds = _whole_bounds(anatomy, trunk)
    half, middle = rng.uniform(160, 240), rng.normal(0, 12)
    bounds[:, 0] = middle - half, middle + half
    bounds[1, 2] = rng.uniform(15, 110)
    bounds[0, 2] = trunk.t12_z - rng.uniform(-10, 100)
    return bounds


def _canvas(bounds: Array, voxel_mm: float) -> Canvas:
    shape = np.ceil((bounds[1] - bounds[0]) / voxel_mm).astype(int)
    return Canvas(np.full(shape, -1000.0, dtype=np.float32), bounds[0] + voxel_mm / 2, voxel_mm)


def _blood(rng: np.random.Generator) -> Array:
    """HU of blood in veins, right heart, left heart, and what organs gain: with and without contrast medium."""
    if rng.random() < 0.45:
        return np.array([rng.uniform(200, 1800), rng.uniform(120, 420), rng.uniform(150, 380), rng.uniform(10, 60)])
    return np.array([42.0, 42.0, 42.0, 0.0])


def _noise(canvas: Canvas, rng: np.random.Generator) -> None:
    table = rng.normal(size=(24, 24, 24)).astype(np.float32)
    for scale_mm, strength in ((60.0, 1.0), (14.0, 1.0), (5.0, 1.0)):
        canvas.texture(table, strength * np.array([14.0, 9.0, 30.0]), scale_mm * rng.uniform(0.8, 1.25))


def _case(seed: int, canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> Case:
    angle_deg = float(np.clip(rng.normal(0, 2.5), -6, 6))
    canvas.turn(angle_deg, 0.0)
    hounsfield = np.clip(np.rint(canvas.field), -1024, 3071).astype(np.int16)
    shift = rng.normal(0, [12.0, 25.0, 60.0])
    turned = _turned(anatomy.landmarks, angle_deg)
    affine = np.diag([canvas.voxel_mm, canvas.voxel_mm, canvas.voxel_mm, 1.0])
    affine[:3, 3] = canvas.origin_mm + shift
    name = f"phantom-{seed}"
    volume = Volume(hounsfield=hounsfield, affine_world=affine, name=name)
    low, high = volume.bounds_world
    moved = {key: point + shift for key, point in turned.items()}
    inside = {key: point for key, point in moved.items() if ((point >= low) & (point <= high)).all()}
    return Case(name=name, volume=volume, landmarks=inside)


def _turned(landmarks: Landmarks, angle_deg: float) -> dict[str, Array]:
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return {name: rotation @ point for name, point in landmarks.items()}
