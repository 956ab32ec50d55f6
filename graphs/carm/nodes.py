"""The C-arm loop's nodes: render -> localise -> review -> decide -> move -> render ..., until the target is centred.

After the perception-action loop of the paper (section 2.3, equation 3), with a clinician who may speak at any moment, a
conformal gate that decides when the clinician is asked, and guards that no words can move.
"""

from typing import Any, NoReturn

from loopwright.agents.carm.navigator import Decision, Situation, sightings_in
from loopwright.graphs.carm.feedback import (
    apply_feedback,
    either_or,
    is_command,
    picture_feedback,
    recalled_anchors,
)
from loopwright.graphs.carm.roles import make_localiser, make_navigator
from loopwright.graphs.loop.acts import WITHDRAWN
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State, node
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Act, ImageRef, Verdict
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion, MotionLimits, Track, check_track
from loopwright.tools.carm.tools import move_c_arm, take_exposure

MAX_REFUSALS = 3
"""How many proposals may be refused at one moment before the loop asks or gives up."""
MOTION = "go 20 mm cranial"
"""What else one may say to a question."""


def render(state: State, ctx: Context) -> None:
    """Take one exposure at the C-arm's pose."""
    ctx.observe(take_exposure)
    state.update(refusals=[], denied=[], directive=None, words="")
    if ctx.config.recall and ctx.visit.visit == 0:
        state["anchors"] = recalled_anchors(ctx)


def localise(state: State, ctx: Context) -> None:
    """Say what the picture shows."""
    seen = make_localiser(ctx).localise(_image(state), ctx)
    state["localisation"] = ctx.computed("localised", seen.model_dump(mode="json"))


def review(state: State, ctx: Context) -> None:
    """Hear the clinician; where the conformal set is too large, ask, proceed or stop as the run says."""
    seen = Localisation.model_validate(state["localisation"])
    candidates = seen.ranking if seen.nearest_set is None else seen.nearest_set  # uncalibrated: anything may be
    heard = ctx.feedback()
    if not 1 <= len(candidates) <= ctx.config.max_set_size and not is_command(heard):
        text = f"I cannot tell which landmark is nearest: {either_or(candidates)}. Which is it?"
        heard += ctx.unsure(text, options=(*(f"that is the {n}" for n in candidates), "approve", MOTION))
    apply_feedback(state, ctx, heard)
    revised = make_localiser(ctx).revise(_image(state), seen, picture_feedback(heard, state["denied"]), ctx)
    if revised != seen:
        state["localisation"] = ctx.computed("relocalised", revised.model_dump(mode="json"))


@node(to=("decide",))
def decide(state: State, ctx: Context) -> None:
    """Propose one motion of the view, or say that the target is centred."""
    goal = state["goals"][0]
    decision = _decided(state, ctx, goal)
    state["decision"] = ctx.computed("decided", decision.model_dump(mode="json"))
    _remember(state, ctx, goal)
    if not decision.arrived:
        return
    if decision.sd_mm > ctx.config.max_arrival_sd_mm and not _is_confirmed(state, ctx, decision):
        ctx.goto("decide")
    ctx.computed("reached", {"target": goal, "distance_mm": decision.distance_mm})
    state["goals"], state["reached"] = state["goals"][1:], [*state["reached"], goal]
    if not state["goals"]:
        ctx.end("succeeded", f"{goal} is centred")
    # A new goal may well lead back over old ground: the track starts again, the budgets do not.
    state["track"] = Track.model_validate(state["track"]).for_new_goal().model_dump(mode="json")
    ctx.goto("decide")


@node(to=("decide",))
def move(state: State, ctx: Context) -> None:
    """Move the view, if the guards and, where the run wants it, the clinician allow it."""
    decision = Decision.model_validate(state["decision"])
    result = ctx.act(move_c_arm, because=decision.rationale, **decision.motion.model_dump())
    if result.rule == WITHDRAWN:  # says nothing of the motion: it is decided anew
        state["directive"] = None
        ctx.goto("decide")
    if not result.ok:
        heard = ctx.feedback() if result.rule == "human" else []
        # A no that answers the question is about this motion; one said unasked is about the picture too.
        apply_feedback(state, ctx, [h for h in heard if h.kind != "reject" or not h.question])
        if heard and not any(h.kind == "reject" for h in heard):  # something else was asked for
            ctx.goto("decide")
        _refuse(state, ctx, f"{result.rule}: {result.reason}" if result.rule else f"the C-arm: {result.reason}")
    state["track"] = _track(state).after(Motion.model_validate(result.arguments)).model_dump(mode="json")
    state["sightings"] += [s.model_dump(mode="json") for s in sightings_in(_situation(state, ctx, decision.target))]
    state["previous"] = state["decision"]["said"]


