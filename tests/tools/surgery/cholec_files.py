"""Tiny data sets in the layouts of CholecT50 and CholecT45."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.tools.surgery.cholec import UNKNOWN_PHASE, FrameLabels
from loopwright.tools.surgery.vocabulary import INSTRUMENTS, PHASES, TARGETS, VERBS

Seconds = Sequence[str]
"""What is done in each second: `retract`, `retract+dissect` or nothing; each verb with its usual instrument."""
_INSTRUMENT_OF = {"retract": 0, "grasp": 0, "dissect": 2, "coagulate": 1, "clip": 4, "cut": 3, "aspirate": 5}
SHORTHAND = {"R": "retract", "D": "retract+dissect", "C": "retract+coagulate", "V": "clip", "A": "aspirate"}


def seconds_of(letters: str) -> list[str]:
    """`RRRD.`: a letter a second, as in SHORTHAND; `X` is two actions at once, anything else is none."""
    return [SHORTHAND.get(letter, "dissect+coagulate" if letter == "X" else "") for letter in letters]


def labels_of(seconds: Seconds, video: str = "VID01", phases: Sequence[int] | None = None) -> FrameLabels:
    """The labels of a video, each second labelled."""
    bits = {"instrument": np.zeros((len(seconds), 6), bool), "verb": np.zeros((len(seconds), 10), bool)}
    for row, second in enumerate(seconds):
        for verb in filter(None, second.split("+")):
            bits["verb"][row, VERBS.index(verb)] = True
            bits["instrument"][row, _INSTRUMENT_OF[verb]] = True
    targets = np.zeros((len(seconds), len(TARGETS)), bool)
    targets[:, 0] = bits["verb"].any(axis=1)
    return FrameLabels(
        video=video,
        frames=np.arange(len(seconds)),
        instruments=bits["instrument"],
        verbs=bits["verb"],
        targets=targets,
        phases=np.array(phases if phases is not None else [UNKNOWN_PHASE] * len(seconds), dtype=np.int64),
    )


def write_cholect45(folder: Path, videos: Mapping[str, Seconds], *, packed: bool = False) -> Path:
    """Write text files, or one packed file."""
    arrays: dict[str, Any] = {}
    for video, seconds in videos.items():
        labels = labels_of(seconds, video)
        tables = {"instrument": labels.instruments, "verb": labels.verbs, "target": labels.targets}
        for what, bits in tables.items():
            arrays[f"{video}/{what}"] = np.packbits(bits, axis=1)
            if not packed:
                (folder / what).mkdir(parents=True, exist_ok=True)
                lines = [",".join(map(str, [i, *row])) for i, row in enumerate(bits.astype(int).tolist())]
                (folder / what / f"{video}.txt").write_text("\n".join(lines) + "\n")
    if packed:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "labels.npz", **arrays)
    return folder


def cholect50_json(seconds: Mapping[int, Seconds], phase: int = 1) -> dict[str, Any]:
    """One video's JSON: at each frame, what is done there."""
    annotations = {}
    for frame, verbs in seconds.items():
        rows: list[list[float]] = [
            [0, _INSTRUMENT_OF[verb], 1.0, 0.1, 0.1, 0.2, 0.2, VERBS.index(verb), 0, 1.0, -1.0, -1.0, -1.0, -1.0, phase]
            for verb in verbs
        ]
        annotations[str(frame)] = rows or [[-1.0] * 14 + [phase]]
    words = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS, "phase": PHASES}
    categories = {what: {str(i): word for i, word in enumerate(known)} for what, known in words.items()}
    return {"video": 1, "fps": 1, "num_frames": len(seconds), "categories": categories, "annotations": annotations}


def write_cholect50(folder: Path, videos: Mapping[str, dict[str, Any]]) -> Path:
    """Write `labels/VIDxx.json`."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for video, content in videos.items():
        (folder / "labels" / f"{video}.json").write_text(json.dumps(content))
    return folder
