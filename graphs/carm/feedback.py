"""What a clinician's words change in the C-arm loop: what it believes and wants, never a limit."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from loopwright.agents.carm.localisers import PictureFeedback
from loopwright.agents.carm.navigator import Anchor
from loopwright.agents.hearing import Heard
from loopwright.graphs.state import Update
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion

WORDS_CHARS = 200
"""How much of one message a model is told; what is longer is cut at a word."""


def apply_feedback(state: Mapping[str, Any], seen: Localisation, heard: Sequence[Heard]) -> Update:
    """What the clinician's words change. Words never move a limit; they change what the loop believes and wants."""
    update = Update(
        goals=list(state["goals"]), anchors=list(state["anchors"]), denied=list(state["denied"]),
        directive=state["directive"], words=_joined([state.get("words", ""), *_about_the_picture(heard, "note")]),
    )  # fmt: skip
    pose = Pose.model_validate(state["observation"]["pose"])
    for words in (h.words for h in heard):
        match words["kind"]:
            case "identify":
                anchor = Anchor(landmark=words["landmark"], x_mm=pose.x_mm, z_mm=pose.z_mm)
                others = [a for a in update["anchors"] if a["landmark"] != anchor.landmark]
                update["anchors"] = [*others, anchor.model_dump(mode="json")]
            case "retarget":
                update["goals"] = [words["landmark"], *update["goals"][1:]]
            case "move_view":
                update["directive"] = Motion.towards(words["direction"], words["distance_mm"]).model_dump(mode="json")
            case "reject":
                update["denied"] = [*update["denied"], max(seen.nearest, key=lambda n: seen.nearest[n])]
            case _:  # approve and note change nothing
                pass
    return update


def picture_feedback(heard: Sequence[Heard], denied: Sequence[str]) -> PictureFeedback:
    """What was said that the picture shows, or does not, for whoever says what it shows."""
    is_rejected = any(h.words["kind"] == "reject" for h in heard)
    return PictureFeedback(_joined(_about_the_picture(heard)), is_rejected, tuple(denied))


def is_answer(heard: Iterable[Heard]) -> bool:
    """Whether anything that was heard answers a question."""
    return any(h.is_approval or h.words["kind"] not in ("approve", "note", "unclear") for h in heard)


def either_or(names: Sequence[str]) -> str:
    """Names as alternatives, for a question."""
    return " or ".join(names) if names else "none fits"


def _about_the_picture(heard: Iterable[Heard], *more: str) -> Iterator[str]:
    """What names or doubts what is seen, and messages of the kinds `more`. Commands are for the loop, not the model."""
    for one in heard:
        match one.words["kind"]:
            case "reject":
                yield one.words["reason"]
            case kind if kind in ("identify", *more):
                yield one.text
            case _:
                pass


def _joined(said: Iterable[str]) -> str:
    return "; ".join(textwrap.shorten(text, WORDS_CHARS, placeholder=" ...") for text in said if text)
