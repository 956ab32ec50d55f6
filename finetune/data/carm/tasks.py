"""What a C-arm picture teaches: the role's own question, and the answer that its truth gives.

Questions are built by `loopwright.agents.carm.prompts`, as at inference; answers are in the forms of
`loopwright.agents.carm.formats` and `loopwright.agents.carm.places`. Names and phrasings are drawn for each example.
Knows no file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray
from pydantic import Field

from loopwright.agents.carm.formats import (
    CENTRED,
    CORRECTION,
    NAVIGATION,
    RETRIEVAL,
    Centred,
    Command,
    Correction,
    Ladder,
)
from loopwright.agents.carm.formats import Navigation as NavigationAnswer
from loopwright.agents.carm.formats import Retrieval as RetrievalAnswer
from loopwright.agents.carm.places import FAR_STEP_MM, FARTHEST_MM, NEAR_STEP_MM, NEAREST, say_place
from loopwright.agents.carm.prompts import (
    Doubted,
    Previous,
    centred_messages,
    correction_messages,
    estimate_report,
    navigation_messages,
    nearest_messages,
    place_messages,
    retrieval_messages,
)
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS

Task = Literal["retrieval", "centred", "nearest", "place", "correction", "navigation"]
TASKS: tuple[Task, ...] = get_args(Task)
HALF_VIEW_MM = Optics().field_of_view_mm / 2

SEEN_SD_MM, UNSEEN_SD_MM = 2.5, 40.0
"""How much an estimate of a target errs along an axis, in the view and beyond it: in the view about as the
bundled network's (median 2.4 mm in the plane), so that where it says CENTER, that mostly is the best step."""
ASTRAY_SD_MM = 60.0
"""How much one errs now and then that takes itself to be as good as any."""
STEP_SD_MM = 150.0
"""How far a target lay when the step before was taken, from where it lies now or from the centre."""
SHOWN_PLACE, SHOWN_TARGET = 3.0, 9.0
"""How much likelier a landmark in view is asked for than another: its place, and as a target. Most steps of a run are
taken with the target in view, and the last one decides."""

Question = tuple[list[BaseMessage], str]
"""A prompt and the right answer to it."""


class TaskSettings(Frozen):
    """Which tasks a picture is used for, and how."""

    tasks: tuple[Task, ...] = TASKS
    ladder: Ladder = Ladder()
    targets_per_view: int = Field(default=4, ge=1, le=14, description="navigation questions, a picture")
    places_per_view: int = Field(default=1, ge=1, le=14, description="questions where a landmark lies, a picture")
    told_share: float = Field(default=0.2, ge=0, le=1, description="how often the clinician names what is to be seen")
    report_share: float = Field(default=0.75, ge=0, le=1, description="how often navigation is told an estimate")
    astray_share: float = Field(default=0.05, ge=0, le=1, description="how many of those estimates are badly wrong")


class Truth(NamedTuple):
    """One picture and where the L = 14 landmarks are, NaN for one that the case does not hold.

    `offsets_mm` (L, 2): patient-left and caudal from the view's centre, in the plane through the isocentre.
    `distance_mm` (L,): from the isocentre, in three dimensions.
    """

    image: ImageRef
    offsets_mm: NDArray[np.float64]
    distance_mm: NDArray[np.float64]

    @property
    def nearest(self) -> list[str]:
        """Landmarks, nearest first, in three dimensions (as the paper)."""
        return _ranked(self.distance_mm)

    @property
    def centred(self) -> list[str]:
        """Landmarks, nearest to the picture's centre first."""
        return _ranked(np.hypot(*self.offsets_mm.T))

    @property
    def in_view(self) -> list[str]:
        """Those of `centred` that lie on the picture."""
        return [name for name in self.centred if np.abs(self.offset(name)).max() <= HALF_VIEW_MM]

    def offset(self, name: str) -> NDArray[np.float64]:
        """(2,) of one landmark."""
        offset: NDArray[np.float64] = self.offsets_mm[LANDMARKS.index(name)]
        return offset


class Draw:
    """What is drawn for an example."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one(self, options: Sequence[str]) -> str:
        """One of `options`."""
        return options[int(self.rng.integers(len(options)))]

    def name(self, landmark: str) -> str:
        """The landmark's own name or a synonym."""
        return self.one((landmark, *SYNONYMS[landmark]))

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return bool(self.rng.random() < share)


def questions(truth: Truth, settings: TaskSettings, rng: np.random.Generator) -> Iterator[Question]:
    """All that one picture is asked. A case of fewer than three landmarks gives none."""
    if len(truth.nearest) >= 3:
        for task in settings.tasks:
            yield from _MAKERS[task](truth, settings, Draw(rng))


