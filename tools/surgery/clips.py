"""Clips of one action: consecutive frames with the same action, by rules that are settings, and what they dropped.

The paper (Xu et al. 2025, section 3) groups "consecutive frames sharing the same action" and prints no rule for
overlaps, gaps or short runs; here each is one, with its count. The defaults give the "merged" clips of the docs.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Frozen
from loopwright.tools.surgery.cholec import UNKNOWN_PHASE, FrameLabels
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, PHASES, TARGETS, VERBS, Action

PAPER_PHASES = ("calot-triangle-dissection", "clipping-and-cutting", "gallbladder-dissection")
VERB_ACTIONS: Mapping[str, Action] = {
    "retract": "Tissue Retraction",
    "dissect": "Dissection",
    "coagulate": "Coagulation",
    "clip": "Vessel Clipping",
    "aspirate": "Aspiration",
}
"""The natural reading; the paper prints none."""


class ClipRules(Frozen):
    """How frames become clips. A frame's actions are those of its verbs."""

    verb_actions: dict[str, Action] = Field(default=dict(VERB_ACTIONS), description="verbs that are not named are none")
    background: Action | None = Field(
        default="Tissue Retraction", description="goes on beside the others, so it counts where it is alone"
    )
    overlap: Literal["drop", "rank"] = Field(
        default="drop", description="a frame with two or more actions: drop it, or take the first in `rank`"
    )
    rank: tuple[Action, ...] = ("Vessel Clipping", "Coagulation", "Aspiration", "Dissection", "Tissue Retraction")
    phases: tuple[str, ...] | None = Field(default=PAPER_PHASES, description="frames of others are dropped; None: all")
    unknown_phase: Literal["keep", "drop"] = Field(default="keep", description="frames without a phase label")
    min_s: int = Field(default=3, ge=1, description="shorter runs are dropped, s")
    join_gap_s: int | None = Field(
        default=None,
        ge=0,
        description="runs of one action with at most so many seconds between are one; None: any",
    )

    @model_validator(mode="after")
    def _words_are_known(self) -> Self:
        for verb in self.verb_actions:
            if verb not in VERBS:
                raise UnknownName("verb", verb, VERBS)
        for phase in self.phases or ():
            if phase not in PHASES:
                raise UnknownName("phase", phase, PHASES)
        if self.overlap == "rank" and set(self.rank) != set(ACTIONS):
            raise ValueError("`rank` must name each action once")
        return self


def load_rules(path: Path) -> ClipRules:
    """Rules from YAML; what it leaves out is as usual.

    Raises:
        BadInput: naming the key, its value and what was expected.
    """
    try:
        return ClipRules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"`{path}` cannot be read ({error}); expected YAML with rules for clips.") from error
    except ValidationError as error:
        wrong = [f"`{'.'.join(map(str, e['loc']))}` = {e.get('input')!r}: {e['msg']}" for e in error.errors()]
        known = ", ".join(ClipRules.model_fields)
        raise BadInput(f"`{path}` is wrong: {'; '.join(wrong)}. Its keys are {known}.") from error


class Clip(Frozen):
    """One action, from one second of a video to another."""

    video: str
    index: int = Field(ge=0, description="in its video, from 0")
    action: Action
    start_s: int = Field(ge=0, description="its first frame")
    end_s: int = Field(ge=0, description="its last frame, which belongs to it")
    labelled_s: int = Field(ge=1, description="frames in it that carry its action; the rest were dropped")
    phase: str | None = Field(default=None, description="that of most of its frames")
    instruments: dict[str, int] = Field(default={}, description="in view, for how many of its labelled seconds")
    targets: dict[str, int] = Field(default={}, description="worked on, for how many of its labelled seconds")
    frames: tuple[str, ...] = Field(default=(), description="pictures, oldest first, by path from the frames' folder")

    @property
    def duration_s(self) -> int:
        """From its first to its last second."""
        return self.end_s - self.start_s + 1

    @property
    def main_instruments(self) -> tuple[str, ...]:
        """In view for at least half of its labelled seconds."""
        return tuple(name for name, seconds in self.instruments.items() if 2 * seconds >= self.labelled_s)


class Counts(Frozen):
    """What became of a video's frames and runs."""

    frames: int = 0
    """Labelled ones. Of these:"""
    no_action: int = 0
    overlapping: int = 0
    """With two or more actions: dropped, or ranked, as the rules say."""
    other_phase: int = 0
    unknown_phase: int = 0
    """Kept or dropped, as the rules say."""
    runs: int = 0
    too_short: int = 0
    """Runs dropped; and how many frames they held:"""
    too_short_frames: int = 0
    joined: int = 0
    """Runs that continue the clip before them."""
    clips: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class _Run(NamedTuple):
    """Rows [first, last] of the labels, all of one action; `rows` are those that carry it."""

    action: int
    rows: NDArray[np.int64]


