"""Imagined frames from when they are imagined to when their moment comes."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from loopwright.schema import BlobReader, ImageRef
from loopwright.tools.drive.imagination import CELLS, Frame
from loopwright.tools.drive.likeness import iou, psnr_db, ssim
from loopwright.tools.drive.views import occupancy_seen
from loopwright.tools.pictures import read_picture

_NOW_S = 0.05


def pending(imagined: Sequence[dict[str, Any]], now_s: float) -> list[dict[str, Any]]:
    """The frames with a picture, each with the time of the drive at which it will have come."""
    frames = [frame for one in imagined for frame in one["frames"] if frame["image"] is not None]
    return [{"due_s": round(now_s + frame["horizon_s"], 3), "frame": frame} for frame in frames]


def is_due(waiting: Sequence[dict[str, Any]], now_s: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Those whose moment it is, and those that still wait; what was missed is dropped."""
    due = [one for one in waiting if abs(one["due_s"] - now_s) <= _NOW_S]
    return due, [one for one in waiting if one["due_s"] > now_s + _NOW_S]


def compare(blobs: BlobReader, one: dict[str, Any], image: ImageRef) -> dict[str, Any]:
    """An imagined frame beside what came: both pictures, and how alike they are."""
    frame = Frame.model_validate(one["frame"])
    assert frame.image is not None, "frames without a picture are not kept"
    imagined, came = read_picture(blobs, frame.image), read_picture(blobs, image)
    psnr = psnr_db(imagined, came)
    return {
        "horizon_s": frame.horizon_s,
        "imagined": frame.image.model_dump(mode="json"),
        "came": image.model_dump(mode="json"),
        "psnr_db": round(psnr, 2) if isfinite(psnr) else 99.0,
        "ssim": round(ssim(imagined, came), 4),
        "iou": round(iou(frame.future().occupied, occupancy_seen(came, min(CELLS, came.shape[0]))), 4),
    }