def check_way(act: Act, state: State) -> Verdict | None:
    """The loop's own guard: no motion that goes to and fro, too far in all, or on and on without coming nearer."""
    if act.tool != move_c_arm.name:
        return None
    limits, pose = MotionLimits.model_validate(state["limits"]), Pose.model_validate(state["observation"]["pose"])
    return check_track(Motion.model_validate(act.arguments), pose, _track(state), limits)


def _decided(state: State, ctx: Context, goal: str) -> Decision:
    if state["directive"] is not None:
        motion = Motion.model_validate(state["directive"])
        return Decision(
            target=goal, arrived=False, motion=motion, distance_mm=0.0, sd_mm=0.0, source="clinician",
            rationale="the clinician asked for this motion",
        )  # fmt: skip
    return make_navigator(ctx.config).decide(_situation(state, ctx, goal), ctx)


def _is_confirmed(state: State, ctx: Context, decision: Decision) -> bool:
    """A target that may well lie elsewhere is not called centred: a clinician says so, or it was not found."""
    goal = decision.target
    if ctx.config.on_uncertain != "ask":
        ctx.end("failed", f"{goal} was not found: it may be {decision.sd_mm:.0f} mm from here")
    text = f"Is {goal} centred? I take it to be, but it may be {decision.sd_mm:.0f} mm off."
    heard = ctx.ask_human(text, about="arrival", options=("approve", "reject", f"that is the {goal}", MOTION))
    if not is_command(heard):
        return True
    # A no is about the target here, not about what is nearest.
    others = [h for h in heard if h.kind != "reject"]
    apply_feedback(state, ctx, others)
    if len(others) < len(heard):
        state["denied"].append(goal)
        state["sightings"] = [s for s in state["sightings"] if s["landmark"] != goal]  # they led here
    return False


def _refuse(state: State, ctx: Context, reason: str) -> NoReturn:
    """A motion was refused: decide again, a few times; then ask, or give up."""
    state["refusals"].append(reason)
    state["directive"] = None
    if len(state["refusals"]) > MAX_REFUSALS:
        if ctx.config.on_uncertain != "ask":
            ctx.end("failed", f"no motion was allowed: {reason}")
        text = f"No motion I propose is allowed ({reason}). What shall I do?"
        apply_feedback(state, ctx, ctx.ask_human(text, about="refused", options=(MOTION, "the target is T12", "stop")))
        state["refusals"] = []
    ctx.goto("decide")


def _remember(state: State, ctx: Context, goal: str) -> None:
    nearest = Localisation.model_validate(state["localisation"]).ranking[0]
    seen = state["observation"]
    detail = {"pose": seen["pose"], "image": seen["image"], "decision": state["decision"]}
    ctx.remember(label=nearest, signature=f"{nearest} -> {goal}", detail=detail)


def _situation(state: State, ctx: Context, goal: str) -> Situation:
    given: dict[str, Any] = {
        name: state[name]
        for name in ("localisation", "anchors", "denied", "sightings", "refusals", "previous", "words")
    }
    return Situation.model_validate(
        {
            **given,
            "target": goal,
            "image": state["observation"]["image"],
            "pose": state["observation"]["pose"],
            "field_of_view_mm": ctx.prepared["field_of_view_mm"],
            "max_step_mm": state["limits"]["max_step_mm"],
            "arrival_radius_mm": ctx.config.arrival_radius_mm,
        }
    )


def _track(state: State) -> Track:
    """The way so far, with the place where the C-arm stands and what is claimed there."""
    decision = Decision.model_validate(state["decision"])
    claimed = None if decision.source == "clinician" else decision.distance_mm
    track, pose = Track.model_validate(state["track"]), Pose.model_validate(state["observation"]["pose"])
    return track.at(pose, claimed, decision.towards)


def _image(state: State) -> ImageRef:
    return ImageRef.model_validate(state["observation"]["image"])
