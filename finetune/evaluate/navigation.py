"""Does the loop reach its target? Every run is a real session of the real loop, scored against the true landmark.

A run succeeds if it claims success within the exposures allowed and the target truly lies within the success radius of
the central ray, in the plane through the isocentre. Nobody speaks to it. Failures of any kind count as failures.
"""

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loopwright.agents.session import Session
from loopwright.finetune.evaluate.intervals import cluster_bootstrap
from loopwright.graphs.carm_run import CArmRun, opened_case
from loopwright.graphs.sessions import start_session
from loopwright.memory import open_memory
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm

MAX_EXPOSURES = 8
SUCCESS_BAR_PHANTOM = 0.95
SUCCESS_BAR_CHEST = 0.80
CUT_BY_THE_SCAN = ("Right humeral head", "Left humeral head")
"""Landmarks of the chest CT whose bone the scan's edge cuts: reported, but outside the bar."""


class NavigationRun(NamedTuple):
    """One run. `distance_mm` is the true one at the end; `straight_mm` how far apart start and target are."""

    volume: str
    start: str
    target: str
    success: bool
    claimed: bool
    exposures: int
    distance_mm: float
    straight_mm: float
    reason: str


def ordered_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """All ordered pairs of different landmarks: 182 of fourteen."""
    return list(itertools.permutations(names, 2))


def sampled(
    volumes: Sequence[str], pairs_of: Callable[[str], list[tuple[str, str]]], n: int | None, seed: int
) -> Iterator[tuple[str, str, str]]:
    """Runs (volume, start, target), volume by volume: all of them, or `n` drawn evenly over volumes without repeats."""
    rng = random.Random(seed)
    for index, volume in enumerate(volumes):
        pairs = pairs_of(volume)
        share = len(pairs) if n is None else n // len(volumes) + (index < n % len(volumes))
        chosen = rng.sample(pairs, min(share, len(pairs)))
        yield from ((volume, start, target) for start, target in chosen)


def navigate(runs: Sequence[tuple[str, str, str]], on_run: Callable[[NavigationRun], None]) -> list[NavigationRun]:
    """Run every (volume, start, target) as a session in a memory of its own, which is thrown away afterwards."""
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="loopwright-eval-") as folder,
        open_memory(f"sqlite:///{Path(folder) / 'eval.sqlite'}") as memory,
    ):
        for volume, start, target in runs:
            config = CArmRun(volume=volume, start=start, target=(target,))
            session = start_session(memory, "carm", config, Path(folder))
            session.run()
            results.append(_score(session, volume, start, target))
            on_run(results[-1])
    return results


def _score(session: Session, volume: str, start: str, target: str) -> NavigationRun:
    state, landmarks = session.state, opened_case(volume, None).landmarks
    pose = Pose.model_validate(state["observation"]["pose"])
    distance_mm = float(np.linalg.norm(in_plane_offset_mm(landmarks[target], pose)))
    exposures = int(state["observation"]["exposures"])
    claimed = state["status"] == "succeeded"
    success = claimed and exposures <= MAX_EXPOSURES and distance_mm <= settings().carm.success_radius_mm
    straight_mm = float(np.linalg.norm((landmarks[target] - landmarks[start])[[0, 2]]))
    return NavigationRun(
        volume, start, target, success, claimed, exposures, distance_mm, straight_mm, state["reason"]
    )  # fmt: skip


def summarise(world: str, runs: Sequence[NavigationRun], model: str = "network+atlas") -> dict[str, Any]:
    """One row: success with its interval (clustered by volume), its trivial baseline, exposures and distances."""
    interval = cluster_bootstrap([r.success for r in runs], [r.volume for r in runs])
    distances = np.array([r.distance_mm for r in runs])
    stay_mm = settings().carm.success_radius_mm
    return {
        "what": "navigation",
        "world": world,
        "model": model,
        "n": len(runs),
        "volumes": len({r.volume for r in runs}),
        "success": round(interval.mean, 4),
        "success_low": _rounded(interval.low),
        "success_high": _rounded(interval.high),
        "never_moving": round(float(np.mean([r.straight_mm <= stay_mm for r in runs])), 4),
        "claimed": round(float(np.mean([r.claimed for r in runs])), 4),
        "exposures_mean": round(float(np.mean([r.exposures for r in runs])), 2),
        "distance_mm_median": round(float(np.median(distances)), 1),
        "distance_mm_p95": round(float(np.quantile(distances, 0.95)), 1),
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
