"""Reads what somebody asks the drive loop for: "drive the highway", "take me through the roundabout"."""

import re
from typing import Any

from loopwright.tools.drive.scenarios import SCENARIOS

_ASKS = re.compile(r"\b(?:drive|drives|driving|car|ride|take me)\b")
_SEED = re.compile(r"\bseed (\d{1,9})\b")
STEPS = 40


def read_request(text: str) -> dict[str, Any] | None:
    """Settings of a run; None: it asks for something else."""
    said = text.casefold()
    named = [name for name in SCENARIOS if re.search(rf"\b{name}s?\b", said)]
    if not _ASKS.search(said):
        return None
    seed = _SEED.search(said)
    return {"scenario": named[0] if named else SCENARIOS[0], "seed": int(seed[1]) if seed else 0, "steps": STEPS}


def trial(seed: int) -> dict[str, Any]:
    """Settings of a short run, for evaluations of whoever talks with it."""
    return {"scenario": "highway", "seed": 2_000_100 + seed, "steps": 4}
