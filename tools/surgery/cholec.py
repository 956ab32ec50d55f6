"""Reads the labels of CholecT50 (one JSON a video) and CholecT45 (one text file a component and video, or packed).

What comes out is one `FrameLabels` a video, in the words of `loopwright.tools.surgery.vocabulary`. Knows no clip.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.schema.json_text import parse_json
from loopwright.tools.surgery.splits import patient_of, video_of
from loopwright.tools.surgery.vocabulary import INSTRUMENTS, PHASES, TARGETS, VERBS, number_of

DataSet = Literal["cholect50", "cholect45"]
UNKNOWN_PHASE = -1
_COMPONENTS: Mapping[str, tuple[str, ...]] = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}

Bits = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameLabels:
    """What was labelled in one video, one row a labelled frame; at 1 fps a frame's number is its second.

    Attributes:
        video: as `VID07`.
        frames: (n,) numbers of the labelled frames, ascending.
        instruments: (n, 6), verbs: (n, 10), targets: (n, 15), in the vocabulary's order.
        phases: (n,) number of the phase, `UNKNOWN_PHASE` where nobody said.
    """

    video: str
    frames: NDArray[np.int64]
    instruments: Bits
    verbs: Bits
    targets: Bits
    phases: NDArray[np.int64]


def read_labels(folder: Path, data_set: DataSet) -> list[FrameLabels]:
    """The labels of every video in a data set's folder, by patient.

    CholecT50: `labels/VIDxx.json`; versions 1 (the challenge's, key frames only) and 2 (complete) differ in how they
    write numbers and names, and are both read. CholecT45: `verb/VIDxx.txt` and likewise `instrument`, `target`; or one
    `.npz` with the arrays `VIDxx/verb`, ..., packed by `numpy.packbits` along the columns. CholecT45 has no phases.

    Raises:
        BadInput: naming the file, and the frame where there is one: nothing to read, a word, number or shape that the
            data set does not have, or a patient that comes twice.
    """
    if not folder.is_dir():
        raise BadInput(f"`{folder}` is no folder; expected the folder of {data_set}.")
    videos = list(_read_cholect50(folder) if data_set == "cholect50" else _read_cholect45(folder))
    seen: set[str] = set()
    for labels in videos:
        if labels.video in seen:
            raise BadInput(f"`{folder}` holds two videos of the patient {labels.video}. Remove one.")
        seen.add(labels.video)
    return sorted(videos, key=lambda labels: patient_of(labels.video))


# CholecT50


_PLACES = {"instrument": 1, "verb": 7, "target": 8, "phase": 14}
"""Of what is read, in an instance's numbers."""
_LENGTH = 15
_NULL = -1


def _read_cholect50(folder: Path) -> Iterator[FrameLabels]:
    files = sorted((folder / "labels").glob("*.json"))
    if not files:
        raise BadInput(f"`{folder}` holds no `labels/VIDxx.json`; expected the folder of CholecT50.")
    for path in files:
        content = _json(path)
        annotations = content.get("annotations")
        if not isinstance(annotations, dict):
            raise BadInput(f"`{path}` has no `annotations`; expected frames by number.")
        if str(content.get("fps", 1)) not in ("1", "1.0"):
            raise BadInput(f"`{path}`: `fps` = {content['fps']!r}; expected 1, as CholecT50 has it.")
        yield _video_of_instances(path, annotations, content.get("categories") or {})


def _video_of_instances(path: Path, annotations: dict[str, Any], categories: Mapping[str, Any]) -> FrameLabels:
    words = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS, "phase": PHASES}
    numbering = {what: _numbering(path, what, categories.get(what), known) for what, known in words.items()}
    try:
        frames = sorted(annotations, key=int)
    except ValueError as error:
        raise BadInput(f"`{path}`: a frame is no whole number ({error}).") from error
    bits = {what: np.zeros((len(frames), len(known)), dtype=np.bool_) for what, known in words.items()}
    for row, frame in enumerate(frames):
        if not isinstance(annotations[frame], list):
            raise BadInput(f"`{path}`, frame {frame}: {annotations[frame]!r:.80} is no list of triplets.")
        for instance in annotations[frame]:
            if not isinstance(instance, list) or len(instance) != _LENGTH:
                raise BadInput(f"`{path}`, frame {frame}: {instance!r:.80} has not the {_LENGTH} numbers of a triplet.")
            for what, place in _PLACES.items():
                number = instance[place]
                if number == _NULL:
                    continue
                if not isinstance(number, int | float) or number not in numbering[what]:
                    raise BadInput(f"`{path}`, frame {frame}: {what} {number!r} is not in the file's `categories`.")
                bits[what][row, numbering[what][int(number)]] = True
    phases = bits.pop("phase")
    torn = np.flatnonzero(phases.sum(axis=1) > 1)
    if len(torn):
        raise BadInput(f"`{path}`, frame {frames[torn[0]]}: more than one phase; expected one a frame.")
    return FrameLabels(
        video=video_of(patient_of(path.stem)),
        frames=np.array([int(frame) for frame in frames], dtype=np.int64),
        instruments=bits["instrument"],
        verbs=bits["verb"],
        targets=bits["target"],
        phases=np.where(phases.any(axis=1), phases.argmax(axis=1), UNKNOWN_PHASE).astype(np.int64),
    )


