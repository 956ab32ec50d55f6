"""Does the loop reach its target? Every run is a real session of the real loop, scored against the true landmark.

A run succeeds if it claims success within the exposures allowed and the target truly lies within the success radius of
the central ray, in the plane through the isocentre. Nobody speaks to it. Failures of any kind count as failures, a
model that never answers in its form among them.
"""

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from loopwright.errors import OperatorError
from loopwright.finetune.data.carm.rendered import seeds_of
from loopwright.finetune.measure.rows import Bar, Row, averaged
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import LocaliserName, NavigatorName, opened_case, start_pose
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.session import Session
from loopwright.memory import Memory, open_memory
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom

FIRST_TEST_SEED = seeds_of("test", 1).start + 100
"""The navigator was written while looking at runs over the first few test phantoms; these it has not met."""
MAX_EXPOSURES = 8
AT_ONCE = 16
"""Sessions under way together: as many as an engine draws together."""
SUCCESS_BAR = {"phantom": 0.95, "chest": 0.80}
CUT_BY_THE_SCAN = ("Right humeral head", "Left humeral head")
"""Landmarks of the chest CT whose bone the scan's edge cuts: reported, but outside the bar."""


class Steering(NamedTuple):
    """Who sees and who decides."""

    localiser: LocaliserName
    navigator: NavigatorName

    @property
    def name(self) -> str:
        """What its rows are called."""
        return f"{self.localiser}+{self.navigator}"

    @property
    def asks_a_model(self) -> bool:
        """Whether a vision-language model takes part."""
        return self != ATLAS


ATLAS = Steering("network", "atlas")
STEERINGS: dict[str, Steering] = {
    steering.name: steering
    for steering in itertools.starmap(Steering, itertools.product(get_args(LocaliserName), get_args(NavigatorName)))
}
"""By the names of their rows."""


class NavigationRun(NamedTuple):
    """One run. `distance_mm` is the true one at the end, `straight_mm` at the start; NaN where the target is not there.

    `strict` is the share of the model's answers that were exactly when first asked, NaN where it was not asked;
    `unanswered` says that the run ended because the model never kept the form.
    """

    volume: str
    start: str
    target: str
    success: bool
    status: str
    exposures: int
    distance_mm: float
    straight_mm: float
    reason: str
    strict: float
    unanswered: bool

    @property
    def claimed(self) -> bool:
        """Whether it ended saying that the target is centred."""
        return self.status == "succeeded"


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


def navigate(
    runs: Sequence[tuple[str, str, str]],
    on_run: Callable[[NavigationRun], None],
    *,
    steering: Steering = ATLAS,
    model: str = "small",
    loop: Loop = LOOP,
) -> list[NavigationRun]:
    """Run every (volume, start, target) as a session of `loop`; the memories of all are thrown away afterwards.

    A start is a landmark or a pose, as in a run. Runs over one volume are under way together where a model is asked, so
    that it draws their answers together.
    """
    results: list[NavigationRun] = []
    n_threads = AT_ONCE if steering.asks_a_model else 1
    free: SimpleQueue[Memory] = SimpleQueue()  # a database for each thread: SQLite lets one write at a time

    def steered(run: tuple[str, str, str]) -> NavigationRun:
        memory = free.get()
        try:
            return _navigate_once(memory, folder, steering, model, run, loop)
        finally:
            free.put(memory)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-eval-")))
        for k in range(n_threads):
            free.put(stack.enter_context(open_memory(f"sqlite:///{folder / f'{k}.sqlite'}")))
        pool = stack.enter_context(ThreadPoolExecutor(n_threads))
        for volume, of_volume in itertools.groupby(runs, key=lambda run: run[0]):
            opened_case(volume, None)  # before several sessions want it at once
            for result in pool.map(steered, of_volume):
                results.append(result)
                on_run(result)
    return results


