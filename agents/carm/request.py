"""Reads what somebody asks the C-arm loop for: "bring the C-arm to the carina", "centre T12 on the chest CT"."""

import re
from typing import Any

from loopwright.agents.sources import source_in
from loopwright.errors import UnknownName
from loopwright.tools.carm.landmarks import canonical_name

_MOST_WORDS = 5
_ASKS = re.compile(
    r"\b(?:c-?arm|x-?rays?|radiographs?|exposures?|fluoroscopy)\b|^(?:bring|move|go|centre|center|navigate|steer|position|take"
    r"|show|find)\b"
)
_VOLUME = re.compile(r"\S+\.nii(?:\.gz)?\b|\b(?:phantom|stranger):\S+|\bchest\b(?= (?:ct|volume))")
_POLITE = re.compile(r"^(?:please|(?:could|can|would) you(?: please)?|let us|let's)\W+", re.IGNORECASE)
_FROM_TO = re.compile(r"\bfrom (?P<start>.+?) (?:to|over) (?P<to>.+)", re.IGNORECASE)
PHANTOM = "phantom:30000"
STARTS = ("T1", "Carina")
"""Where a run begins that nobody gave a start: the first that is not its target."""


def read_request(text: str) -> dict[str, Any] | None:
    """Settings of a run; None: it asks for something else. Without a known landmark the target is left out."""
    said = _POLITE.sub("", " ".join(text.split()))
    asked = _ASKS.search(said.casefold())
    volume = source_in(said, _VOLUME)
    rest = said if volume is None else said.replace(volume, " ")
    from_to = _FROM_TO.search(rest)
    before, _, after = (from_to["to"], "", from_to["start"]) if from_to else rest.partition(" from ")
    targets, starts = landmarks_in(before), landmarks_in(after)
    if asked is None or not (targets or re.search(r"c-?arm|x-?ray", said.casefold())):
        return None
    found: dict[str, Any] = {"volume": volume or PHANTOM}
    if targets:
        found["target"] = targets
    start = starts[0] if starts else next(name for name in STARTS if name not in targets)
    return {**found, "start": start}


def landmarks_in(text: str) -> list[str]:
    """Landmarks that a text names, in its order; of overlapping names the longest."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    found, at = [], 0
    while at < len(words):
        for n in range(min(_MOST_WORDS, len(words) - at), 0, -1):
            try:
                name = canonical_name(" ".join(words[at : at + n]))
            except UnknownName:
                continue
            found.append(name)
            at += n - 1
            break
        at += 1
    return list(dict.fromkeys(found))


def trial(seed: int) -> dict[str, Any]:
    """Settings of a short run, for evaluations of whoever talks with it."""
    return {"volume": f"phantom:{31_000 + seed}", "start": "T1", "target": "Carina"}
