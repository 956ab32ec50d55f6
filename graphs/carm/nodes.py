"""The C-arm loop's nodes: render -> localise -> review -> decide -> move -> render ..., until the target is centred.

After the perception-action loop of the paper (section 2.3, equation 3), with a clinician who may speak at any moment,
calibrated gates that decide when the clinician is asked, and guards that no words can move. What the gates contradict
is never called centred: without a clinician such a session ends as not found.
"""

from typing import Any, NoReturn

import numpy as np

from loopwright.agents.carm.doubts import doubt, jump_mm, why_unknown
from loopwright.agents.carm.navigator import Decision, Sighting, Situation, sightings_in
from loopwright.agents.sessions.gate import Heard
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
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.guard import Motion, MotionLimits, Track, check_track
from loopwright.tools.carm.tools import move_c_arm, take_exposure

MAX_REFUSALS = 3
"""How many proposals may be refused at one moment before the loop asks or gives up."""
MAX_UNKNOWN = 3
"""How many pictures in a row may be unlike anything known before the loop, with nobody to ask, says so and ends."""
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
    seen = make_localiser(ctx).localise(image_of(state), ctx)
    state["localisation"] = ctx.computed("localised", seen.model_dump(mode="json"))


def review(state: State, ctx: Context) -> None:
    """Hear the clinician; where the localiser is not sure of the picture, ask, proceed or stop as the run says."""
    seen = Localisation.model_validate(state["localisation"])
    heard = ctx.feedback()
    state["unknown"] = 0 if seen.is_known or is_command(heard) else state["unknown"] + 1
    if not is_command(heard):
        heard += _asked_about(state, ctx, seen)
    apply_feedback(state, ctx, heard)
    revised = make_localiser(ctx).revise(image_of(state), seen, picture_feedback(heard, state["denied"]), ctx)
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
    if (why := _doubt(state, ctx, decision)) and not _is_confirmed(state, ctx, goal, why):
        ctx.goto("decide")
    ctx.computed("reached", {"target": goal, "distance_mm": decision.distance_mm})
    _compare_with_known_place(state, ctx, goal)
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
    state["last_seen"] = [s.model_dump(mode="json") for s in sightings_in(_situation(state, ctx, decision.target))]
    state["sightings"] += state["last_seen"]
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


def _asked_about(state: State, ctx: Context, seen: Localisation) -> list[Heard]:
    """What a clinician answers where the picture is not known, or does not tell which landmark is nearest."""
    if why := why_unknown(seen):
        text = f"I do not know this anatomy: {why}. What does the picture show?"
        guesses = (f"that is the {name}" for name in seen.ranking[:3])
        heard = ctx.unsure(
            text, about="unknown", options=(*guesses, "it is not there", "approve", MOTION), ending="not_found"
        )
        if ctx.config.on_uncertain != "ask" and state["unknown"] >= MAX_UNKNOWN:
            ctx.end("not_found", f"{state['goals'][0]} was not found: I do not know this anatomy ({why})")
        return heard
    candidates = seen.ranking if seen.nearest_set is None else seen.nearest_set  # uncalibrated: anything may be
    if 1 <= len(candidates) <= ctx.config.max_set_size:
        return []
    text = f"I cannot tell which landmark is nearest: {either_or(candidates)}. Which is it?"
    return ctx.unsure(text, options=(*(f"that is the {n}" for n in candidates), "approve", MOTION))


def _doubt(state: State, ctx: Context, decision: Decision) -> str:
    """Why the target may not be where the picture has it; "" where nothing says so."""
    situation = _situation(state, ctx, decision.target)
    before = [Sighting.model_validate(sighting) for sighting in state["last_seen"]]
    jumped_mm = jump_mm(decision.target, before, sightings_in(situation))
    return doubt(decision, situation.localisation, jumped_mm, ctx.config.max_arrival_sd_mm)


def _is_confirmed(state: State, ctx: Context, goal: str, why: str) -> bool:
    """A target that may well lie elsewhere is not called centred: a clinician says so, or it was not found."""
    if ctx.config.on_uncertain != "ask":
        ctx.end("not_found", f"{goal} was not found: {why}")
    text = f"Is {goal} centred? I take it to be, but {why}."
    options = ("approve", "reject", f"that is the {goal}", "it is not there", MOTION)
    heard = ctx.ask_human(text, about="arrival", options=options)
    if not is_command(heard):
        return True
    # A no is about the target here, not about what is nearest.
    others = [h for h in heard if h.kind != "reject"]
    apply_feedback(state, ctx, others)
    if len(others) < len(heard):
        state["denied"].append(goal)
        state["sightings"] = [s for s in state["sightings"] if s["landmark"] != goal]  # they led here
    return False


def _compare_with_known_place(state: State, ctx: Context, goal: str) -> None:
    """Record `contradicted` where the case's own landmarks, which the loop never uses, say that the claim is false."""
    if goal not in ctx.prepared["landmarks"]:
        return
    pose = Pose.model_validate(state["observation"]["pose"])
    known_mm = float(np.linalg.norm(in_plane_offset_mm(np.asarray(ctx.prepared["landmarks"][goal]), pose)))
    if known_mm > ctx.prepared["settings"]["success_radius_mm"]:
        ctx.computed("contradicted", {"target": goal, "known_mm": round(known_mm, 1)})


def _refuse(state: State, ctx: Context, reason: str) -> NoReturn:
    """A motion was refused: decide again, a few times; then ask, or give up."""
    state["refusals"].append(reason)
    state["directive"] = None
    if len(state["refusals"]) > MAX_REFUSALS:
        if ctx.config.on_uncertain != "ask":
            decision = Decision.model_validate(state["decision"])
            if why := _doubt(state, ctx, decision):
                ctx.end("not_found", f"{decision.target} was not found: {why}; no motion was allowed: {reason}")
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


def image_of(state: State) -> ImageRef:
    """The picture of this step."""
    return ImageRef.model_validate(state["observation"]["image"])
