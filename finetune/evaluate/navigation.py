"""Does the loop reach its target? Every run is a real session of the real loop, scored against the true landmark.

A run succeeds if it claims success within the exposures allowed and the target truly lies within the success radius of
the central ray, in the plane through the isocentre. Nobody speaks to it. Failures of any kind count as failures.
"""

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from loopwright.agents.session import Session
from loopwright.finetune.carm_network.data import seeds_of
from loopwright.finetune.evaluate.rows import Bar, Row, averaged
from loopwright.graphs.carm_run import CArmRun, opened_case
from loopwright.graphs.sessions import start_session
from loopwright.memory import open_memory
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom

FIRST_TEST_SEED = seeds_of("test", 1).start + 100
"""The navigator was written while looking at runs over the first few test phantoms; these it has not met."""
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


def row(world: str, variant: str, runs: Sequence[NavigationRun]) -> Row:
    """The figures of a set of runs, with intervals over volumes; `never_moving` is the trivial baseline."""
    reach_mm = settings().carm.success_radius_mm
    measured = averaged(
        "navigation",
        world,
        "network+atlas",
        variant,
        {
            "success": [r.success for r in runs],
            "never_moving": [r.straight_mm <= reach_mm for r in runs],
            "claimed": [r.claimed for r in runs],
            "exposures": [r.exposures for r in runs],
        },
        [r.volume for r in runs],
    )
    distances = np.array([r.distance_mm for r in runs])
    spread = {"distance_mm_median": float(np.median(distances)), "distance_mm_p95": float(np.quantile(distances, 0.95))}
    return measured.model_copy(update={"figures": measured.figures | spread})


def whole_phantoms(n: int) -> list[str]:
    """The first `n` test phantoms that hold all fourteen landmarks: those that no scan's edge cuts."""
    seeds = (seed for seed in itertools.count(FIRST_TEST_SEED) if len(make_phantom(seed).landmarks) == len(LANDMARKS))
    return [f"phantom:{seed}" for seed in itertools.islice(seeds, n)]


def evaluate_navigation(
    world: Literal["phantom", "chest"],
    *,
    volumes: int,
    n: int | None,
    seed: int,
    on_run: Callable[[NavigationRun], None],
) -> tuple[list[Row], list[Bar]]:
    """All rows and bars of one world.

    Args:
        world: unseen phantoms, or the real chest CT (all its 72 ordered pairs).
        volumes: how many phantoms.
        n: how many runs over all phantoms, evenly; None is every ordered pair of every phantom.
        seed: of the sub-sample.
        on_run: told each run as it ends.
    """
    if world == "chest":
        names = list(opened_case("chest", None).landmarks)
        runs = navigate([("chest", start, target) for start, target in ordered_pairs(names)], on_run)
        uncut = [r for r in runs if r.start not in CUT_BY_THE_SCAN and r.target not in CUT_BY_THE_SCAN]
        rows = [row("chest", "all pairs", runs), row("chest", "pairs that the scan does not cut", uncut)]
        return rows, [Bar("chest success", rows[1].figures["success"], SUCCESS_BAR_CHEST)]
    chosen = sampled(whole_phantoms(volumes), lambda _: ordered_pairs(LANDMARKS), n, seed)
    rows = [row("phantom", "all pairs", navigate(list(chosen), on_run))]
    return rows, [Bar("phantom success", rows[0].figures["success"], SUCCESS_BAR_PHANTOM)]
