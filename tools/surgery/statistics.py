"""What the simulator takes from real clips: counts of actions after actions, durations, instruments in view.

Stages are told from the actions alone, as CholecT45 has no phases: before the first Vessel Clipping, from it to the
last one, from that to the last Dissection, and from that on. Fit on training patients only; what is bundled is fitted
on every video at hand and must not stand behind a figure about those patients.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import Field, ValidationError

from loopwright.errors import BadInput
from loopwright.schema import Frozen
from loopwright.schema.json_text import parse_json
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

Stage = Literal["calot", "clipping", "liver bed", "cleaning"]
STAGES: tuple[Stage, ...] = get_args(Stage)
START = len(ACTIONS)
"""What stands for "no clip before" among the numbers of actions."""
BUNDLED = Path(__file__).with_name("cholect45_statistics.json")


class Duration(Frozen):
    """Log-normal duration of an action's clips."""

    log_mean: float = Field(description="mean of ln(seconds)")
    log_sd: float = Field(ge=0)


class ClipStatistics(Frozen):
    """Counts over the clips of some patients."""

    source: str
    licence: str
    videos: int = Field(ge=1)
    clips: int = Field(ge=2)
    first: tuple[int, ...] = Field(description="videos by their first action, in the order of ACTIONS")
    trigrams: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...] = Field(
        description="[stage][action before, or START][action][next action]"
    )
    stage_clips: tuple[float, ...] = Field(description="clips a video spends in each stage, mean")
    clippings: float = Field(description="clips of Vessel Clipping a video, mean")
    durations: dict[Action, Duration]
    instruments: dict[Action, dict[str, int]] = Field(description="clips by what was in view, as `grasper+hook`")


def fit_statistics(videos: Iterable[Sequence[Clip]], *, source: str = "", licence: str = "") -> ClipStatistics:
    """Count the clips of videos.

    Args:
        videos: one sequence of clips a video; those with fewer than two clips are left out.
        source: where the labels come from, with whom to cite.
        licence: theirs.

    Raises:
        BadInput: no video has two clips.
    """
    given = [clips for clips in videos if len(clips) > 1]
    if not given:
        raise BadInput("No video has two clips, so there is nothing to fit. Give more videos, or milder rules.")
    trigrams = np.zeros((len(STAGES), START + 1, len(ACTIONS), len(ACTIONS)), dtype=int)
    first, spent = np.zeros(len(ACTIONS), dtype=int), np.zeros(len(STAGES))
    clippings = 0
    for clips in given:
        actions = [ACTIONS.index(clip.action) for clip in clips]
        stages = _stages(actions)
        first[actions[0]] += 1
        spent += np.bincount(stages, minlength=len(STAGES))
        for stage, before, now, following in zip(stages, [START, *actions], actions, actions[1:], strict=False):
            trigrams[stage, before, now, following] += 1
        clippings += actions.count(ACTIONS.index("Vessel Clipping"))
    every = [clip for clips in given for clip in clips]
    return ClipStatistics(
        source=source,
        licence=licence,
        videos=len(given),
        clips=len(every),
        first=tuple(first.tolist()),
        trigrams=trigrams.tolist(),
        stage_clips=tuple((spent / len(given)).round(4).tolist()),
        clippings=round(clippings / len(given), 4),
        durations={action: _duration(every, action) for action in ACTIONS},
        instruments={action: _instruments(every, action) for action in ACTIONS},
    )


@cache
def bundled_statistics() -> ClipStatistics:
    """What was fitted on the CholecT45 videos at hand. Not for figures about those patients: fit per fold."""
    return read_statistics(BUNDLED)


def read_statistics(path: Path) -> ClipStatistics:
    """Statistics from a JSON file, as `loopwright data build surgery` writes it.

    Raises:
        BadInput: the file is not there, or is not such statistics.
    """
    try:
        return ClipStatistics.model_validate(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise BadInput(f"`{path}` holds no statistics of clips: {error}.") from error


def _stages(actions: Sequence[int]) -> list[int]:
    """The stage that each clip leaves the procedure in; all the first one where nothing is clipped."""
    places = {action: [i for i, number in enumerate(actions) if ACTIONS[number] == action] for action in ACTIONS}
    clippings = places["Vessel Clipping"]
    if not clippings:
        return [0] * len(actions)
    begins = (clippings[0], clippings[-1], max([*places["Dissection"], clippings[-1]]))
    return [sum(i >= begin for begin in begins) for i in range(len(actions))]


def _duration(clips: Iterable[Clip], action: Action) -> Duration:
    logs = [math.log(clip.duration_s) for clip in clips if clip.action == action]
    if not logs:
        return Duration(log_mean=math.log(10), log_sd=1.0)
    return Duration(log_mean=round(float(np.mean(logs)), 4), log_sd=round(float(np.std(logs)), 4))


def _instruments(clips: Iterable[Clip], action: Action) -> dict[str, int]:
    seen = Counter("+".join(clip.main_instruments) for clip in clips if clip.action == action)
    return {names: n for names, n in seen.most_common() if names}
