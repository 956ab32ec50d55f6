"""Reads what somebody asks the surgery loop for: "what comes next in this video?", "plan until the duct is cut"."""

import re
from typing import Any

_ASKS = re.compile(r"\b(?:surger(?:y|ies)|surgeons?|surgical|operation|procedure|cholecystectomy|videos?|clips?)\b")
_VIDEO = re.compile(r"\b\S+:VID\w+|\bsimulated:\d+")
_CLIPS = re.compile(r"\b(\d{1,4}) clips?\b")
SIMULATED, CLIPS = "simulated:2000038", 6


def read_request(text: str) -> dict[str, Any] | None:
    """Settings of a run; None: it asks for something else."""
    if not _ASKS.search(text.casefold()):
        return None
    video, clips = _VIDEO.search(text), _CLIPS.search(text.casefold())
    return {"video": video.group() if video else SIMULATED, "clips": int(clips[1]) if clips else CLIPS}


def trial(seed: int) -> dict[str, Any]:
    """Settings of a short run, for evaluations of whoever talks with it."""
    return {"video": f"simulated:{2_000_100 + seed}", "clips": 3}