def retrieval_question(image: ImageRef, landmarks: Sequence[str], draw: Draw) -> Question:
    """The three nearest landmarks (canonical, closest first), each under a name that is drawn."""
    one, two, three = (draw.name(landmark) for landmark in landmarks)
    return retrieval_messages(image), RETRIEVAL.render(RetrievalAnswer(names=(one, two, three)))


def _retrieval(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    yield retrieval_question(truth.image, truth.nearest[:3], draw)


def _centred(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    yield centred_messages(truth.image), CENTRED.render(_pair(truth))


def _pair(truth: Truth) -> Centred:
    return Centred(landmarks=(truth.centred[0], truth.centred[1]))


def _nearest(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    """By the picture alone, and again after the clinician has named it: told too rarely, a model trusts the picture."""
    landmark = truth.nearest[0]
    for words in ("", _naming(landmark, draw)):
        yield nearest_messages(truth.image, words), NEAREST.render(landmark)


def _place(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    for landmark in _asked_for(truth, settings.places_per_view, SHOWN_PLACE, draw):
        step_mm = NEAR_STEP_MM if landmark in truth.in_view else FAR_STEP_MM
        sayable_mm = truth.offset(landmark).clip(-FARTHEST_MM, FARTHEST_MM)
        yield place_messages(truth.image, landmark), say_place(sayable_mm, step_mm)


def _told(landmark: str, settings: TaskSettings, draw: Draw) -> str:
    """The clinician names what is to be seen, or mostly says nothing."""
    return _naming(landmark, draw) if draw.chance(settings.told_share) else ""


def _naming(landmark: str, draw: Draw) -> str:
    return f"that is the {draw.name(landmark)}"


def _correction(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    """Either a second look at an answer that may have been right, or an answer after a wrong one was rejected."""
    right = _pair(truth)
    told = _told(right.landmarks[0], settings, draw)
    if draw.chance(1 / 3):
        first = right if draw.chance(0.5) else _wrong_pair(truth, draw)
        doubted = [Doubted(answer=first, objection="re-evaluate", words=told)]
    else:
        wrong = _wrong_pair(truth, draw)
        doubted = [Doubted(answer=wrong, objection="incorrect", words=told)]
        if draw.chance(0.5):  # the model stood by its answer when it was asked to look again
            insisted = Correction(landmarks=wrong.landmarks, visual_reasoning=_reasoning(truth, wrong, draw))
            doubted = [
                Doubted(answer=wrong, objection="re-evaluate"),
                Doubted(answer=insisted, objection="incorrect", words=told),
            ]
    answer = Correction(landmarks=right.landmarks, visual_reasoning=_reasoning(truth, right, draw))
    yield correction_messages(truth.image, doubted), CORRECTION.render(answer)


def _wrong_pair(truth: Truth, draw: Draw) -> Centred:
    """Two landmarks that a model may well take for the right ones: neighbours, or the other side's."""
    right = set(truth.centred[:2])
    likely = [*truth.centred[:5], *(_other_side(name) for name in truth.centred[:2])]
    while True:
        one, two = draw.one(likely), draw.one(likely)
        if one != two and {one, two} != right:
            return Centred(landmarks=(one, two))


def _other_side(name: str) -> str:
    side, _, rest = name.partition(" ")
    return {"Left": f"Right {rest}", "Right": f"Left {rest}"}.get(side, name)


def _reasoning(truth: Truth, pair: Centred, draw: Draw) -> str:
    first, second = (draw.name(name) for name in pair.landmarks)
    others = [draw.name(name) for name in truth.in_view if name not in pair.landmarks][:2]
    around = f"Also in view: {' and '.join(others)}." if others else "No other landmark is in view."
    seen = draw.one(
        (
            f"{first} is nearest to the centre, then {second}.",
            f"The centre shows {first}; {second} is the next.",
            f"{first} comes closest to the centre, {second} second.",
        )
    )
    return " ".join((around, seen) if draw.chance(0.5) else (seen, around))


def _navigation(truth: Truth, settings: TaskSettings, draw: Draw) -> Iterator[Question]:
    for target in _asked_for(truth, settings.targets_per_view, SHOWN_TARGET, draw):
        prompt = navigation_messages(
            truth.image,
            target,
            ladder=settings.ladder,
            previous=_previous(truth, target, settings.ladder, draw) if draw.chance(0.5) else None,
            words=_told(truth.nearest[0], settings, draw),
            report=_report(truth, target, settings, draw) if draw.chance(settings.report_share) else "",
        )
        yield prompt, NAVIGATION.render(best_step(truth, target, settings.ladder, draw))


def _report(truth: Truth, target: str, settings: TaskSettings, draw: Draw) -> str:
    """An estimate that errs as a localiser and its atlas do. It never tells how much it errs, only how much it may."""
    usual_mm = SEEN_SD_MM if target in truth.in_view else UNSEEN_SD_MM
    sd_mm = usual_mm * float(np.exp(draw.rng.normal(0, 0.4)))
    error_sd_mm = ASTRAY_SD_MM if draw.chance(settings.astray_share) else sd_mm
    estimate_mm = truth.offset(target) + draw.rng.normal(0, error_sd_mm, size=2)
    seen = bool(np.abs(estimate_mm).max() <= HALF_VIEW_MM)
    basis = "in view" if seen else f"expected from {_sources(truth, target, draw)}"
    left_mm, caudal_mm = (float(mm) for mm in estimate_mm)
    return estimate_report(left_mm, caudal_mm, sd_mm, basis, ladder=settings.ladder)


def _sources(truth: Truth, target: str, draw: Draw) -> str:
    """What an estimate of something out of view may go by: up to three, landmarks on the picture for the most part."""
    others = [name for name in truth.in_view or truth.nearest[:1] if name != target]
    options = [*others, "the whole picture", "earlier pictures"]
    n = int(draw.rng.integers(1, min(3, len(options)) + 1))
    return ", ".join(options[i] for i in draw.rng.permutation(len(options))[:n])


def _asked_for(truth: Truth, n: int, shown_weight: float, draw: Draw) -> list[str]:
    """Different landmarks; those in view are drawn `shown_weight` times as often as others."""
    shown = truth.in_view
    weight = np.array([shown_weight if name in shown else 1.0 for name in truth.centred])
    drawn = draw.rng.choice(len(weight), size=min(n, len(weight)), replace=False, p=weight / weight.sum())
    return [truth.centred[i] for i in drawn]


def best_step(truth: Truth, target: str, ladder: Ladder, draw: Draw) -> NavigationAnswer:
    """The command that brings `target` nearest to the centre, and why, from where it truly is."""
    left_mm, caudal_mm = (float(mm) for mm in truth.offset(target))
    command = ladder.command(left_mm, caudal_mm)
    context, name = draw.name(truth.nearest[0]), draw.name(target)
    shown = target in truth.in_view
    across = "" if command.x == "CENTER" else "patient's left" if left_mm > 0 else "patient's right"
    along = "" if command.y == "CENTER" else "feet" if caudal_mm > 0 else "head"
    return NavigationAnswer(
        context=context,
        reason_x=_reason(name, context, across, abs(left_mm), shown, draw),
        reason_y=_reason(name, context, along, abs(caudal_mm), shown, draw),
        **command.model_dump(),
    )


def _reason(target: str, context: str, side: str, distance_mm: float, shown: bool, draw: Draw) -> str:
    """Why the view moves along one axis, towards `side`, or stays, where that is empty."""
    far = f"{max(10, round(distance_mm, -1)):.0f} mm"
    if not side:
        return draw.one((f"{target} is level with the centre.", f"No move is needed, {target} is in line."))
    if shown:
        return draw.one(
            (f"{target} is in view, {far} towards the {side}.", f"I see {target} {far} towards the {side}.")
        )
    return draw.one(
        (
            f"{target} is out of view, about {far} towards the {side}.",
            f"From {context}, {target} is some {far} towards the {side}.",
        )
    )


def _previous(truth: Truth, target: str, ladder: Ladder, draw: Draw) -> Previous:
    """The step before: one that was good where it was taken, or, as often, any. A model that is only ever told of good
    steps learns to repeat the last one, and having gone too far it goes on."""
    is_good = draw.chance(0.5)
    at_mm = truth.offset(target) if is_good else np.zeros(2)
    drawn = [ladder.command(*place) for place in draw.rng.normal(at_mm, STEP_SD_MM, size=(8, 2)).tolist()]
    moving = [command for command in drawn if not command.stays]
    good = [command for command in moving if is_good and _was_good(command, at_mm, ladder)]
    command = (good or moving or drawn)[0]
    before = truth.offsets_mm + _moved_mm(command, ladder)
    return Previous(landmark=_ranked(np.hypot(*before.T))[0], command=command)


def _was_good(command: Command, offset_mm: NDArray[np.float64], ladder: Ladder) -> bool:
    """Whether it was the best one there, if a target that it was meant for lies at `offset_mm` now."""
    left_mm, caudal_mm = (float(mm) for mm in offset_mm + _moved_mm(command, ladder))
    return ladder.command(left_mm, caudal_mm) == command


def _moved_mm(command: Command, ladder: Ladder) -> NDArray[np.float64]:
    motion = ladder.motion(command)
    return np.array([motion.left_mm, motion.caudal_mm])


def _ranked(distance_mm: NDArray[np.float64]) -> list[str]:
    return [LANDMARKS[i] for i in np.argsort(distance_mm, kind="stable") if not np.isnan(distance_mm[i])]


_MAKERS: Mapping[Task, Callable[[Truth, TaskSettings, Draw], Iterator[Question]]] = {
    "retrieval": _retrieval,
    "centred": _centred,
    "nearest": _nearest,
    "place": _place,
    "correction": _correction,
    "navigation": _navigation,
}
