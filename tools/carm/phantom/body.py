"""The trunk's shape: sections of the rib cage and of the skin at any height, which bones and organs are hung on."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.tools.carm.phantom.anatomy import Anatomy

Array = NDArray[np.float64]

_LEVEL = np.array([-0.09, 0.0, 0.08, 0.16, 0.36, 0.6, 0.8, 1.0, 1.2, 1.5])
_CAGE_HALF_WIDTH_MM = np.array([32.0, 54.0, 80.0, 98.0, 118.0, 131.0, 135.0, 130.0, 124.0, 122.0])
_CAGE_DEPTH_MM = np.array([50.0, 66.0, 92.0, 118.0, 154.0, 174.0, 180.0, 176.0, 164.0, 155.0])
"""Rib cage (outer face) by level, T1 = 0 and T12 = 1: adult means, from general anatomy texts."""


class Trunk:
    """Sections of one person's trunk; a section is (x, y of centre, half width, front, back in mm, exponent)."""

    def __init__(self, anatomy: Anatomy, rng: np.random.Generator) -> None:
        self.anatomy = anatomy
        self.t12_z = float(anatomy.landmarks["T12"][2])
        outward = np.mean([abs(anatomy.landmarks[f"{s} humeral head"][0]) for s in ("Right", "Left")])
        own = 1 + 0.03 * rng.normal()
        self.width = float(np.clip((0.55 + 0.45 * outward / 140) * own * (1 + 0.025 * anatomy.build), 0.82, 1.2))
        self.depth = float(np.clip(1 + 0.05 * anatomy.build + 0.05 * rng.normal() + 0.02 * anatomy.stature, 0.8, 1.25))
        self.belly = float(np.clip(4 + 16 * anatomy.build + 10 * rng.normal(), -15, 60))
        self.waist = float(rng.normal(0.93, 0.03))

    def level(self, z_mm: ArrayLike) -> Array:
        """0 at T1, 1 at T12."""
        return np.asarray(z_mm, dtype=np.float64) / self.t12_z

    def cage(self, z_mm: ArrayLike) -> Array:
        """(..., 6): the outer face of the ribs."""
        level = self.level(z_mm)
        spine = self.anatomy.spine(z_mm)
        half = np.interp(level, _LEVEL, _CAGE_HALF_WIDTH_MM) * self.width
        depth = np.interp(level, _LEVEL, _CAGE_DEPTH_MM) * self.depth
        gutter = np.interp(level, [0.0, 0.3, 1.0], [12.0, 24.0, 26.0])
        back = 0.5 * depth
        centre_y = spine[..., 1] - gutter + back
        power = np.interp(level, [0.0, 0.4, 1.0], [2.0, 2.25, 2.3])
        return np.stack([0.7 * spine[..., 0], centre_y, half, back, back, power], axis=-1)

    def inset(self, z_mm: ArrayLike, inset_mm: float) -> Array:
        """(..., 6): the cage moved inwards (outwards where negative)."""
        section = self.cage(z_mm).copy()
        section[..., 2:5] = np.maximum(section[..., 2:5] - inset_mm, 1.0)
        return section

    def muscle(self, z_mm: ArrayLike) -> Array:
        """(..., 6): the face between muscle and fat, from the neck to the pelvis."""
        level, section = self.level(z_mm), self.cage(z_mm).copy()
        bulk = self.anatomy.muscle
        neck = np.clip((0.02 - level) / 0.1, 0, 1)[..., None]
        side = np.interp(level, [0.0, 0.1, 0.3, 0.6, 0.9, 1.3], [10, 28, 32, 15, 8, 8]) * bulk
        front = np.interp(level, [0.0, 0.1, 0.3, 0.6, 0.9, 1.3], [14, 16, 20, 12, 9, 9]) * bulk
        back = np.interp(level, [0.0, 0.1, 0.3, 0.6, 1.0, 1.4], [34, 30, 28, 22, 22, 24]) * bulk
        belly = self.belly * np.clip((level - 0.75) / 0.4, 0, 1)
        waist = 1 + (self.waist - 1) * np.clip((level - 0.95) / 0.25, 0, 1)
        section[..., 2] = section[..., 2] * waist + side
        section[..., 3] += front + belly
        section[..., 4] += back
        section[..., 5] = np.interp(level, [0.0, 0.3, 1.0], [2.2, 2.6, 2.4])
        spine = self.anatomy.spine(z_mm)
        scale = self.anatomy.scale * (0.9 + 0.1 * bulk)
        neck_section = np.stack(
            [
                spine[..., 0],
                spine[..., 1] + 8,
                np.full_like(level, 56 * scale),
                np.full_like(level, 56 * scale),
                np.full_like(level, 52 * scale),
                np.full_like(level, 2.0),
            ],
            axis=-1,
        )
        return np.asarray(section * (1 - neck) + neck_section * neck)

    def fat_mm(self, z_mm: ArrayLike) -> Array:
        """Thickness of the layer under the skin at a height."""
        return np.asarray(
            np.interp(self.level(z_mm), [-0.2, 0.1, 0.5, 1.1], [0.35, 0.6, 0.75, 1.15]) * self.anatomy.fat_mm
        )

    def skin(self, z_mm: ArrayLike) -> Array:
        """(..., 6): the body's surface."""
        section = self.muscle(z_mm).copy()
        section[..., 2:5] += self.fat_mm(z_mm)[..., None]
        return section

    def on_cage(self, z_mm: ArrayLike, angle_rad: ArrayLike, side: float, inset_mm: float = 0.0) -> Array:
        """(..., 3) mm on the cage at an angle from the posterior midline (0) by the side to the front (pi)."""
        section = self.inset(z_mm, inset_mm)
        angle = np.asarray(angle_rad, dtype=np.float64)
        s, c = np.sin(angle), -np.cos(angle)
        power = section[..., 5]
        radius = (np.abs(s) ** power + np.abs(c) ** power) ** (-1 / power)
        x = section[..., 0] + side * section[..., 2] * s * radius
        y = section[..., 1] + np.where(c > 0, section[..., 3], section[..., 4]) * c * radius
        return np.stack(np.broadcast_arrays(x, y, np.asarray(z_mm, dtype=np.float64)), axis=-1)

    def back_y(self, x_mm: float, z_mm: float, outward_mm: float = 0.0) -> float:
        """y of the cage's posterior face at (x, z), moved outwards."""
        section = self.inset(z_mm, -outward_mm)
        across = min(abs(x_mm - section[0]) / section[2], 0.97)
        return float(section[1] - section[4] * (1 - across ** section[5]) ** (1 / section[5]))