def _navigate_once(
    memory: Memory, folder: Path, steering: Steering, model: str, run: tuple[str, str, str], loop: Loop
) -> NavigationRun:
    volume, start, target = run
    session = loop.start(
        memory, devices=folder, volume=volume, start=start, target=target,
        localiser=steering.localiser, navigator=steering.navigator, model=model,
    )  # fmt: skip
    unanswered = ""
    try:
        session.run()
    except OperatorError as error:
        if type(error) is not OperatorError:  # the memory or the ledger, not the model
            raise
        unanswered = str(error)
    return _score(memory, session, run, unanswered)


def _score(memory: Memory, session: Session, run: tuple[str, str, str], unanswered: str) -> NavigationRun:
    volume, start, target = run
    state, case = session.state, opened_case(volume, None)
    place = case.landmarks.get(target, np.full(3, np.nan))
    ended, began = Pose.model_validate(state["observation"]["pose"]), start_pose(start, case)
    distance_mm, straight_mm = (float(np.linalg.norm(in_plane_offset_mm(place, pose))) for pose in (ended, began))
    exposures = int(state["observation"]["exposures"])
    has_claimed = state["status"] == "succeeded"
    answers = [event.payload for event in memory.events.read(session.id) if event.kind == "replied"]
    strict = [answer["is_exact"] and answer["attempts"] == 1 for answer in answers]
    return NavigationRun(
        volume=volume,
        start=start,
        target=target,
        success=has_claimed and exposures <= MAX_EXPOSURES and distance_mm <= settings().carm.success_radius_mm,
        status=state["status"],
        exposures=exposures,
        distance_mm=distance_mm,
        straight_mm=straight_mm,
        reason=unanswered or state["reason"],
        strict=float(np.mean(strict)) if strict else float("nan"),
        unanswered=bool(unanswered),
    )


def row(world: str, variant: str, runs: Sequence[NavigationRun], steering: Steering = ATLAS) -> Row:
    """The figures of a set of runs, with intervals over volumes; `never_moving` is the trivial baseline."""
    reach_mm = settings().carm.success_radius_mm
    values: dict[str, ArrayLike] = {
        "success": [r.success for r in runs],
        "never_moving": [r.straight_mm <= reach_mm for r in runs],
        "claimed": [r.claimed for r in runs],
        "exposures": [r.exposures for r in runs],
    }
    if steering.asks_a_model:
        values |= {"strict_format": [r.strict for r in runs], "unanswered": [r.unanswered for r in runs]}
    measured = averaged("navigation", world, steering.name, variant, values, [r.volume for r in runs])
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
    steerings: Sequence[Steering] = (ATLAS,),
    model: str = "small",
) -> tuple[list[Row], list[Bar]]:
    """All rows and bars of one world; every steering takes the same runs.

    Args:
        world: unseen phantoms, or the real chest CT (all its 72 ordered pairs).
        volumes: how many phantoms.
        n: how many runs over all phantoms, evenly; None is every ordered pair of every phantom.
        seed: of the sub-sample.
        on_run: told each run as it ends.
        steerings: who sees and who decides.
        model: card of the model that those ask which ask one.
    """
    rows: list[Row] = []
    bars: list[Bar] = []
    if world == "chest":
        pairs = [
            ("chest", start, target) for start, target in ordered_pairs(list(opened_case("chest", None).landmarks))
        ]
    else:
        pairs = list(sampled(whole_phantoms(volumes), lambda _: ordered_pairs(LANDMARKS), n, seed))
    for steering in steerings:
        runs = navigate(pairs, on_run, steering=steering, model=model)
        rows.append(row(world, "all pairs", runs, steering))
        if world == "chest":
            uncut = [r for r in runs if r.start not in CUT_BY_THE_SCAN and r.target not in CUT_BY_THE_SCAN]
            rows.append(row(world, "pairs that the scan does not cut", uncut, steering))
        bars.append(Bar(f"{world} {steering.name} success", rows[-1].figures["success"], SUCCESS_BAR[world]))
    return rows, bars
