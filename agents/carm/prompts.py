"""What the C-arm's roles are asked: one picture, one task, one of the forms of `loopwright.agents.carm.formats`.

After the paper's sections 2.1, 2.3 and 3.3. Each function returns all messages that precede the answer; what is fixed
comes first, so that a model's cache of it is shared.
"""

from collections.abc import Sequence
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from loopwright.agents.carm.formats import CENTRED, CORRECTION, Centred, Command, Correction, Ladder
from loopwright.agents.carm.places import NEAR_STEP_MM
from loopwright.models.images import image_block
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS, canonical_name

SYSTEM = (
    "You read X-ray pictures of the upper body and steer a C-arm. In an AP picture the patient's left is on the right. "
    f"Landmarks: {', '.join(f'{i} {name}' for i, name in enumerate(LANDMARKS, start=1))}."
)
RETRIEVE = "Name the three landmarks nearest to the centre, closest first: [i: name, j: name, k: name]."
CENTRE = "Which two landmarks are nearest to the centre of the picture? Give their numbers, nearest first: [i,j]."
NEAREST = "Which landmark is nearest to the centre?"
RE_EVALUATE = "Look at the picture again and re-evaluate your answer."
INCORRECT = "That is incorrect. Look again and give a different pair."
CORRECT = (
    "Answer as <response><visual_reasoning>what you see</visual_reasoning><landmarks>[i,j]</landmarks></response>."
)
NAVIGATE = (
    "First name the nearest landmark, then say how the view must move towards the target, in the patient's directions, "
    "CENTER and NONE where it is there. Answer as <output><step1><context>NAME</context></step1><step2>"
    "<x>LEFT, RIGHT or CENTER</x><extent_x>NONE, SMALL, MODERATE or LARGE</extent_x><reason_x>why</reason_x>"
    "<y>UP, DOWN or CENTER</y><extent_y>the same</extent_y><reason_y>why</reason_y></step2></output>."
)


class Doubted(Frozen):
    """An answer to which the clinician objected, or which is to be looked at again, perhaps in words of their own."""

    answer: Centred | Correction
    objection: Literal["re-evaluate", "incorrect"]
    words: str = ""


class Previous(Frozen):
    """What the step before saw and did: its landmark (canonical) and its command."""

    landmark: str
    command: Command


def retrieval_messages(image: ImageRef) -> list[BaseMessage]:
    """Ask for the three nearest landmarks; the answer is in the form `RETRIEVAL`."""
    return [SystemMessage(SYSTEM), _shown(image, RETRIEVE)]


def centred_messages(image: ImageRef) -> list[BaseMessage]:
    """Ask which landmark the view is centred on, and for a second guess; the answer is in the form `CENTRED`."""
    return [SystemMessage(SYSTEM), _shown(image, CENTRE)]


def nearest_messages(image: ImageRef, words: str = "") -> list[BaseMessage]:
    """Ask for the one nearest landmark; the answer is in the form `places.NEAREST`.

    `words` is what the clinician said of this very picture, if anything.
    """
    return [SystemMessage(SYSTEM), _shown(image, f"{_heard(words)}{NEAREST}")]


def place_messages(image: ImageRef, landmark: str) -> list[BaseMessage]:
    """Ask where `landmark` lies, by any of its names; the answer is in the form `places.PLACE`.

    Raises:
        UnknownName: it is no landmark.
    """
    return [SystemMessage(SYSTEM), _shown(image, where(in_sentence(canonical_name(landmark))))]


def where(name: str) -> str:
    """The question where a landmark lies, its name as in the middle of a sentence."""
    return f"Where is the {name}?"


def in_sentence(name: str) -> str:
    """A landmark's name in the middle of a sentence."""
    return name if name.startswith("T1") else name[0].lower() + name[1:]


