"""Pictures of recorded videos: where they lie, which of them a clip shows, and which show nothing.

Frames taken out of the body are black in CholecT50 and CholecT45 (anonymity); a picture may also be missing or damaged.
Such frames are passed over and counted.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from loopwright.errors import BadInput
from loopwright.models.pixels import open_picture
from loopwright.schema import Frozen
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.splits import patient_of

FRAME_FOLDERS = ("videos", "data", "frames")
"""What CholecT50, CholecT45 and this project call the folder with one folder of frames a video."""
_SUFFIXES = (".png", ".jpg", ".jpeg")
_BLACK = 16
"""Brightest value (of 255) of a black frame; JPEG does not keep 0."""
_SAME_RATE = 1.5
"""How many times as far as the labels pictures may be numbered, or the labels as the pictures."""


class FrameCounts(Frozen):
    """What was found when pictures were chosen."""

    shown: int = 0
    missing: int = Field(default=0, description="labelled seconds of clips without a picture")
    black: int = Field(default=0, description="chosen, found black and passed over")
    unreadable: int = Field(default=0, description="chosen, found damaged and passed over")
    clips_without: int = Field(default=0, description="clips that are left with no picture")

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(**{name: getattr(self, name) + getattr(other, name) for name in FrameCounts.model_fields})


def frame_folder(data_set: Path) -> Path | None:
    """The folder of frames in a data set's folder, None where it has none."""
    return next((data_set / name for name in FRAME_FOLDERS if (data_set / name).is_dir()), None)


def frames_by_video(folder: Path) -> dict[int, dict[int, Path]]:
    """Patient to frame number to picture.

    Raises:
        BadInput: the folder is not there, a folder or picture in it has no number, or one has two pictures.
    """
    if not folder.is_dir():
        raise BadInput(f"`{folder}` is no folder; expected folders `VIDxx` of pictures `000000.png`.")
    found: dict[int, dict[int, Path]] = {}
    for video in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        pictures = found.setdefault(patient_of(video.name), {})
        for path in sorted(video.iterdir()):
            if path.suffix.lower() not in _SUFFIXES:
                continue
            if not path.stem.isdecimal():
                raise BadInput(f"`{path}` has no frame's number for a name; expected one as `000123.png`.")
            if (other := pictures.setdefault(int(path.stem), path)) != path:
                raise BadInput(f"`{path}` and `{other}` are the same frame. Remove one.")
    return found


def check_rate(labelled: Sequence[int], pictures: Mapping[int, Path]) -> None:
    """Refuse pictures of a video whose numbers cannot be those of its labels: 25 a second beside labels at 1 fps.

    Args:
        labelled: numbers of the frames that are labelled.
        pictures: the video's, by number.

    Raises:
        BadInput: naming the folder, how far either is numbered, and the repair.
    """
    if not len(labelled) or not pictures:
        return
    last_label, last_picture = int(max(labelled)), max(pictures)
    ratio = (last_picture + 1) / (last_label + 1)
    if not 1 / _SAME_RATE <= ratio <= _SAME_RATE:
        raise BadInput(
            f"`{pictures[last_picture].parent}` has pictures numbered to {last_picture}, the labels of the video go to "
            f"{last_label}: about {ratio:.3g} pictures a labelled second; expected one. Name each picture by its "
            "second (of a video at 25 fps, frame 3075 is `000123.png`), and copy those that are missing."
        )


def choose_frames(
    clips: Sequence[Clip], labelled: Sequence[Sequence[int]], pictures: Mapping[int, Path], folder: Path, per_clip: int
) -> tuple[list[Clip], FrameCounts]:
    """The clips of one video with their pictures: the last good one, and for more, evenly back over the clip.

    Args:
        clips: of one video.
        labelled: the frames of each clip that carry its action.
        pictures: the video's, by frame.
        folder: what the paths in the clips start from.
        per_clip: how many a clip shows at most; 0 shows none and counts nothing.
    """
    if per_clip == 0:
        return list(clips), FrameCounts()
    shown, counts = [], FrameCounts()
    for clip, frames in zip(clips, labelled, strict=True):
        there = [frame for frame in frames if frame in pictures]
        good, looked = _good(there, pictures, per_clip)
        shown.append(clip.model_copy(update={"frames": tuple(str(path.relative_to(folder)) for path in good)}))
        counts += FrameCounts(shown=len(good), missing=len(frames) - len(there), clips_without=int(not good), **looked)
    return shown, counts


def _good(there: Sequence[int], pictures: Mapping[int, Path], per_clip: int) -> tuple[list[Path], dict[str, int]]:
    """Up to `per_clip` pictures that show something, oldest first, and how many were passed over why."""
    looked = {"black": 0, "unreadable": 0}
    good: list[Path] = []
    edges = np.linspace(0, len(there), per_clip + 1).round().astype(int)
    for first, end in itertools.pairwise(edges):
        for frame in reversed(there[first:end]):
            problem = _problem(pictures[frame])
            if problem is None:
                good.append(pictures[frame])
                break
            looked[problem] += 1
    return good, looked


def _problem(path: Path) -> str | None:
    try:
        brightest = int(np.asarray(open_picture(path).convert("L")).max())
    except BadInput:
        return "unreadable"
    return "black" if brightest <= _BLACK else None
