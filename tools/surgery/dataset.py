"""Builds clips, samples and statistics from a data set's labels, and reads them back.

    OUT/parameters.json   what decides the content; it cannot change under a folder that was begun
    OUT/source.json       which folders the labels and pictures came from
    OUT/clips.jsonl       every clip of every video that was used
    OUT/PART.jsonl        samples of the patients of a part
    OUT/statistics.json   what the simulator takes from the training patients' clips, and from nobody else's
    OUT/counts.json       what was used, dropped and skipped, by video and in all

Patients' pictures stay where they are: a clip names them by path from the folder of frames.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import Field, ValidationError

from loopwright.errors import BadInput
from loopwright.schema import Frozen
from loopwright.schema.json_text import parse_json
from loopwright.tools.files import keep_parameters, write_whole
from loopwright.tools.surgery.cholec import DataSet, FrameLabels, read_labels
from loopwright.tools.surgery.clips import Clip, ClipRules, Counts, clips_of, frame_actions
from loopwright.tools.surgery.frames import FrameCounts, check_rate, choose_frames, frame_folder, frames_by_video
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.splits import PARTS, Part, Split, patient_of, split_of
from loopwright.tools.surgery.statistics import fit_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS

CLIPS, COUNTS, STATISTICS = "clips.jsonl", "counts.json", "statistics.json"
SOURCE = "source.json"
_REPAIR = "build it: `loopwright data build surgery`"
Row = TypeVar("Row", bound=Frozen)
_CITE = (
    "C. I. Nwoye, T. Yu, C. Gonzalez, B. Seeliger, P. Mascagni, D. Mutter, J. Marescaux, N. Padoy. Rendezvous: "
    "Attention Mechanisms for the Recognition of Surgical Action Triplets in Endoscopic Videos. Medical Image Analysis "
    "78 (2022) 102433."
)
_LICENCE = "Labels: CC BY-NC-SA 4.0, CAMMA, ICube, University of Strasbourg. These are counts over them."


class SurgeryData(Frozen):
    """What decides the content, beside the labels."""

    data_set: DataSet
    split: str = Field(default="rendezvous", description="one of `loopwright.tools.surgery.splits.SPLITS`")
    rules: ClipRules = ClipRules()
    history: HistoryRules = HistoryRules()
    frames_per_clip: int = Field(default=1, ge=0, description="pictures a clip shows at most")


class Built(NamedTuple):
    """What a build wrote: files with their number of lines, and the content of `counts.json`."""

    rows: Mapping[Path, int]
    counts: Mapping[str, Any]


class _Video(NamedTuple):
    """One video's share of a build; `part` is None where it was skipped, and `why` says why."""

    name: str
    part: Part | None
    why: str
    clips: Sequence[Clip]
    samples: Sequence[Sample]
    counts: Counts
    pictures: FrameCounts


