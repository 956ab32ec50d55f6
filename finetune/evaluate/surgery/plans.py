"""What a plan of the surgery loop takes, and whether it keeps its form: real sessions over simulated test patients.

A plan is all that happens between the caption and the event `planned`: the model scores what may come next, and writes
progress, safety and a rationale for each of three actions. Nobody speaks.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loopwright.finetune.measure.rows import Bar, Row, averaged
from loopwright.graphs.surgery import LOOP
from loopwright.memory import open_memory
from loopwright.schema import Event
from loopwright.tools.surgery.simulator import seeds_of

WHAT = "plan"
CLIPS = 6
"""Plans of each patient."""
LONGEST_S = 1.5


class PlanMade(NamedTuple):
    """One plan: whose, how long it took, and whether all that the model said was in the form at once."""

    video: str
    took_s: float
    is_strict: bool


def evaluate_plans(card: str, patients: int, on_progress: Callable[[str], object] = lambda _: None) -> list[Row]:
    """One row: `strict_format` and `took_s` of every plan but a session's first, which waits for the model to load.

    Args:
        card: name or path of the model's card, told captions (Indir).
        patients: simulated test patients.
        on_progress: called with a line for each patient.

    Raises:
        BadInput, MissingDependency, OperatorError: what the card names is missing or wrong.
    """
    plans: list[PlanMade] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-eval-")))
        memory = stack.enter_context(open_memory(f"sqlite:///{folder / 'plans.sqlite'}"))
        for seed in seeds_of("test", patients):
            video = f"simulated:{seed}"
            on_progress(video)
            run: dict[str, Any] = {"video": video, "planner": "model", "model": card, "clips": CLIPS + 2}
            session = LOOP.start(memory, devices=folder / "devices", **run)
            plans += plans_of(video, list(session.stream()))
    values = {"strict_format": [float(p.is_strict) for p in plans], "took_s": [p.took_s for p in plans]}
    row = averaged(WHAT, "simulated", card, "Indir", dict(values), [p.video for p in plans])
    spread = {f"took_s_{name}": float(np.quantile(values["took_s"], q)) for name, q in (("median", 0.5), ("p95", 0.95))}
    return [row.model_copy(update={"figures": row.figures | spread})]


def plans_of(video: str, events: Sequence[Event]) -> list[PlanMade]:
    """The plans in a session's events, without the first."""
    made = []
    for _, of_step in itertools.groupby(events, key=lambda event: event.step):
        at_step = list(of_step)
        planned = next((event for event in at_step if event.kind == "planned"), None)
        if planned is None:
            continue
        begun = next(event for event in at_step if event.kind == "captioned")
        asked = [event.payload for event in at_step if event.kind == "replied" and event.seq < planned.seq]
        took_s = (planned.created_at - begun.created_at).total_seconds()
        made.append(PlanMade(video, took_s, all(said["is_exact"] and said["attempts"] == 1 for said in asked)))
    return made[1:]


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """All structured, and a median plan within the time."""
    return [
        bar
        for row in rows
        for bar in (
            Bar(f"{row.model}: plans in the form", row.figures["strict_format"], 1.0),
            Bar(
                f"{row.model}: seconds left of {LONGEST_S} by the median plan",
                LONGEST_S - row.figures["took_s_median"],
                0,
            ),
        )
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = [
        f"| {row.model}, {row.variant} | {row.figures['strict_format']:.3f} | {row.figures['took_s_median']:.2f} s | "
        f"{row.figures['took_s_p95']:.2f} s | {row.n} of {row.n_cases} |"
        for row in rows
    ]
    return "\n".join(["|  | in the form | median | p95 | N, of patients |", "|---|---|---|---|---|", *lines])
