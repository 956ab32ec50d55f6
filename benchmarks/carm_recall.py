"""What earlier sessions over the same patient are worth to the C-arm loop: its switch `recall`, on and off.

    python benchmarks/carm_recall.py [--phantoms 40] [--seed 0]

For each unseen whole phantom: a first session from a drawn place to a drawn target, with a simulated clinician who says
what lies in the middle of a picture, where a landmark truly lies within 10 mm of it; each landmark once. Then sessions
with nobody to ask, each with the switch off and on: to the same target from elsewhere, and to another target. Network
and atlas steer. A run succeeds as in `loopwright eval carm --what navigation`. Intervals are over phantoms.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from loopwright.finetune.evaluate.carm.navigation import MAX_EXPOSURES, whole_phantoms
from loopwright.finetune.measure.rows import averaged, json_lines, summary
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import opened_case
from loopwright.memory import Memory, open_memory
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS

SEEN_WITHIN_MM = 10.0
JITTER_MM = 15.0
"""Sessions begin so far from a landmark, at most, along each axis."""

Result = tuple[bool, int]
"""Whether the target was truly reached, and the exposures taken."""


def truly_mm(volume: str, landmark: str, pose: Pose) -> float:
    """Distance of a landmark from the central ray."""
    return float(np.linalg.norm(in_plane_offset_mm(opened_case(volume, None).landmarks[landmark], pose)))


def taught(memory: Memory, folder: Path, volume: str, start: str, target: str) -> list[str]:
    """A session with the simulated clinician; what was pointed out."""
    session, named = LOOP.start(memory, devices=folder, volume=volume, start=start, target=target), []
    for event in session.stream():
        if event.kind == "localised":  # the picture is taken, and the clinician is heard next
            pose = Pose.model_validate(
                next(e.payload["output"]["pose"] for e in reversed(session.events) if e.kind == "observed")
            )
            nearest = min(LANDMARKS, key=lambda name: truly_mm(volume, name, pose))
            if nearest not in named and truly_mm(volume, nearest, pose) <= SEEN_WITHIN_MM:
                named.append(nearest)
                session.say(f"that is the {nearest}")
    return named


def alone(memory: Memory, folder: Path, volume: str, start: str, target: str, *, recall: bool) -> Result:
    """A session with nobody to ask."""
    session = LOOP.start(memory, devices=folder, volume=volume, start=start, target=target, recall=recall)
    status = session.run()
    seen = session.state["observation"]
    is_there = truly_mm(volume, target, Pose.model_validate(seen["pose"])) <= settings().carm.success_radius_mm
    return status == "succeeded" and is_there and seen["exposures"] <= MAX_EXPOSURES, seen["exposures"]


def near(volume: str, landmark: str, rng: np.random.Generator) -> str:
    """A pose near a landmark, as `--start` takes it."""
    x_mm, _, z_mm = opened_case(volume, None).landmarks[landmark]
    dx_mm, dz_mm = rng.uniform(-JITTER_MM, JITTER_MM, size=2)
    return f"{x_mm + dx_mm:.1f},{opened_case(volume, None).volume.mid_coronal_y_mm:.1f},{z_mm + dz_mm:.1f}"


def main() -> None:
    """Run all sessions and print a row for each kind of second session and setting of the switch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    found: dict[tuple[str, bool], list[Result]] = {}
    volumes = whole_phantoms(options.phantoms)
    for volume in volumes:
        first, target, elsewhere, other = (str(name) for name in rng.choice(LANDMARKS, size=4, replace=False))
        with tempfile.TemporaryDirectory() as name, open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
            taught(memory, Path(name), volume, near(volume, first, rng), target)
            start = near(volume, elsewhere, rng)
            for kind, aim in (("same target", target), ("another target", other)):
                for recall in (False, True):
                    result = alone(memory, Path(name), volume, start, aim, recall=recall)
                    found.setdefault((kind, recall), []).append(result)
    rows = [
        averaged(
            "recall",
            "phantom",
            "recall" if recall else "without",
            kind,
            {"success": [r[0] for r in results], "exposures": [r[1] for r in results]},
            volumes,
        )
        for (kind, recall), results in found.items()
    ]
    print("\n".join(json_lines(rows, summary("recall", []))))


if __name__ == "__main__":
    main()