def clips_of(labels: FrameLabels, rules: ClipRules) -> tuple[list[Clip], Counts]:
    """The clips of one video, in order, and what was dropped on the way.

    A run is as long as labels follow each other with one action; seconds that nobody labelled (key frames only) neither
    break it nor are dropped. Then runs shorter than `min_s` go, and neighbours of one action are joined.
    """
    action, counted = frame_actions(labels, rules)
    runs = list(_runs(action))
    long = [run for run in runs if _span_s(labels, run) >= rules.min_s]
    joined: list[_Run] = []
    for run in long:
        if joined and joined[-1].action == run.action and _joins(labels, joined[-1], run, rules):
            joined[-1] = _Run(run.action, np.concatenate([joined[-1].rows, run.rows]))
        else:
            joined.append(run)
    clips = [_clip(labels, index, run) for index, run in enumerate(joined)]
    counts = Counts(
        **counted,
        frames=len(labels.frames),
        runs=len(runs),
        too_short=len(runs) - len(long),
        too_short_frames=sum(len(run.rows) for run in runs) - sum(len(run.rows) for run in long),
        joined=len(long) - len(joined),
        clips=len(clips),
    )
    return clips, counts


def frame_actions(labels: FrameLabels, rules: ClipRules) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Number of each frame's action (n,), -1 where it is dropped, and how many were dropped why."""
    present = np.zeros((len(labels.frames), len(ACTIONS)), dtype=np.bool_)
    for verb, name in rules.verb_actions.items():
        present[:, ACTIONS.index(name)] |= labels.verbs[:, VERBS.index(verb)]
    if rules.background is not None:
        place = ACTIONS.index(rules.background)
        present[:, place] &= present.sum(axis=1) == 1
    number = present.sum(axis=1)
    order = [ACTIONS.index(name) for name in rules.rank]
    if rules.overlap == "rank":
        action = np.array(order)[present[:, order].argmax(axis=1)]
    else:
        action = np.where(number == 1, present.argmax(axis=1), -1)
    action = np.where(number > 0, action, -1)
    unknown = labels.phases == UNKNOWN_PHASE
    other = np.zeros_like(unknown)
    if rules.phases is not None:
        other = ~unknown & ~np.isin(labels.phases, [PHASES.index(phase) for phase in rules.phases])
    dropped = other | unknown if rules.unknown_phase == "drop" else other
    counted = {
        "no_action": int((number == 0).sum()),
        "overlapping": int((number > 1).sum()),
        "other_phase": int(other.sum()),
        "unknown_phase": int(unknown.sum()),
    }
    return np.where(dropped, -1, action), counted


def _runs(action: NDArray[np.int64]) -> Iterator[_Run]:
    edges = [*np.flatnonzero(np.diff(action, prepend=-2)), len(action)]
    for first, end in itertools.pairwise(edges):
        if action[first] >= 0:
            yield _Run(int(action[first]), np.arange(first, end))


def _span_s(labels: FrameLabels, run: _Run) -> int:
    return int(labels.frames[run.rows[-1]] - labels.frames[run.rows[0]]) + 1


def _joins(labels: FrameLabels, before: _Run, after: _Run, rules: ClipRules) -> bool:
    between_s = int(labels.frames[after.rows[0]] - labels.frames[before.rows[-1]]) - 1
    return rules.join_gap_s is None or between_s <= rules.join_gap_s


def _clip(labels: FrameLabels, index: int, run: _Run) -> Clip:
    phases = Counter(int(phase) for phase in labels.phases[run.rows] if phase != UNKNOWN_PHASE)
    return Clip(
        video=labels.video,
        index=index,
        action=ACTIONS[run.action],
        start_s=int(labels.frames[run.rows[0]]),
        end_s=int(labels.frames[run.rows[-1]]),
        labelled_s=len(run.rows),
        phase=PHASES[phases.most_common(1)[0][0]] if phases else None,
        instruments=_seconds(labels.instruments[run.rows], INSTRUMENTS),
        targets=_seconds(labels.targets[run.rows], TARGETS),
    )


def _seconds(bits: NDArray[np.bool_], words: tuple[str, ...]) -> dict[str, int]:
    """How many rows have each word, those with none left out."""
    return {word: int(n) for word, n in zip(words, bits.sum(axis=0), strict=True) if n}
