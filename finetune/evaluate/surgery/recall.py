"""What surgeons' choices of earlier sessions are worth to a plan: the loop with `recall_choices` and without.

A simulated surgeon goes through some training patients with the loop (`approval="human"`): says yes where the plan
begins with what is done next, else what is. Then nobody speaks: the same test patients are gone through without recall,
with it, and by the simulator's exact odds, over one memory.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.finetune.measure.rows import CHANGE, Row, averaged
from loopwright.graphs.surgery import LOOP
from loopwright.memory import Memory, open_memory
from loopwright.tools.surgery.procedure import bundled_procedure
from loopwright.tools.surgery.simulator import seeds_of, simulate

WHAT = "recall"
TAUGHT = 30
CLIPS: int | None = None
"""Of each patient; None: all."""
VERBS = {
    "Aspiration": "aspirate",
    "Coagulation": "coagulate",
    "Dissection": "dissect",
    "Tissue Retraction": "retract",
    "Vessel Clipping": "clip",
}
ARMS: dict[str, dict[str, Any]] = {
    "ngram": {"planner": "ngram"},
    "ngram, recall": {"planner": "ngram", "recall_choices": True},
    "bayes": {"planner": "bayes"},
}


def evaluate_recall(
    patients: int, taught: int = TAUGHT, on_progress: Callable[[str], object] = lambda _: None
) -> list[Row]:
    """One row for each planner, and one for what recall changes: `top_1` over clips, intervals over patients.

    Args:
        patients: simulated test patients.
        taught: simulated training patients that the surgeon goes through first.
        on_progress: called with a line for each patient.
    """
    hits: dict[str, list[float]] = {arm: [] for arm in ARMS}
    videos: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-eval-")))
        memory = stack.enter_context(open_memory(f"sqlite:///{folder / 'recall.sqlite'}"))
        for seed in seeds_of("train", taught):
            on_progress(f"taught on simulated:{seed}")
            _teach(memory, folder / "devices", seed)
        for seed in seeds_of("test", patients):
            on_progress(f"simulated:{seed}")
            found: list[float] = []
            for arm, settings in ARMS.items():
                found = _top_1(memory, folder / "devices", seed, settings)
                hits[arm] += found
            videos += [f"simulated:{seed}"] * len(found)
    variant = f"{taught} patients taught"
    rows = [averaged(WHAT, "simulated", arm, variant, {"top_1": found}, videos) for arm, found in hits.items()]
    change = np.array(hits["ngram, recall"]) - np.array(hits["ngram"])
    return [*rows, averaged(WHAT, "simulated", CHANGE, variant, {"top_1": change}, videos)]


def _teach(memory: Memory, devices: Path, seed: int) -> None:
    done = [moment.clip.action for moment in simulate(bundled_procedure(), seed)]
    session = LOOP.start(memory, devices=devices, video=f"simulated:{seed}", clips=CLIPS, approval="human")
    planned = ""
    for event in session.stream(wait=True):
        if event.kind == "planned":
            planned = event.payload["plan"]["actions"][0]["action"]
        elif event.kind == "asked":
            follows = done[event.step + 1]
            session.say("approve" if planned == follows else f"no, {VERBS[follows]} first")


def _top_1(memory: Memory, devices: Path, seed: int, settings: dict[str, Any]) -> list[float]:
    """Of each plan of a patient, whether its first action came."""
    session = LOOP.start(memory, devices=devices, video=f"simulated:{seed}", clips=CLIPS, **settings)
    return [float(event.payload["rank"] == 1) for event in session.stream() if event.kind == "scored"]


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = []
    for row in rows:
        low, high = row.intervals["top_1"]
        lines.append(f"| {row.model} | {row.figures['top_1']:.3f} [{low:.3f}, {high:.3f}] | {row.n} of {row.n_cases} |")
    return "\n".join(["| planner | next action first | N, of patients |", "|---|---|---|", *lines])
