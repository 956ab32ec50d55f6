"""Sample a person: landmark positions as one joint Gaussian over the population table, and what follows from them.

The body frame is RAS+ mm with the centroid of T1 at the origin (x right, y anterior, z superior). Arms crossed is the
posture that the table was measured in, so there the marginals are the table's; the common factors (stature, build,
inspiration, shoulder height, arm posture) only correlate the landmarks of one person. Paints nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM

Array = NDArray[np.float64]
Arms = Literal["crossed", "side", "raised"]
SIDES = {"Right": 1.0, "Left": -1.0}
"""Side to the sign of its x."""

_FACTORS = ("stature", "build", "inspiration", "shoulders", "arms")
_CAUDAL_LOADINGS: Mapping[str, Mapping[str, float]] = {
    "Skull": {"stature": -0.5},
    "humeral head": {"shoulders": 0.8},
    "scapular inferior angle": {"stature": 0.35, "shoulders": 0.7},
    "elbow": {"stature": 0.4, "shoulders": 0.3, "arms": 0.5},
    "wrist": {"arms": 0.6},
    "Carina": {"stature": 0.35, "inspiration": 0.5},
    "hemidiaphragm": {"stature": 0.45, "inspiration": 0.75},
    "T12": {"stature": 0.85},
}
_OUTWARD_LOADINGS: Mapping[str, Mapping[str, float]] = {
    "humeral head": {"stature": 0.35, "build": 0.6},
    "scapular inferior angle": {"build": 0.6, "stature": 0.3},
    "elbow": {"build": 0.4, "arms": -0.4},
    "hemidiaphragm": {"build": 0.5, "stature": 0.3},
}
_POSTURE: Mapping[Arms, Mapping[str, tuple[float, float, float, float]]] = {
    "crossed": {},
    "side": {"elbow": (288, 25, 192, 22), "wrist": (455, 70, 165, 55)},
    "raised": {
        "humeral head": (-16, 18, 132, 13),
        "scapular inferior angle": (132, 20, 116, 15),
        "elbow": (-185, 40, 215, 45),
        "wrist": (-275, 45, 70, 60),
    },
}
"""Caudal mean, sd and outward mean, sd in mm where a posture departs from the table; estimates, not measured."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One person, in the body frame.

    Attributes:
        arms: posture.
        landmarks: all 14, canonical name to (3,) mm.
        spine_knots: (n, 3) mm, the centroids' curve from the skull base to L4, head first.
        stature, build: z-scores; build also widens chest, muscle and fat.
        fat_mm: subcutaneous layer at the waist.
        muscle: factor on muscle thickness.
        is_female: gives breasts and a lighter skeleton.
        bone: factor on bone's Hounsfield units (osteoporosis below 1).
    """

    arms: Arms
    landmarks: Mapping[str, Array]
    spine_knots: Array
    stature: float
    build: float
    fat_mm: float
    muscle: float
    is_female: bool
    bone: float

    @property
    def scale(self) -> float:
        """Linear size against the average person."""
        return 1.0 + 0.045 * self.stature

    def hand_way(self, side: str) -> Array:
        """(3,) unit vector from wrist to fingers: along the forearm, bent around the body where arms are crossed."""
        wrist = self.landmarks[f"{side} wrist"]
        forearm = wrist - self.landmarks[f"{side} elbow"]
        way = forearm / max(float(np.linalg.norm(forearm)), 1.0)
        if self.arms == "crossed":
            way = way + np.array([0.0, -0.5, -0.9]) * min(1.0, abs(float(wrist[0])) / 130)
        return np.asarray(way / max(float(np.linalg.norm(way)), 1e-6))

    def spine(self, z_mm: ArrayLike) -> Array:
        """(..., 3) mm: the centroid curve of the vertebrae at a height."""
        z = np.asarray(z_mm, dtype=np.float64)
        knots = self.spine_knots[::-1]
        return np.stack([_smooth(z, knots[:, 2], knots[:, 0]), _smooth(z, knots[:, 2], knots[:, 1]), z], axis=-1)


def sample_anatomy(rng: np.random.Generator, arms: Arms) -> Anatomy:
    """A person of the population in one posture."""
    factors: dict[str, float] = dict(zip(_FACTORS, _normal(rng, len(_FACTORS)), strict=True))
    plane = _plane_positions(rng, factors, arms)
    is_female = bool(rng.random() < 0.5 - 0.2 * np.tanh(factors["stature"]))
    knots = _spine_knots(rng, plane["T12"], plane["Skull"])
    anatomy = Anatomy(
        arms=arms,
        landmarks={},
        spine_knots=knots,
        stature=factors["stature"],
        build=factors["build"],
        fat_mm=float(np.clip(18 + 8 * factors["build"] + 5 * rng.normal(), 4, 50)),
        muscle=float(np.clip(1 + 0.12 * factors["build"] - 0.12 * is_female + 0.12 * rng.normal(), 0.6, 1.5)),
        is_female=is_female,
        bone=float(np.clip(rng.normal(0.97 - 0.05 * is_female, 0.19), 0.5, 1.4)),
    )
    depth = _depths(rng, anatomy, plane)
    positions = {name: np.array([-left, depth[name], -caudal]) for name, (left, caudal) in plane.items()}
    return replace(anatomy, landmarks=positions)


def _normal(rng: np.random.Generator, n: int) -> list[float]:
    """Standard normals without far tails (beyond 2.6 sd drawn again)."""
    values = rng.normal(size=n)
    while (far := np.abs(values) > 2.6).any():
        values[far] = rng.normal(size=int(far.sum()))
    return [float(v) for v in values]


def _part(name: str) -> tuple[float, str]:
    """('Left elbow') -> (-1, 'elbow'): sign of x and part; unpaired landmarks have sign -1 (left is positive)."""
    side, _, part = name.partition(" ")
    return (SIDES[side], part) if side in SIDES else (-1.0, name)


def _plane_positions(
    rng: np.random.Generator, factors: Mapping[str, float], arms: Arms
) -> dict[str, tuple[float, float]]:
    """(left, caudal) mm of every landmark from T1."""
    plane = {}
    for name, entry in ATLAS_OFFSETS_MM.items():
        sign, part = _part(name)
        outward, caudal, sd = -sign * entry.left_mm, entry.caudal_mm, (entry.left_sd_mm, entry.caudal_sd_mm)
        if part in _POSTURE[arms]:
            caudal, caudal_sd, outward, outward_sd = _POSTURE[arms][part]
            sd = (outward_sd, caudal_sd)
        outward += sd[0] * _score(rng, factors, _OUTWARD_LOADINGS.get(part, {}))
        caudal += sd[1] * _score(rng, factors, _CAUDAL_LOADINGS.get(part, {}))
        plane[name] = (-sign * outward, caudal)
    return _ordered(plane)


def _score(rng: np.random.Generator, factors: Mapping[str, float], loadings: Mapping[str, float]) -> float:
    """Unit-variance score: the common factors, and what is left of the person's own."""
    common = sum(weight * factors[name] for name, weight in loadings.items())
    own = np.sqrt(1 - sum(weight**2 for weight in loadings.values()))
    return float(common + own * _normal(rng, 1)[0])


