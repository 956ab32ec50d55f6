"""The C-arm's geometry: pose, optics, and where a point of the patient lands on the picture.

Frames: `_world` is the patient's RAS+ frame in mm (x right, y anterior, z superior); `_image` is pixels with the origin
at the *corner* of the top-left pixel, u right, v down, so the centre of an N-pixel image is N / 2.

alpha = beta = 0 is the AP view: the source is in front of the patient, rays run to posterior (-y), the image's u axis
is the patient's left (-x) and its v axis is caudal (-z). Positive alpha swings the detector about the longitudinal
axis towards the patient's left; positive beta then tips the detector towards the patient's head. Knows no volume and
draws no picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from loopwright.schema import Frozen

Array = NDArray[np.float64]


class Pose(Frozen):
    """Where the C-arm looks: isocentre in `_world` mm, and two angles in degrees."""

    x_mm: float = Field(allow_inf_nan=False, description="isocentre, growing towards the patient's right, mm")
    y_mm: float = Field(allow_inf_nan=False, description="isocentre, growing towards the patient's front, mm")
    z_mm: float = Field(allow_inf_nan=False, description="isocentre, growing towards the patient's head, mm")
    alpha_deg: float = Field(
        default=0.0, allow_inf_nan=False, description="swing of the detector towards the patient's left, degrees"
    )
    beta_deg: float = Field(
        default=0.0, allow_inf_nan=False, description="tilt of the detector towards the patient's head, degrees"
    )

    @property
    def isocentre_world(self) -> Array:
        """(3,) mm."""
        return np.array([self.x_mm, self.y_mm, self.z_mm])

    def moved(
        self,
        left_mm: float = 0.0,
        caudal_mm: float = 0.0,
        anterior_mm: float = 0.0,
        alpha_deg: float = 0.0,
        beta_deg: float = 0.0,
    ) -> "Pose":
        """The pose after moving the *view* in patient directions; depth stays where it is unless it is commanded."""
        return Pose(
            x_mm=self.x_mm - left_mm,
            y_mm=self.y_mm + anterior_mm,
            z_mm=self.z_mm - caudal_mm,
            alpha_deg=self.alpha_deg + alpha_deg,
            beta_deg=self.beta_deg + beta_deg,
        )


class Optics(Frozen):
    """A cone-beam C-arm. The defaults are those of DeepDRR's MobileCArm (1536 x 0.194 mm detector, 530 of 1020 mm)."""

    source_detector_mm: float = Field(default=1020.0, gt=0)
    source_isocentre_mm: float = Field(default=530.0, gt=0)
    detector_mm: float = Field(default=1536 * 0.194, gt=0)

    @model_validator(mode="after")
    def _isocentre_before_detector(self) -> "Optics":
        if self.source_isocentre_mm >= self.source_detector_mm:
            raise ValueError("`source_isocentre_mm` must be smaller than `source_detector_mm`")
        return self

    @property
    def field_of_view_mm(self) -> float:
        """Edge of the square seen in the plane through the isocentre (154.8 mm by default)."""
        return self.detector_mm * self.source_isocentre_mm / self.source_detector_mm

    def pixel_mm(self, size_px: int) -> float:
        """Detector pixel pitch in mm for a `size_px` x `size_px` picture."""
        return self.detector_mm / size_px


class ViewAxes(NamedTuple):
    """Orthonormal camera axes in `_world`, each (3,): image right, image down, and from source to detector."""

    u: Array
    v: Array
    forward: Array


def view_axes(pose: Pose) -> ViewAxes:
    """Camera axes of `pose`: u x v = forward."""
    a, b = np.deg2rad(pose.alpha_deg), np.deg2rad(pose.beta_deg)
    left, caudal, posterior = np.array([-1.0, 0, 0]), np.array([0, 0, -1.0]), np.array([0, -1.0, 0])
    swung = np.cos(a) * posterior + np.sin(a) * left
    u = np.cos(a) * left - np.sin(a) * posterior
    forward = np.cos(b) * swung - np.sin(b) * caudal
    v = np.cos(b) * caudal + np.sin(b) * swung
    return ViewAxes(u, v, forward)


def source_world(pose: Pose, optics: Optics) -> Array:
    """(3,) mm, the X-ray source."""
    return pose.isocentre_world - optics.source_isocentre_mm * view_axes(pose).forward


def project_to_image(points_world: ArrayLike, pose: Pose, optics: Optics, size_px: int) -> Array:
    """Perspective projection: (..., 3) mm in `_world` to (..., 2) pixels (u, v) in `_image`.

    A point at or behind the source has no image and gives NaN.
    """
    axes = view_axes(pose)
    rays = np.asarray(points_world, dtype=np.float64) - source_world(pose, optics)
    depth = rays @ axes.forward
    depth = np.where(depth > 0, depth, np.nan)
    scale = optics.source_detector_mm / depth / optics.pixel_mm(size_px)
    return np.stack([rays @ axes.u * scale, rays @ axes.v * scale], axis=-1) + size_px / 2


def in_plane_offset_mm(points_world: ArrayLike, pose: Pose) -> Array:
    """(..., 3) mm in `_world` to (..., 2) mm: how far to move the view (image right, image down) to centre each point.

    Orthogonal to the central ray, in the plane through the isocentre; its norm is the distance from the point to the
    central ray. In the AP view the two numbers are (patient-left, caudal).
    """
    axes = view_axes(pose)
    delta = np.asarray(points_world, dtype=np.float64) - pose.isocentre_world
    return np.stack([delta @ axes.u, delta @ axes.v], axis=-1)
