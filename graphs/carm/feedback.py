"""What a clinician's words change in the C-arm loop: what it believes and wants, never a limit."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from loopwright.agents.carm.localisers import PictureFeedback
from loopwright.agents.carm.navigator import Anchor
from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.guard import Motion

WORDS_CHARS = 200
"""How much of one message a model is told; what is longer is cut at a word."""


def apply_feedback(state: State, ctx: Context, heard: Sequence[Heard]) -> None:
    """Change what the loop believes and wants; what corrects the picture is recorded as `corrected`."""
    state["words"] = _joined([state["words"], *_about_the_picture(heard, "note")])
    for one in heard:
        match one.words:
            case {"kind": "identify", "landmark": landmark}:
                state["anchors"] = anchored(state, landmark)
                _correct(state, ctx, one, landmark=landmark)
            case {"kind": "retarget", "landmark": goal}:
                state["goals"] = [goal, *state["goals"][1:]]
            case {"kind": "move_view", "direction": direction, "distance_mm": distance_mm}:
                state["directive"] = Motion.towards(direction, distance_mm).model_dump(mode="json")
            case {"kind": "reject"}:
                state["denied"] = [*state["denied"], _nearest(state)]
                _correct(state, ctx, one, landmark=None)
            case _:  # approve and note change nothing
                pass


def anchored(state: State, landmark: str) -> list[dict[str, object]]:
    """The anchors, with `landmark` where the view's centre is."""
    pose = state["observation"]["pose"]
    anchor = Anchor(landmark=landmark, x_mm=pose["x_mm"], z_mm=pose["z_mm"])
    return [*(a for a in state["anchors"] if a["landmark"] != landmark), anchor.model_dump(mode="json")]


def picture_feedback(heard: Sequence[Heard], denied: Sequence[str]) -> PictureFeedback:
    """What was said that the picture shows, or does not, for whoever says what it shows."""
    is_rejected = any(h.kind == "reject" for h in heard)
    return PictureFeedback(_joined(_about_the_picture(heard)), is_rejected, tuple(denied))


def is_command(heard: Iterable[Heard]) -> bool:
    """Whether anything that was heard asks for something else than what the loop is about to do."""
    return any(h.kind not in ("approve", "note", "unclear") for h in heard)


def either_or(names: Sequence[str]) -> str:
    """Names as alternatives, for a question."""
    return " or ".join(names) if names else "none fits"


def _correct(state: State, ctx: Context, one: Heard, *, landmark: str | None) -> None:
    """Record a labelled example: what the picture was taken to show, and what it shows (None: not that)."""
    seen = state["observation"]
    corrected = {"pose": seen["pose"], "image": seen["image"], "nearest": _nearest(state), "landmark": landmark}
    ctx.computed("corrected", {"volume": ctx.prepared["volume"], **corrected, "text": one.text})


def _nearest(state: State) -> str:
    return Localisation.model_validate(state["localisation"]).ranking[0]


def _about_the_picture(heard: Iterable[Heard], *more: str) -> Iterator[str]:
    """What names or doubts what is seen, and messages of the kinds `more`. Commands are for the loop, not the model."""
    for one in heard:
        match one.kind:
            case "reject":
                yield one.words["reason"]
            case kind if kind in ("identify", *more):
                yield one.text
            case _:
                pass


def _joined(said: Iterable[str]) -> str:
    return "; ".join(textwrap.shorten(text, WORDS_CHARS, placeholder=" ...") for text in said if text)