def correction_messages(image: ImageRef, doubted: Sequence[Doubted]) -> list[BaseMessage]:
    """Ask again after each doubted answer, oldest first; the answer is in `correction_form` of `rejected(doubted)`.

    The first doubted answer is the one to `centred_messages`.
    """
    messages = centred_messages(image)
    for turn in doubted:
        form = CORRECTION.render(turn.answer) if isinstance(turn.answer, Correction) else CENTRED.render(turn.answer)
        asked = RE_EVALUATE if turn.objection == "re-evaluate" else INCORRECT
        messages += [AIMessage(form), HumanMessage(f"{_heard(turn.words)}{asked} {CORRECT}")]
    return messages


def rejected(doubted: Sequence[Doubted]) -> list[Centred]:
    """The answers that the clinician called incorrect: none of them may be given again."""
    return [turn.answer for turn in doubted if turn.objection == "incorrect"]


def navigation_messages(
    image: ImageRef,
    target: str,
    *,
    ladder: Ladder | None = None,
    previous: Previous | None = None,
    words: str = "",
    report: str = "",
) -> list[BaseMessage]:
    """Ask for one step towards `target`; the answer is in the form `NAVIGATION`.

    Args:
        image: the current picture.
        target: a landmark, by any of its names.
        ladder: what the extents mean, None for the default.
        previous: what the step before saw and did, None before the first step.
        words: what the clinician said since, if anything.
        report: what the estimating tool says of the target (`estimate_report`), "" where there is none.

    Raises:
        UnknownName: `target` is no landmark.
    """
    mm = ladder or Ladder()
    lines = [
        f"{NAVIGATE} SMALL is {mm.small_mm:g} mm, MODERATE {mm.moderate_mm:g} mm, LARGE {mm.large_mm:g} mm.",
        f"Target: {canonical_name(target)}.",
    ]
    if report:
        lines.append(report)
    if previous:
        lines.append(previous_report(previous))
    return [SystemMessage(SYSTEM), _shown(image, " ".join([*lines, _heard(words)]).rstrip())]


def previous_report(previous: Previous) -> str:
    """The step before: "Previous: T1, moved left small, up large."

    In other words than a command's, which the estimate is told in, so that what a small model copies from its prompt
    is the estimate.
    """
    did = previous.command
    along = ((did.x, did.extent_x), (did.y, did.extent_y))
    moved = ", ".join(f"{way} {extent}".lower() for way, extent in along if extent != "NONE")
    return f"Previous: {previous.landmark}, {f'moved {moved}' if moved else 'stayed'}."


def estimate_report(left_mm: float, caudal_mm: float, sd_mm: float, basis: str, *, ladder: Ladder | None = None) -> str:
    """What is estimated of the target, as navigation is told it.

    Args:
        left_mm: how far it lies to the patient's left of the view's centre.
        caudal_mm: how far towards the feet.
        sd_mm: standard deviation along an axis.
        basis: where that comes from, such as "in view" or "expected from Carina, T1".
        ladder: what the extents mean, None for the default.

    Returns:
        A sentence in the words of the command that it would take, which a small model reads more surely than
        millimetres: "Estimate: x LEFT MODERATE 35 mm, y CENTER, sd 8 mm, in view."
    """
    step = (ladder or Ladder()).command(left_mm, caudal_mm)
    x, y = _towards(step.x, step.extent_x, left_mm), _towards(step.y, step.extent_y, caudal_mm)
    return f"Estimate: x {x}, y {y}, sd {max(1, round(sd_mm))} mm, {basis}."


def _towards(way: str, extent: str, mm: float) -> str:
    rounded_mm = max(1, round(abs(mm) / NEAR_STEP_MM)) * NEAR_STEP_MM
    return way if extent == "NONE" else f"{way} {extent} {rounded_mm} mm"


def _shown(image: ImageRef, text: str) -> HumanMessage:
    return HumanMessage(content=[image_block(image), {"type": "text", "text": text}])


def _heard(words: str) -> str:
    """The clinician's words on one line, ready to be followed by a question."""
    return f'The clinician says: "{" ".join(words.split())}" ' if words.strip() else ""
