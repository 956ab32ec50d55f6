"""How near trajectories come to what then happened, on recorded drives: baselines, and anybody's predictions.

Every log is tested by what was learnt from the others. Intervals resample logs; `difference` rows pair each row with
constant velocity, sample by sample.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.drive.baselines import BASELINES, LEARNT, REFERENCE, REGRESSION, Fit, without_status
from loopwright.finetune.evaluate.drive.metrics import SHARES, figures, score
from loopwright.finetune.measure.rows import Bar, Row, averaged
from loopwright.tools.drive.scene import FUTURE_STEPS, Point, Sample

WHAT, DIFFERENCE = "open loop", "difference"
TRUTH = "ground truth"
ALL = "all"
WITH, WITHOUT = "ego status", "no ego status"
SAVED = 0.3
"""Of constant velocity's L2 at 3 s: what remains is 0.7 of it."""
Answers = list[Sequence[Point] | None]


def evaluate_open(
    samples: Sequence[Sample],
    predictions: Mapping[str, Answers] | None = None,
    *,
    training: Sequence[Sample] = (),
    ego_status: bool = True,
    fits: Mapping[str, Fit] = BASELINES,
    on_progress: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Rows of the truth, of baselines and of `predictions`, over all samples and over each source's.

    Args:
        samples: to test on.
        predictions: further rows by name, an answer a sample.
        training: further samples to learn from; those of a tested log are never used for it.
        ego_status: whether predictors are shown the ego's speed and past.
        fits: baselines by name.
        on_progress: called with a line about what is left out.

    Raises:
        BadInput: no samples.
    """
    if not samples:
        raise BadInput("No sample to measure on. Give recorded drives of 5 s or more.")
    answers = predicted(samples, training, ego_status=ego_status, fits=fits, on_progress=on_progress)
    answers |= predictions or {}
    values = {TRUTH: figures(score(samples, [_truth(sample) for sample in samples], is_truth=True))}
    values |= {name: figures(score(samples, said)) for name, said in answers.items()}
    sources = [sample.scene.source for sample in samples]
    worlds = {ALL: np.ones(len(samples), dtype=np.bool_)}
    worlds |= {source: np.array([each == source for each in sources]) for source in dict.fromkeys(sources)}
    variant = WITH if ego_status else WITHOUT
    logs = np.array([sample.log or sample.scene.token for sample in samples])
    rows = []
    for world, among in worlds.items() if len(worlds) > 2 else [(sources[0], worlds[ALL])]:
        rows += [_row(WHAT, world, name, variant, of, among, logs) for name, of in values.items()]
        if REFERENCE in values:
            rows += [
                _row(DIFFERENCE, world, name, f"minus {REFERENCE}", _minus(of, values[REFERENCE]), among, logs)
                for name, of in values.items()
                if name not in (TRUTH, REFERENCE)
            ]
    return rows


def predicted(
    samples: Sequence[Sample],
    training: Sequence[Sample] = (),
    *,
    ego_status: bool = True,
    fits: Mapping[str, Fit] = BASELINES,
    on_progress: Callable[[str], object] = lambda _: None,
) -> dict[str, Answers]:
    """What each baseline says to each sample; learnt ones by what they learn from other logs."""
    logs = list(dict.fromkeys(sample.log for sample in samples))
    others = {log: [s for s in (*samples, *training) if s.log != log] for log in logs}
    if alone := [log for log in logs if not others[log]]:
        on_progress(f"Left out: {', '.join(LEARNT)}: there is no other log than {alone[0]!r} to learn from.")
        fits = {name: fit for name, fit in fits.items() if name not in LEARNT}
    answers: dict[str, Answers] = {name: [None] * len(samples) for name in fits}
    for log in logs:
        at = [k for k, sample in enumerate(samples) if sample.log == log]
        shown = [samples[k].scene if ego_status else without_status(samples[k].scene) for k in at]
        for name, fit in fits.items():
            for k, points in zip(at, fit(others[log])(shown), strict=True):
                answers[name][k] = tuple((float(x), float(y)) for x, y in points)
    return answers


def bars_of(rows: Sequence[Row], held: Sequence[str] = (REGRESSION,)) -> list[Bar]:
    """Of the whole set: the share of constant velocity's L2 at 3 s that each of `held` saves; none without status."""
    world = rows[0].world
    of = {row.model: row for row in rows if (row.what, row.world) == (WHAT, world)}
    if REFERENCE not in of or of[REFERENCE].variant == WITHOUT:
        return []
    most = of[REFERENCE].figures["l2_3s"]
    return [
        Bar(f"{name}: share of constant velocity's L2 at 3 s saved", 1 - of[name].figures["l2_3s"] / most, SAVED)
        for name in held
        if name in of and most > 0
    ]


def headline(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Of the whole set: L2 under both conventions, collisions at any step, and who was read, by model."""
    names = ("l2_3s", "l2_avg", "l2_to_avg", "collision_any_3s", "parsed")
    return {
        row.model: {"n": row.n} | {name: round(row.figures[name], 4) for name in names}
        for row in rows
        if (row.what, row.world) == (WHAT, rows[0].world)
    }


def _truth(sample: Sample) -> tuple[Point, ...]:
    """What came; where that is not known, the last point that is."""
    points: list[Point] = []
    for point in sample.future:
        points.append(point or (points[-1] if points else (0.0, 0.0)))
    return tuple(points[:FUTURE_STEPS])


def _minus(
    values: Mapping[str, NDArray[np.float64]], reference: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    return {name: each - reference[name] for name, each in values.items() if name not in SHARES}


def _row(
    what: str,
    world: str,
    model: str,
    variant: str,
    values: Mapping[str, NDArray[np.float64]],
    among: NDArray[np.bool_],
    logs: NDArray[np.str_],
) -> Row:
    return averaged(what, world, model, variant, {k: v[among] for k, v in values.items()}, logs[among].tolist())
