"""Views of a case: where the C-arm is put, what it sees, and the truth about it. Training and evaluation share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from loopwright.schema import Frozen
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS, canonical_name
from loopwright.tools.carm.render import Renderer, make_renderer, to_uint8


class ViewSampling(Frozen):
    """How the views of one volume are drawn. What is left of the two fractions is uniform over the volume."""

    near_fraction: float = Field(default=0.4, ge=0, le=1, description="normal around a random landmark")
    near_sd_mm: float = Field(default=40.0, gt=0)
    centred_fraction: float = Field(default=0.15, ge=0, le=1, description="a landmark all but centred")
    centred_sd_mm: float = Field(default=7.0, ge=0)
    landmark_weights: dict[Annotated[str, AfterValidator(canonical_name)], Annotated[float, Field(gt=0)]] = Field(
        default={}, description="how many times as often as another a landmark is drawn; 1 where it is not named"
    )
    min_body: float = Field(default=0.06, ge=0, le=1, description="least share of the view that shows body")
    margin_mm: float = Field(default=20.0, description="how far beyond the volume a uniform isocentre may lie")
    depth_jitter_mm: float = Field(default=20.0, ge=0, description="uniform +- about the mid-coronal plane")
    angle_sd_deg: float = Field(default=2.5, ge=0, description="normal, alpha and beta")


_BODY = 0.5
"""Line integrals above this (some 25 mm of water) are body."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """n views of one case, and the truth about its L = 14 landmarks (NaN for one that the case does not hold).

    Attributes:
        images: (n, N, N) uint8.
        offsets_mm: (n, L, 2) float32, image right and image down.
        distance_mm: (n, L) float32 from the isocentre, in three dimensions.
        poses: (n, 5) float32: x, y, z mm, alpha, beta degrees.
    """

    images: NDArray[np.uint8]
    offsets_mm: NDArray[np.float32]
    distance_mm: NDArray[np.float32]
    poses: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)


def sample_training_poses(case: Case, n: int, sampling: ViewSampling, rng: np.random.Generator) -> list[Pose]:
    """`n` poses for training: dense about landmarks, the rest all over the body, depth and angles jittered."""
    renderer = make_renderer("numba", case.volume, Optics())
    bounds = case.volume.bounds_world
    low, high = bounds[0] - sampling.margin_mm, bounds[1] + sampling.margin_mm
    names = sorted(case.landmarks)
    often = np.array([sampling.landmark_weights.get(name, 1.0) for name in names])
    poses: list[Pose] = []
    while len(poses) < n:
        x, z = rng.uniform(low[0], high[0]), rng.uniform(low[2], high[2])
        kind = rng.random()
        if names and kind < sampling.near_fraction + sampling.centred_fraction:
            place = case.landmarks[names[rng.choice(len(names), p=often / often.sum())]]
            sd = sampling.near_sd_mm if kind < sampling.near_fraction else sampling.centred_sd_mm
            x, z = place[0] + rng.normal(0, sd), place[2] + rng.normal(0, sd)
        alpha, beta = rng.normal(0, sampling.angle_sd_deg, size=2)
        y = case.volume.mid_coronal_y_mm + rng.uniform(-1, 1) * sampling.depth_jitter_mm
        pose = Pose(x_mm=float(x), y_mm=float(y), z_mm=float(z), alpha_deg=float(alpha), beta_deg=float(beta))
        if body_share(renderer, pose) >= sampling.min_body:
            poses.append(pose)
    return poses


def body_share(renderer: Renderer, pose: Pose) -> float:
    """The share of the view that shows body, from a coarse picture."""
    return float((renderer.render(pose, 16) > _BODY).mean())


def centred_poses(case: Case) -> dict[str, Pose]:
    """The AP pose that centres each landmark of the case, the isocentre on the mid-coronal plane."""
    y = case.volume.mid_coronal_y_mm
    return {name: Pose(x_mm=float(p[0]), y_mm=y, z_mm=float(p[2])) for name, p in case.landmarks.items()}


def sample_body_poses(case: Case, n: int, optics: Optics, rng: np.random.Generator) -> list[Pose]:
    """`n` AP poses uniform over the volume, on the mid-coronal plane, where at least a quarter of the view is body."""
    renderer, bounds = make_renderer("numba", case.volume, optics), case.volume.bounds_world
    poses: list[Pose] = []
    while len(poses) < n:
        x, z = rng.uniform(bounds[0, 0], bounds[1, 0]), rng.uniform(bounds[0, 2], bounds[1, 2])
        pose = Pose(x_mm=float(x), y_mm=case.volume.mid_coronal_y_mm, z_mm=float(z))
        if body_share(renderer, pose) >= 0.25:
            poses.append(pose)
    return poses


def render_views(case: Case, poses: Sequence[Pose], optics: Optics, size_px: int) -> Views:
    """Render `poses` and write down the truth."""
    renderer = make_renderer("numba", case.volume, optics)
    positions = np.array([case.landmarks.get(name, np.full(3, np.nan)) for name in LANDMARKS])
    return Views(
        images=np.stack([to_uint8(renderer.render(pose, size_px)) for pose in poses]),
        offsets_mm=np.stack([in_plane_offset_mm(positions, pose) for pose in poses]).astype(np.float32),
        distance_mm=np.stack([np.linalg.norm(positions - pose.isocentre_world, axis=1) for pose in poses]).astype(
            np.float32
        ),
        poses=np.array([[p.x_mm, p.y_mm, p.z_mm, p.alpha_deg, p.beta_deg] for p in poses], dtype=np.float32),
    )