def _numbering(path: Path, what: str, named: Any, known: tuple[str, ...]) -> dict[int, int]:
    """The file's numbers as the vocabulary's: by the names that the file gives, else the same."""
    if not named:
        return {number: number for number in range(len(known))}
    items = named.items() if isinstance(named, dict) else enumerate(named)
    try:
        return {int(number): number_of(str(word), known, what) for number, word in items}
    except (BadInput, ValueError) as error:
        raise BadInput(f"`{path}`, `categories`: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"`{path}` cannot be read ({error}); expected JSON labels of one video.") from error
    if not isinstance(content, dict):
        raise BadInput(f"`{path}` holds a {type(content).__name__}; expected an object with `annotations`.")
    return content


# CholecT45


def _read_cholect45(folder: Path) -> Iterator[FrameLabels]:
    if (folder / "verb").is_dir():
        for path in sorted((folder / "verb").glob("*.txt")):
            tables = {what: _text_table(folder / what / path.name, len(words)) for what, words in _COMPONENTS.items()}
            frames = tables["verb"][0]
            for what, (others, _) in tables.items():
                if not np.array_equal(others, frames):
                    raise BadInput(f"`{folder / what / path.name}` and `{path}` do not label the same frames.")
            yield _video_of_bits(path.stem, frames, {what: bits for what, (_, bits) in tables.items()})
        return
    packed = sorted(folder.glob("*.npz"))
    if len(packed) != 1:
        raise BadInput(f"`{folder}` holds neither `verb/VIDxx.txt` nor one `.npz`; expected the folder of CholecT45.")
    yield from _read_packed(packed[0])


def _text_table(path: Path, columns: int) -> tuple[NDArray[np.int64], Bits]:
    """Frame numbers (n,) and bits (n, columns) of one component."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [[int(cell) for cell in line.split(",")] for line in lines]
    except (OSError, ValueError) as error:
        raise BadInput(f"`{path}` cannot be read ({error}); expected lines of whole numbers with commas.") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != columns + 1 or not set(row[1:]) <= {0, 1}:
            raise BadInput(f"`{path}`, line {number}: expected a frame and {columns} times 0 or 1, got {row!r:.80}.")
        if number > 1 and row[0] <= rows[number - 2][0]:
            raise BadInput(
                f"`{path}`, line {number}: frame {row[0]} follows {rows[number - 2][0]}; expected ascending."
            )
    table = np.array(rows, dtype=np.int64).reshape(len(rows), columns + 1)
    return table[:, 0], table[:, 1:].astype(np.bool_)


def _read_packed(path: Path) -> Iterator[FrameLabels]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, BadZipFile) as error:
        raise BadInput(f"`{path}` cannot be read ({error}); expected packed arrays `VIDxx/verb`, ...") from error
    for video in sorted({name.partition("/")[0] for name in arrays}):
        bits = {}
        for what, words in _COMPONENTS.items():
            array = arrays.get(f"{video}/{what}")
            width = -(-len(words) // 8)
            if array is None or array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
                got = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise BadInput(f"`{path}`: `{video}/{what}` is {got}; expected uint8 (frames, {width}).")
            unpacked = np.unpackbits(array, axis=1).astype(np.bool_)
            if unpacked[:, len(words) :].any():
                raise BadInput(f"`{path}`: `{video}/{what}` has bits beyond its {len(words)} columns.")
            bits[what] = unpacked[:, : len(words)]
        if len({len(rows) for rows in bits.values()}) > 1:
            raise BadInput(f"`{path}`: the arrays of `{video}` have different numbers of frames.")
        yield _video_of_bits(video, np.arange(len(bits["verb"])), bits)


def _video_of_bits(name: str, frames: NDArray[np.int64], bits: Mapping[str, Bits]) -> FrameLabels:
    return FrameLabels(
        video=video_of(patient_of(name)),
        frames=frames,
        instruments=bits["instrument"],
        verbs=bits["verb"],
        targets=bits["target"],
        phases=np.full(len(frames), UNKNOWN_PHASE, dtype=np.int64),
    )
