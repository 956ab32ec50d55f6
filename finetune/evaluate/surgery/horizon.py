"""How near plans to a goal come to what really was done until it: on real patients fold by fold, and on simulated ones.

    edit        edit distance between the planned chain and the real one, by the length of the longer: 0 to 1
    reached     the plan reaches its goal, as the chain of its actions tells
    performed   the plan, performed on the simulated patient, truly brings the goal about; only goals about tissue,
                so it has an N of its own
    length      planned actions by real ones

A plan begins some clips before the goal is reached, so all plans of a row have a truth of one length. A video that
does not reach the goal, or sooner, has none. `horizon difference` rows pair planners with `straight`, which does what
the goal asks for and no more, and so reaches every goal: that alone is no merit. Intervals resample patients. What is
fitted to real patients is fitted to the fold's training patients and to nobody else.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.agents.surgery.formats import caption_of
from loopwright.agents.surgery.goals import Goal, read_goal
from loopwright.agents.surgery.history import Step, imagined, step_of
from loopwright.agents.surgery.horizon import HORIZON, WIDTH, HorizonPlan, Roll, edit_distance, likeliest, typical
from loopwright.agents.surgery.policies import BayesPolicy, ModelPolicy, NgramPolicy, Policy
from loopwright.errors import BadInput
from loopwright.finetune.evaluate.surgery.baselines import Training
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.finetune.measure.tables import markdown_table
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import Moment, seeds_of, simulate
from loopwright.tools.surgery.splits import SPLITS, patient_of, split_of
from loopwright.tools.surgery.statistics import ClipStatistics, fit_statistics
from loopwright.tools.surgery.vocabulary import Action

if TYPE_CHECKING:
    from loopwright.finetune.evaluate.surgery.models import Surgeon

WHAT = "horizon"
DIFFERENCE = "horizon difference"
JUDGED = "horizon goals"
REFERENCE = "straight"
EVERY = "all goals"
GOALS = ("the artery is clipped", "the vessels are clipped", "the gallbladder is detached", "the first Coagulation")
COMPARED = ("edit", "performed")
AHEAD = (3, 6, 12)
"""Clips between where a plan begins and where its goal was reached."""

Actions = Sequence[Action]
Array = NDArray[np.float64]


class Case(NamedTuple):
    """A moment of a procedure to plan from, and what then came until the goal was reached."""

    video: str
    goal: Goal
    past: tuple[Step, ...]
    following: tuple[Action, ...]
    performed: Callable[[Actions], bool] | None = None
    """Whether actions, performed on this patient, truly bring the goal about; None where that cannot be tried."""


class Planned(NamedTuple):
    """What a planner makes of a case."""

    actions: Actions
    reaches_goal: bool


class Fold(NamedTuple):
    """What a planner may be fitted to: samples and statistics of training patients."""

    training: Training
    statistics: ClipStatistics


Planner = Callable[[Case], Planned]
Fit = Callable[[Fold], Planner]


def evaluate_recorded_horizon(
    videos: Mapping[str, Sequence[Clip]],
    fits: Mapping[str, Fit] | None = None,
    *,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows on real patients, each official fold in turn as the test.

    Args:
        videos: clips by video, whatever part they were built for.
        fits: planners by their names; None for `NGRAMS`.
        on_progress: called with a line for each fold.

    Raises:
        BadInput: a fold leaves nobody to train on, or no video reaches a goal.
    """
    patients = {patient_of(video) for video in videos}
    cases: list[Case] = []
    planned: dict[str, list[Planned]] = defaultdict(list)
    for name in (split for split in SPLITS if split.startswith("fold")):
        split = split_of(name, patients)
        tested = [case for video in videos if patient_of(video) in split.test for case in _recorded(videos[video])]
        if not tested:
            continue
        on_progress(f"recorded: {name}, {len(tested)} plans")
        train, choosing = (
            [clips for video, clips in videos.items() if patient_of(video) in part]
            for part in (split.train, split.validation)
        )
        fold = Fold(Training(name, _samples(train), _samples(choosing)), fit_statistics(train))
        for planner, fit in (NGRAMS if fits is None else fits).items():
            planned[planner] += map(fit(fold), tested)
        cases += tested
    return _rows("recorded", cases, planned)


