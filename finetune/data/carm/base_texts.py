"""Texts of the C-arm's roles that no picture goes with: what they write, and questions that a text itself answers.

Landmarks lie anywhere in them: what they teach is to write and to read, not anatomy.
"""

import numpy as np

from loopwright.agents.carm.formats import NAVIGATION, Command, Ladder
from loopwright.agents.carm.prompts import Previous, estimate_report, previous_report
from loopwright.finetune.data.carm.tasks import Draw, TaskSettings, Truth, best_step, questions
from loopwright.finetune.data.corpus import Turn
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

SCATTER_MM = 100.0
"""How far landmarks lie from the centre, along an axis."""
NO_PICTURE = ImageRef(sha256="0" * 64, media_type="image/png", width_px=128, height_px=128)
LADDER = Ladder()


def writing(rng: np.random.Generator) -> str:
    """An answer of one of the roles."""
    answers = [answer for _, answer in questions(_nobody(rng), TaskSettings(), rng)]
    return answers[int(rng.integers(len(answers)))]


def reading(rng: np.random.Generator) -> Turn:
    """What the navigator is told, and one thing that follows from it: its step, the command alone, or a name."""
    draw, truth = Draw(rng), _nobody(rng)
    target, nearest = draw.one(LANDMARKS), draw.name(truth.nearest[0])
    command = LADDER.command(*map(float, truth.offset(target)))
    previous = Previous(landmark=draw.one(LANDMARKS), command=LADDER.command(*rng.normal(scale=SCATTER_MM, size=2)))
    asked = {
        "step": ("Which step?", NAVIGATION.render(best_step(truth, target, LADDER, draw))),
        "command": ("Which command?", _said(command)),
        "across": ("Which x?", f"{command.x} {command.extent_x}"),
        "along": ("Which y?", f"{command.y} {command.extent_y}"),
        "target": ("Which target?", target),
        "nearest": ("Which landmark?", nearest),
        "previous": ("Which landmark before?", previous.landmark),
    }
    about = draw.one(list(asked))
    facts = [f"Target: {target}.", _told(truth, target, draw)]
    if about == "previous" or draw.chance(0.5):
        facts.append(previous_report(previous))
    question, answer = asked[about]
    return Turn((about,), " ".join([*facts, f'The clinician says: "that is the {nearest}"', question]), answer)


def _nobody(rng: np.random.Generator) -> Truth:
    offsets_mm = rng.normal(scale=SCATTER_MM, size=(len(LANDMARKS), 2))
    return Truth(NO_PICTURE, offsets_mm, np.hypot(*offsets_mm.T))


def _told(truth: Truth, target: str, draw: Draw) -> str:
    left_mm, caudal_mm = map(float, truth.offset(target))
    basis = "in view" if target in truth.in_view else f"expected from {draw.one(('earlier pictures', *LANDMARKS))}"
    return estimate_report(left_mm, caudal_mm, float(np.exp(draw.rng.uniform(1, 4))), basis)


def _said(command: Command) -> str:
    return f"x {command.x} {command.extent_x}, y {command.y} {command.extent_y}"
