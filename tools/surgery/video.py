"""Videos that a world goes through clip by clip: recorded ones, and simulated patients."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.models.pixels import open_picture
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.dataset import read_clips, read_source
from loopwright.tools.surgery.drawing import SIZE_PX, draw_moment
from loopwright.tools.surgery.procedure import Procedure, VisibleState, bundled_procedure
from loopwright.tools.surgery.simulator import Moment, simulate, video_name
from loopwright.tools.surgery.splits import patient_of, video_of
from loopwright.tools.surgery.vocabulary import Action

SPECS = "`simulated:SEED`, or `FOLDER:VIDxx` with a folder that `loopwright data build surgery` wrote"
Instead = Mapping[int, Action]
"""Actions that were performed at some clips, whatever the video would have shown."""


class Video(Protocol):
    """What a world needs of a video. Clips count from 0."""

    name: str
    can_differ: bool
    """Whether another action than the video's own can be performed."""

    def clip(self, index: int, instead: Instead) -> Clip | None:
        """A clip; None beyond the end."""
        ...

    def image(self, index: int, instead: Instead) -> NDArray[np.uint8] | None:
        """(height, width, 3) the clip's last picture; None where it has none."""
        ...

    def state(self, index: int, instead: Instead) -> VisibleState | None:
        """What is truly visible at the clip's end; None where nobody knows."""
        ...


class RecordedVideo:
    """A video as it was recorded: its clips, and the pictures that they name, where there are any."""

    can_differ = False

    def __init__(self, clips: Sequence[Clip], frames: Path | None = None) -> None:
        """Take the clips of one video, in order.

        Raises:
            BadInput: there is none, or they are of several videos.
        """
        if len({clip.video for clip in clips}) != 1:
            raise BadInput(f"{len(clips)} clips of {len({clip.video for clip in clips})} videos; expected one video's.")
        self.name = clips[0].video
        self._clips, self._frames = tuple(clips), frames

    def clip(self, index: int, instead: Instead) -> Clip | None:
        """See `Video`."""
        return self._clips[index] if index < len(self._clips) else None

    def image(self, index: int, instead: Instead) -> NDArray[np.uint8] | None:
        """See `Video`.

        Raises:
            BadInput: the picture that the clip names is gone or damaged.
        """
        names = self._clips[index].frames
        if not names or self._frames is None:
            return None
        path = self._frames / names[-1]
        try:
            return np.asarray(open_picture(path, "it").convert("RGB"))
        except BadInput as error:
            raise BadInput(f"`{path}`, which clip {index} of {self.name} shows, cannot be read: {error}") from error

    def state(self, index: int, instead: Instead) -> None:
        """Nobody knows."""


class SimulatedVideo:
    """A simulated patient. What was performed instead changes what follows."""

    can_differ = True

    def __init__(self, seed: int, procedure: Procedure | None = None, *, size_px: int = SIZE_PX) -> None:
        """Take the patient of a seed; without a procedure, that of the bundled statistics."""
        self.name, self.seed = video_name(seed), seed
        self._procedure = procedure or bundled_procedure()
        self._size_px = size_px
        self._begun: tuple[dict[int, Action], Iterator[Moment], list[Moment]] | None = None

    def clip(self, index: int, instead: Instead) -> Clip | None:
        """See `Video`."""
        moment = self._moment(index, instead)
        return None if moment is None else moment.clip

    def image(self, index: int, instead: Instead) -> NDArray[np.uint8] | None:
        """See `Video`."""
        moment = self._moment(index, instead)
        return None if moment is None else draw_moment(moment, size_px=self._size_px)

    def state(self, index: int, instead: Instead) -> VisibleState | None:
        """See `Video`."""
        moment = self._moment(index, instead)
        return None if moment is None else moment.state

    def of_patient(self, seed: int) -> "SimulatedVideo":
        """Another patient of the same procedure."""
        return SimulatedVideo(seed, self._procedure, size_px=self._size_px)

    def _moment(self, index: int, instead: Instead) -> Moment | None:
        """Simulated as far as is asked for, and kept until something else was performed."""
        if self._begun is None or self._begun[0] != instead:
            self._begun = dict(instead), simulate(self._procedure, self.seed, dict(instead)), []
        _, running, moments = self._begun
        while len(moments) <= index:
            following = next(running, None)
            if following is None:
                return None
            moments.append(following)
        return moments[index]


def open_video(spec: str) -> Video:
    """Open what `spec` names: `simulated:7`, or `FOLDER:VID68` with a folder of clips.

    Raises:
        BadInput: nothing of that name; with the repair.
    """
    where, colon, name = spec.rpartition(":")
    if not colon:
        raise BadInput(f"`{spec}` is no video. Expected {SPECS}.")
    if where == "simulated":
        if not name.isascii() or not name.isdigit():
            raise BadInput(f"`{spec}` has the seed {name!r}; expected a whole number, 0 or more: `simulated:7`.")
        return SimulatedVideo(int(name))
    folder = Path(where).expanduser()
    clips, source = read_clips(folder), read_source(folder)
    video = video_of(patient_of(name))
    if video not in clips:
        raise BadInput(f"`{folder}` has no clips of {video}. It holds {', '.join(clips) or 'none'}.")
    return RecordedVideo(clips[video], None if source["frames"] is None else Path(source["frames"]))