def evaluate_simulated_horizon(
    procedure: Procedure,
    patients: int,
    fits: Mapping[str, Fit] | None = None,
    *,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows on simulated test patients; what is fitted is fitted to as many training patients.

    `bayes` rows plan by the exact odds after what the last frame shows. `horizon goals` rows tell how well goals about
    tissue are judged from actions alone. Arguments as `evaluate_recorded_horizon`.
    """
    training = [[moment.clip for moment in simulate(procedure, seed)] for seed in seeds_of("train", patients)]
    fold = Fold(Training("simulated", _samples(training), ()), fit_statistics(training))
    runs = [list(simulate(procedure, seed)) for seed in seeds_of("test", patients)]
    cases = [
        case
        for seed, run in zip(seeds_of("test", patients), runs, strict=True)
        for case in _simulated(procedure, seed, run)
    ]
    planners = {name: fit(fold) for name, fit in (NGRAMS if fits is None else fits).items()}
    exact = BayesPolicy(procedure)
    planned = {}
    for name, planner in (planners | {"beam bayes": by_beam(exact), "typical bayes": by_draws(exact)}).items():
        on_progress(f"simulated: {name}, {len(cases)} plans")
        planned[name] = list(map(planner, cases))
    return _rows("simulated", cases, planned) + _judged(runs)


def of_surgeons(surgeons: "Iterable[Surgeon]") -> dict[str, Fit]:
    """Models that are told labels, as planners by beam search, one beam a bank: each question takes time."""

    def fit(surgeon: "Surgeon") -> Fit:
        return lambda fold: by_beam(ModelPolicy(surgeon.model_for(fold.training)), width=1)

    return {f"beam {surgeon.name}": fit(surgeon) for surgeon in surgeons if surgeon.reads_labels}


def by_beam(policy: Policy, *, width: int = WIDTH) -> Planner:
    """The most probable chain to the goal."""
    return lambda case: _planned(likeliest(Roll(policy, case.past, case.goal), width=width))


def by_draws(policy: Policy) -> Planner:
    """The most typical chain to the goal. Each case draws for itself: one lucky draw would else be everybody's."""

    def plan(case: Case) -> Planned:
        seed = zlib.crc32(f"{case.video} {len(case.past)} {case.goal.name}".encode())
        return _planned(typical(Roll(policy, case.past, case.goal), seed=seed))

    return plan


def greedily(policy: Policy) -> Planner:
    """Always the most probable next action, whatever the goal, until it is reached."""

    def plan(case: Case) -> Planned:
        past: list[Action] = [step.action for step in case.past]
        actions: list[Action] = []
        while len(actions) < HORIZON and not case.goal.is_reached(past, actions):
            odds = policy.next_action(imagined(case.past, actions), goal=case.goal.name)
            actions.append(max(odds, key=odds.__getitem__))
        return Planned(actions, case.goal.is_reached(past, actions))

    return plan


def straight(case: Case) -> Planned:
    """What the goal asks for and nothing else, but for what keeps an action from following itself."""
    past: list[Action] = [step.action for step in case.past]
    chain: list[Action] = past[-1:]
    for action in case.goal.actions[case.goal.done(past) :]:
        if chain[-1] == action:
            chain.append("Dissection" if action == "Tissue Retraction" else "Tissue Retraction")
        chain.append(action)
    return Planned(chain[1:], reaches_goal=True)


def _samples(videos: Iterable[Sequence[Clip]]) -> list[Sample]:
    return [sample for clips in videos for sample in samples_of(clips, HistoryRules())]


def _planned(plan: HorizonPlan) -> Planned:
    return Planned(plan.best.actions, plan.best.reaches_goal)


def _recorded(clips: Sequence[Clip]) -> Iterator[Case]:
    """Where plans begin in a real video, whose goals are judged by its actions."""
    actions: list[Action] = [clip.action for clip in clips]
    past = [step_of(clip, caption=caption_of(clip)) for clip in clips]
    for goal in map(read_goal, GOALS):
        at = goal.reached_after((), actions)
        for n in _starts(at):
            yield Case(clips[0].video, goal, tuple(past[:n]), tuple(actions[n:at]))


def _simulated(procedure: Procedure, seed: int, run: Sequence[Moment]) -> Iterator[Case]:
    """Where plans begin in a simulated procedure, whose goals are judged by the truth wherever they are about it."""
    actions: list[Action] = [moment.clip.action for moment in run]
    past = [step_of(clip, caption=caption_of(clip, state)).model_copy(update={"truth": state}) for clip, state in run]
    for goal in map(read_goal, GOALS):
        at = goal.reached_after((), actions) if goal.progress is None else _true_after(goal, run)
        for n in _starts(at):
            perform = None if goal.progress is None else partial(_performed, procedure, seed, goal, n)
            yield Case(run[0].clip.video, goal, tuple(past[:n]), tuple(actions[n:at]), perform)


def _starts(at: int | None) -> list[int]:
    """How many clips are known where a plan begins; at least one."""
    return [] if at is None else [at - ahead for ahead in AHEAD if at > ahead]


def _true_after(goal: Goal, run: Sequence[Moment]) -> int | None:
    """After how many clips the truth first has the goal."""
    return next((n for n, moment in enumerate(run, 1) if goal.is_true(moment.state)), None)


def _performed(procedure: Procedure, seed: int, goal: Goal, n_past: int, actions: Actions) -> bool:
    """Whether the truth has the goal after any of `actions`, performed on the patient after `n_past` clips."""
    instead = dict(enumerate(actions, n_past))
    moments = islice(simulate(procedure, seed, instead), n_past, n_past + len(actions))
    return any(goal.is_true(moment.state) for moment in moments)


def _rows(world: str, cases: Sequence[Case], planned: Mapping[str, Sequence[Planned]]) -> list[Row]:
    """A row a goal, distance and planner, and the differences to `REFERENCE`."""
    if not cases:
        raise BadInput(f"No video comes to any of the goals: {', '.join(GOALS)}. Give more videos, or longer ones.")
    rows = []
    for variant, chosen in _groups(cases).items():
        videos = [cases[i].video for i in chosen]
        values = {
            name: _values([cases[i] for i in chosen], [plans[i] for i in chosen]) for name, plans in planned.items()
        }
        tried = sum(cases[i].performed is not None for i in chosen)
        for name, of in values.items():
            row = averaged(WHAT, world, name, variant, dict(of), videos)
            rows.append(row.model_copy(update={"figures": row.figures | ({"n_performed": tried} if tried else {})}))
        for name in (name for name in values if name != REFERENCE and REFERENCE in values):
            less = {figure: values[name][figure] - of for figure, of in values[REFERENCE].items() if figure in COMPARED}
            rows.append(averaged(DIFFERENCE, world, name, variant, dict(less), videos))
    return rows


def _groups(cases: Sequence[Case]) -> dict[str, list[int]]:
    """Which cases stand behind the rows of a variant: all, and those of each goal and distance."""
    groups = {EVERY: list(range(len(cases)))}
    for goal, ahead in product((read_goal(goal).name for goal in GOALS), AHEAD):
        chosen = [i for i, case in enumerate(cases) if (case.goal.name, len(case.following)) == (goal, ahead)]
        if chosen:
            groups[f"{goal}, {ahead} ahead"] = chosen
    return groups


def _values(cases: Sequence[Case], planned: Sequence[Planned]) -> dict[str, Array]:
    """(n,) by figure; `performed` only where it can be tried, NaN for goals about actions alone."""
    both = list(zip(cases, planned, strict=True))
    values: dict[str, list[float]] = {
        "edit": [edit_distance(plan.actions, case.following) for case, plan in both],
        "reached": [float(plan.reaches_goal) for _, plan in both],
        "length": [len(plan.actions) / len(case.following) for case, plan in both],
    }
    tried = [np.nan if case.performed is None else float(case.performed(plan.actions)) for case, plan in both]
    if np.isfinite(tried).any():
        values["performed"] = tried
    return {figure: np.array(of) for figure, of in values.items()}


def _judged(runs: Sequence[Sequence[Moment]]) -> list[Row]:
    """How often the actions of a whole procedure tell a goal at the clip at which it truly is reached, or sooner."""
    rows = []
    for goal in (goal for goal in map(read_goal, GOALS) if goal.progress is not None):
        found = [(_true_after(goal, run), goal.reached_after((), [m.clip.action for m in run])) for run in runs]
        values: dict[str, ArrayLike] = {
            "same_clip": [float(true == judged) for true, judged in found],
            "too_soon": [float(judged is not None and (true is None or judged < true)) for true, judged in found],
        }
        rows.append(averaged(JUDGED, "simulated", "actions", goal.name, values, [run[0].clip.video for run in runs]))
    return rows


NGRAMS: Mapping[str, Fit] = {
    "straight": lambda _: straight,
    "greedy n-gram": lambda fold: greedily(NgramPolicy(fold.statistics)),
    "beam n-gram": lambda fold: by_beam(NgramPolicy(fold.statistics)),
    "typical n-gram": lambda fold: by_draws(NgramPolicy(fold.statistics)),
}
"""What any model of the next action has to beat: what the goal asks for and no more, and counted frequencies."""


def headline(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For the summary: each world's planners over all their plans, the nearest to what was done first."""
    pooled = [row for row in rows if (row.what, row.variant) == (WHAT, EVERY)]
    return [row.as_json() for row in sorted(pooled, key=lambda row: (row.world, row.figures["edit"]))]


def markdown(rows: Sequence[Row]) -> str:
    """A table a figure for each world: a line a goal and distance with its N, a column a planner."""
    titles = {
        (WHAT, "edit"): "Edit distance to what was done, 0 to 1 [95 %]",
        (DIFFERENCE, "edit"): f"Edit distance less that of `{REFERENCE}`, paired [95 %]",
        (WHAT, "reached"): "Share that reach the goal, as their actions tell",
        (WHAT, "performed"): "Share that truly bring the goal about when performed [95 %]",
        (JUDGED, "same_clip"): "Share of goals told by actions at the very clip at which they are reached [95 %]",
    }
    parts = []
    for world in dict.fromkeys(row.world for row in rows):
        parts.append(f"## Plans to a goal, {world}")
        for (what, figure), title in titles.items():
            chosen = [row for row in rows if (row.world, row.what) == (world, what) and figure in row.figures]
            if chosen:
                parts.append(f"### {title}\n\n{_table(chosen, figure)}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row], figure: str) -> str:
    models, variants = (list(dict.fromkeys(names)) for names in zip(*((r.model, r.variant) for r in rows), strict=True))
    cells = {(row.variant, row.model): _cell(row, figure) for row in rows}
    counts = {row.variant: f"{row.n} of {row.n_cases}" for row in rows}
    lines = [[variant, *(cells[variant, model] for model in models), counts[variant]] for variant in variants]
    return markdown_table(["", *models, "N, of patients"], lines)


def _cell(row: Row, figure: str) -> str:
    bounds = row.intervals.get(figure, ()) if figure != "reached" else ()
    shown = [f"{value:.2f}".replace("0.", ".", 1) for value in (row.figures[figure], *bounds)]
    return shown[0] + (f" [{', '.join(shown[1:])}]" if bounds else "")