def _ordered(plane: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Keep what holds in every body: skull above T1 above carina above the domes above T12."""
    limits = {"Skull": (-230.0, -115.0), "Carina": (28.0, 120.0), "T12": (190.0, 340.0)}
    for name, (low, high) in limits.items():
        plane[name] = (plane[name][0], float(np.clip(plane[name][1], low, high)))
    for side in SIDES:
        name = f"{side} hemidiaphragm"
        left, caudal = plane[name]
        caudal = float(np.clip(caudal, plane["Carina"][1] + 30, plane["T12"][1] - 20))
        plane[name] = (float(np.sign(left) * np.clip(abs(left), 35, 115)), caudal)
        name = f"{side} scapular inferior angle"
        plane[name] = (plane[name][0], float(np.clip(plane[name][1], plane[f"{side} humeral head"][1] + 85, 200)))
    return plane


def _spine_knots(rng: np.random.Generator, t12: tuple[float, float], skull: tuple[float, float]) -> Array:
    """Kyphosis, lordosis and a slight scoliosis through T1 (the origin) and T12; the neck leads to the skull."""
    x12, z12 = -t12[0], -t12[1]
    head_x, skull_z = -skull[0], -skull[1]
    depth, bottom = -max(10.0, rng.normal(31, 8)), -rng.normal(24, 8)
    bend = rng.normal(0, 5)
    neck = rng.normal(8, 8)
    base_z = skull_z - 48
    return np.array(
        [
            [0.7 * head_x, neck + 6, base_z],
            [0.4 * head_x, neck, 0.6 * base_z],
            [0.1 * head_x, 0.4 * neck + 2, 0.25 * base_z],
            [0.0, 0.0, 0.0],
            [x12 * 0.25 + 0.7 * bend, 0.72 * depth, 0.22 * z12],
            [x12 * 0.5 + bend, depth, 0.5 * z12],
            [x12 * 0.8 + 0.5 * bend, 0.4 * depth + 0.6 * bottom - 3, 0.8 * z12],
            [x12, bottom, z12],
            [x12 - 0.3 * bend, bottom + 8, z12 - 45],
            [x12 - 0.4 * bend, bottom + 16, z12 - 110],
            [x12 - 0.4 * bend, bottom + 15, z12 - 170],
        ]
    )


def _smooth(at: Array, knots: Array, values: Array) -> Array:
    """Interpolation with Catmull-Rom tangents (knots ascending)."""
    slopes = np.gradient(values, knots)
    i = np.clip(np.searchsorted(knots, at) - 1, 0, len(knots) - 2)
    width = knots[i + 1] - knots[i]
    t = np.clip((at - knots[i]) / width, 0, 1)
    u = 1 - t
    return np.asarray(
        values[i] * (1 + 2 * t) * u**2
        + values[i + 1] * (1 + 2 * u) * t**2
        + width * t * u * (slopes[i] * u - slopes[i + 1] * t)
    )


def _depths(rng: np.random.Generator, anatomy: Anatomy, plane: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """y of every landmark: the trunk's from the spine's curve, the arms' from how long the bones are."""
    y = {
        "T1": 0.0,
        "T12": float(anatomy.spine(-plane["T12"][1])[1]),
        "Skull": float(rng.normal(20, 8)) + anatomy.spine_knots[0, 1],
    }
    y["Carina"] = float(anatomy.spine(-plane["Carina"][1])[1] + rng.normal(33, 4))
    build = 4 * anatomy.build
    for side in SIDES:
        spine_y = float(anatomy.spine(-plane[f"{side} hemidiaphragm"][1])[1])
        y[f"{side} hemidiaphragm"] = spine_y + float(rng.normal(68 if side == "Right" else 48, 12)) + build
        head, elbow, wrist = (plane[f"{side} {p}"] for p in ("humeral head", "elbow", "wrist"))
        y[f"{side} humeral head"] = float(rng.normal({"crossed": 8, "side": -2, "raised": 6}[anatomy.arms], 9))
        y[f"{side} scapular inferior angle"] = float(rng.normal(-32, 9))
        drop = _foreshortened(rng, head, elbow, 300 * anatomy.scale, 60)
        y[f"{side} elbow"] = (
            y[f"{side} humeral head"] + {"crossed": -0.3, "side": -0.5, "raised": 0.6}[anatomy.arms] * drop
        )
        reach = _foreshortened(rng, elbow, wrist, 250 * anatomy.scale, 120)
        y[f"{side} wrist"] = y[f"{side} elbow"] + {"crossed": 1.0, "side": 0.5, "raised": 0.2}[anatomy.arms] * reach
        if anatomy.arms == "crossed":
            around = float(np.clip((abs(wrist[0]) - 70) / 110, 0, 1))
            y[f"{side} wrist"] = float(rng.normal(150, 12)) + build - 80 * around
    return y


def _foreshortened(
    rng: np.random.Generator, start: tuple[float, float], end: tuple[float, float], length_mm: float, most_mm: float
) -> float:
    """Depth difference that gives a bone its length, as far as plausible."""
    flat = np.hypot(end[0] - start[0], end[1] - start[1])
    return float(min(most_mm, np.sqrt(max(length_mm**2 - flat**2, 0.0))) * rng.uniform(0.8, 1.0))
