"""Reads what somebody asks the surgery loop for: "what comes next in this video?", "plan until the duct is cut"."""

import re
from typing import Any

from loopwright.agents.sources import source_in

_ASKS = re.compile(r"\b(?:surger(?:y|ies)|surgeons?|surgical|operation|procedure|cholecystectomy|videos?|clips?)\b")
_VIDEO = re.compile(r"\b\S+:VID\w+|\bsimulated:\d+")
_FILM = re.compile(r"\S+\.(?:mp4|avi|mov|mkv|webm)\b", re.IGNORECASE)
_CLIPS = re.compile(r"\b(\d{1,4}) clips?\b")
SIMULATED, CLIPS = "simulated:2000038", 6


def read_request(text: str) -> dict[str, Any] | None:
    """Settings of a run; None: it asks for something else."""
    if not (_ASKS.search(text.casefold()) or _FILM.search(text)):
        return None
    clips = _CLIPS.search(text.casefold())
    return {"video": source_in(text, _VIDEO) or SIMULATED, "clips": int(clips[1]) if clips else CLIPS}


def trial(seed: int) -> dict[str, Any]:
    """Settings of a short run, for evaluations of whoever talks with it."""
    return {"video": f"simulated:{2_000_100 + seed}", "clips": 3}