def build(
    out: Path,
    folder: Path,
    data: SurgeryData,
    *,
    frames: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build everything in `out`. Run again, it writes the same.

    Args:
        out: made where it is missing.
        folder: the data set's.
        data: settings.
        frames: folder of `VIDxx/000000.png`; None is the data set's own, where it has one.
        on_progress: called with of each video.

    Raises:
        BadInput: the labels are wrong (see `read_labels`), `frames` is no folder of frames or numbered at another
            rate than the labels, `out` was built with other parameters, or no video has a clip.
    """
    labels = read_labels(folder, data.data_set)
    split = split_of(data.split, [patient_of(video.video) for video in labels])
    frames = frames or frame_folder(folder)
    pictures = frames_by_video(frames) if frames is not None else {}
    keep_parameters(out, data.model_dump(mode="json"))
    videos = []
    for video in labels:
        videos.append(_built(video, split, data, pictures.get(patient_of(video.video), {}), frames))
        on_progress(_said(videos[-1]))
    used = [video for video in videos if video.part is not None]
    if not used:
        raise BadInput(f"`{folder}`: none of {len(videos)} videos has a clip. " + " ".join(map(_said, videos[:3])))
    source = {"labels": str(folder.resolve()), "frames": None if frames is None else str(frames.resolve())}
    write_whole(out / SOURCE, _json(source))
    rows = {out / CLIPS: _write_lines(out / CLIPS, [clip for video in used for clip in video.clips])}
    for part in PARTS:
        samples = [sample for video in used if video.part == part for sample in video.samples]
        rows[out / f"{part}.jsonl"] = _write_lines(out / f"{part}.jsonl", samples)
    _write_statistics(out, data, used)
    counts = _counts(videos)
    write_whole(out / COUNTS, _json(counts))
    return Built(rows, counts)


def read_clips(out: Path) -> dict[str, list[Clip]]:
    """The clips of a built folder, by video.

    Raises:
        BadInput: the folder holds no clips, or a line is damaged.
    """
    clips: dict[str, list[Clip]] = {}
    for clip in _read_lines(out / CLIPS, Clip):
        clips.setdefault(clip.video, []).append(clip)
    return clips


def read_samples(path: Path) -> list[Sample]:
    """The samples of a part's file.

    Raises:
        BadInput: the file is not there, or a line is damaged.
    """
    return _read_lines(path, Sample)


def read_source(out: Path) -> dict[str, str | None]:
    """Which folders a built folder's `labels` and `frames` came from; `frames` is None where there were none.

    Raises:
        BadInput: the folder was not built.
    """
    try:
        source = parse_json((out / SOURCE).read_text(encoding="utf-8"))
        return {"labels": source["labels"], "frames": source["frames"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"`{out / SOURCE}` cannot be read ({error}); {_REPAIR}.") from error


def _built(
    labels: FrameLabels, split: Split, data: SurgeryData, pictures: Mapping[int, Path], frames: Path | None
) -> _Video:
    clips, counts = clips_of(labels, data.rules)
    part = split.part_of(patient_of(labels.video))
    why = "" if part else f"the split {split.name!r} does not know the patient"
    why = why or ("" if len(labels.frames) else "no frame is labelled") or ("" if clips else "the rules leave no clip")
    if why:
        return _Video(labels.video, None, why, (), (), counts, FrameCounts())
    seen = FrameCounts()
    if frames is not None and data.frames_per_clip:
        check_rate(labels.frames.tolist(), pictures)
        clips, seen = choose_frames(clips, _labelled(labels, clips, data.rules), pictures, frames, data.frames_per_clip)
    return _Video(labels.video, part, "", clips, list(samples_of(clips, data.history)), counts, seen)


def _labelled(labels: FrameLabels, clips: Sequence[Clip], rules: ClipRules) -> list[list[int]]:
    """Each clip's frames that carry its action."""
    action, _ = frame_actions(labels, rules)
    return [
        labels.frames[
            (action == ACTIONS.index(clip.action)) & (labels.frames >= clip.start_s) & (labels.frames <= clip.end_s)
        ].tolist()
        for clip in clips
    ]


def _write_statistics(out: Path, data: SurgeryData, used: Sequence[_Video]) -> None:
    training = [video.clips for video in used if video.part == "train" and len(video.clips) > 1]
    if training:
        name = {"cholect50": "CholecT50", "cholect45": "CholecT45"}[data.data_set]
        source = f"Clips of one action in {len(training)} videos of {name} ({data.split}, train). Cite: {_CITE}"
        statistics = fit_statistics(training, source=source, licence=_LICENCE)
        write_whole(out / STATISTICS, statistics.model_dump_json().encode())
    else:
        (out / STATISTICS).unlink(missing_ok=True)


def _counts(videos: Sequence[_Video]) -> dict[str, Any]:
    """The content of `counts.json`."""
    used = [video for video in videos if video.part is not None]
    by_part = {
        part: {
            "videos": sum(video.part == part for video in used),
            "samples": sum(len(video.samples) for video in used if video.part == part),
            "clips": _by_action(clip for video in used if video.part == part for clip in video.clips),
        }
        for part in PARTS
    }
    return {
        "videos": len(videos),
        "used": len(used),
        "skipped": {video.name: video.why for video in videos if video.part is None},
        "samples": sum(len(video.samples) for video in used),
        "clips": _by_action(clip for video in used for clip in video.clips),
        "frames": sum((video.counts for video in used), Counts()).model_dump(),
        "pictures": sum((video.pictures for video in used), FrameCounts()).model_dump(),
        "parts": by_part,
        "by_video": {
            video.name: {
                "part": video.part,
                "samples": len(video.samples),
                **video.counts.model_dump(),
                "pictures": video.pictures.model_dump(),
            }
            for video in videos
        },
    }


def _by_action(clips: Iterable[Clip]) -> dict[str, int]:
    counted = Counter(clip.action for clip in clips)
    return {action: counted[action] for action in ACTIONS}


def _said(video: _Video) -> str:
    if video.part is None:
        return f"{video.name}: skipped, {video.why}."
    return f"{video.name}: {len(video.clips)} clips and {len(video.samples)} samples to {video.part}."


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _write_lines(path: Path, rows: Sequence[Frozen]) -> int:
    write_whole(path, "".join(f"{row.model_dump_json()}\n" for row in rows).encode())
    return len(rows)


def _read_lines(path: Path, kind: type[Row]) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read ({error.strerror}); {_REPAIR}.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise BadInput(f"`{path}`, line {number}, is no {kind.__name__}: {error}") from error
    return rows
