"""Reads what somebody asks the recipe loop for: "cook what is in this photo", "how is simulated:2000007 made?"."""

import re
from typing import Any

from loopwright.agents.sources import source_in

_ASKS = re.compile(r"\b(?:cook|cooking|recipes?|dish(?:es)?|meal|bake|food|ingredients?)\b")
_DISH = re.compile(r"\b\S+\.(?:json|md):\S+|\bsimulated:\d+")
SIMULATED = "simulated:2000007"


def read_request(text: str) -> dict[str, Any] | None:
    """Settings of a run; None: it asks for something else."""
    if not _ASKS.search(text.casefold()):
        return None
    return {"dish": source_in(text, _DISH) or SIMULATED}


def trial(seed: int) -> dict[str, Any]:
    """Settings of a short run, for evaluations of whoever talks with it."""
    return {"dish": f"simulated:{2_000_100 + seed}"}
