"""What a clinician's words change in the C-arm loop: what it believes and wants, never a limit."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loopwright.agents.carm.localisers import PictureFeedback
from loopwright.agents.carm.navigator import Anchor
from loopwright.agents.sessions.gate import Heard
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion

WORDS_CHARS = 200
"""How much of one message a model is told; what is longer is cut at a word."""
RECALLED = 100
"""How many corrections of earlier sessions are looked at, the newest ones."""


def apply_feedback(state: State, ctx: Context, heard: Sequence[Heard]) -> None:
    """Change what the loop believes and wants; what corrects the picture is recorded as `corrected`."""
    state["words"] = _joined([state["words"], *_about_the_picture(heard, "note")])
    for one in heard:
        match one.words:
            case {"kind": "identify", "landmark": landmark}:
                others = [a for a in state["anchors"] if a["landmark"] != landmark]
                state["anchors"] = [*others, _anchor(landmark, state["observation"]["pose"])]
                _correct(state, ctx, one, landmark=landmark)
            case {"kind": "retarget", "landmark": goal}:
                state["goals"] = [goal, *state["goals"][1:]]
            case {"kind": "move_view", "direction": direction, "distance_mm": distance_mm}:
                state["directive"] = Motion.towards(direction, distance_mm).model_dump(mode="json")
            case {"kind": "point_out", "landmark": landmark}:
                others = [a for a in state["anchors"] if a["landmark"] != landmark]
                pose = Pose.model_validate(state["observation"]["pose"]).moved(
                    left_mm=one.words["left_mm"], caudal_mm=one.words["caudal_mm"]
                )
                state["anchors"] = [*others, _anchor(landmark, pose.model_dump())]
            case {"kind": "not_here", "landmark": landmark}:
                state["denied"] = [*state["denied"], landmark]
            case {"kind": "go_here", **way}:
                fields = {name: way[name] for name in ("left_mm", "caudal_mm", "anterior_mm")}
                state["directive"] = Motion(**fields).model_dump(mode="json")
            case {"kind": "not_there"}:
                ctx.end("not_found", f"{state['goals'][0]} was not found: {one.author} says that it is not there")
            case {"kind": "reject"}:
                state["denied"], state["directive"] = [*state["denied"], _nearest(state)], None
                _correct(state, ctx, one, landmark=None)
            case _:  # approve and note change nothing
                pass


def recalled_anchors(ctx: Context) -> list[dict[str, object]]:
    """What clinicians pointed out in earlier sessions over this volume; of one landmark the newest counts."""
    corrected = ctx.recall("corrections", n=RECALLED, where={"volume": ctx.prepared["volume"]})
    found = {p["landmark"]: _anchor(p["landmark"], p["pose"]) for p in corrected if p["landmark"]}
    return list(found.values())


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


def _anchor(landmark: str, pose: Mapping[str, float]) -> dict[str, object]:
    """`landmark` lies where the view's centre is."""
    return Anchor(landmark=landmark, x_mm=pose["x_mm"], z_mm=pose["z_mm"]).model_dump(mode="json")


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
