"""Fair times: several ways of one task, taken in turn, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def seconds_in_turn(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """How long each way took, each time. Run each once before: nothing is warmed up here."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(slow_s: Sequence[float], fast_s: Sequence[float]) -> dict[str, float]:
    """Of times that were taken in turn."""
    ratios = [slow / fast for slow, fast in zip(slow_s, fast_s, strict=True)]
    return {
        "median": round(statistics.median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
    }
