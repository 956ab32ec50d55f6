"""The C-arm loop: render -> localise -> review -> decide -> guard -> move -> render ..., until the target is centred.

After the perception-action loop of the paper (section 2.3, equation 3), with a clinician who may speak at any moment, a
conformal gate that decides when the clinician is asked, and a guard that no words can move.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from loopwright.agents.carm.localisers import Localiser
from loopwright.agents.carm.navigator import Anchor, Decision, Navigator, Sighting, Situation, sightings_in
from loopwright.agents.carm.prompts import Previous
from loopwright.agents.consult import Advisor, Consult
from loopwright.agents.hearing import Ear, Question
from loopwright.agents.journal import Journal
from loopwright.graphs.carm.feedback import apply_feedback, either_or, is_answer, picture_feedback
from loopwright.graphs.state import LoopState, Update, moment
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Act, CancelToken, ImageRef
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion, MotionLimits, Track, check_motion

MAX_REFUSALS = 3
"""How many proposals the guard may refuse at one moment before the loop asks or gives up."""

Goto = Literal["render", "localise", "review", "decide", "guard", "move", "finish"]


class CArmState(LoopState):
    """What the C-arm loop adds: what was seen, what the clinician pointed out or denied, and the track so far.

    `words` are the clinician's about this picture, `previous` what a model saw and commanded at the step before.
    """

    localisation: dict[str, Any]
    anchors: list[dict[str, Any]]
    denied: list[str]
    sightings: list[dict[str, Any]]
    directive: dict[str, Any] | None
    words: str
    previous: dict[str, Any] | None
    approved_by: Literal["guard", "human"]
    track: dict[str, Any]


class Camera(Protocol):
    """Takes an exposure and keeps the picture: what `render` needs of the world."""

    def expose(self, key: str, step: int) -> dict[str, Any]:
        """Expose through the ledger; the observation as JSON (`pose`, `exposures`, `image`, `snapshot`)."""
        ...


@dataclass(frozen=True, kw_only=True)
class CArmDeps:
    """Everything that the nodes are handed."""

    journal: Journal
    ear: Ear
    camera: Camera
    actuator: Actuator
    localiser: Localiser
    navigator: Navigator
    advisor: Advisor | None
    cancel: CancelToken
    limits: MotionLimits
    recorder: "Recorder"
    approval: Literal["guard", "human"]
    on_uncertain: Literal["ask", "proceed", "stop"]
    max_set_size: int
    field_of_view_mm: float
    arrival_radius_mm: float
    max_arrival_sd_mm: float


class Recorder(Protocol):
    """Writes one step's summary into the memory."""

    def __call__(self, state: CArmState) -> None:
        """Record the step that `state` stands at."""
        ...


def build(deps: CArmDeps) -> "StateGraph[CArmState, None, CArmState, CArmState]":
    """The loop's graph over `deps`, not yet compiled."""
    nodes = CArmNodes(deps)
    graph = StateGraph(CArmState)
    for name in ("render", "localise", "review", "decide", "guard", "move", "finish"):
        graph.add_node(name, getattr(nodes, name))
    graph.add_edge(START, "render")
    graph.add_edge("render", "localise")
    graph.add_edge("localise", "review")
    graph.add_edge("finish", END)
    return graph


def initial_state(targets: Sequence[str]) -> CArmState:
    """The state before the first exposure."""
    return CArmState(
        branch=0, step=0, visit=0, goals=list(targets), reached=[], refusals=[], status="running", reason="",
        observation={}, localisation={}, decision={}, approved_by="guard",
        anchors=[], denied=[], sightings=[], directive=None, words="", previous=None,
        track=Track().model_dump(mode="json"),
    )  # fmt: skip


class CArmNodes:
    """The nodes. Each may be re-run from its start: whatever it does outside the state goes through the journal."""

    def __init__(self, deps: CArmDeps) -> None:
        self._d = deps

    def render(self, state: CArmState) -> Update:
        """Take one exposure at the C-arm's pose."""
        at = moment(state)
        key = f"{self._d.journal.session_id}/{at.branch}/{at.step}/expose"
        seen = self._d.journal.outside(at, "observed", lambda: self._d.camera.expose(key, at.step))
        return Update(observation=seen, visit=0, refusals=[], denied=[], directive=None, words="")

    def localise(self, state: CArmState) -> Update:
        """Say what the picture shows."""
        seen = self._d.localiser.localise(_image(state), self._consult(state))
        # The network's own answer is on record already; what was made of a model's answers is written here.
        said = self._d.journal.derived(moment(state), "localised", seen.model_dump(mode="json"))
        return Update(localisation=said)

    def review(self, state: CArmState) -> Command[Literal["decide", "finish"]]:
        """Hear the clinician; where the conformal set is too large, ask, proceed or stop as the run says."""
        seen = Localisation.model_validate(state["localisation"])
        candidates = seen.ranking if seen.nearest_set is None else seen.nearest_set  # uncalibrated: anything may be
        uncertain = not 1 <= len(candidates) <= self._d.max_set_size
        must_ask = uncertain and self._d.on_uncertain == "ask"
        question = Question(
            about="uncertain",
            text=f"I cannot tell which landmark is nearest: {either_or(candidates)}. Which is it?",
            options=(*(f"that is the {n}" for n in candidates), "approve", "go 20 mm cranial"),
        )
        heard = self._d.ear.converse(
            moment(state), "review", state["visit"], lambda h: question if must_ask and not is_answer(h) else None
        )
        update = apply_feedback(state, seen, heard)
        revised = self._d.localiser.revise(
            _image(state), seen, picture_feedback(heard, update["denied"]), self._consult(state)
        )
        if revised != seen:
            said = revised.model_dump(mode="json")
            update["localisation"] = self._d.journal.derived(moment(state), "relocalised", said)
        self._d.journal.derived(
            moment(state),
            "reviewed",
            {"uncertain": uncertain, "nearest_set": list(candidates), "heard": [h.words for h in heard]},
            name=str(state["visit"]),
        )
        if uncertain and self._d.on_uncertain == "stop" and not is_answer(heard):
            return _end(update, "failed", f"the localiser is not sure enough: {either_or(candidates)}")
        return Command(goto="decide", update=update)

    def decide(self, state: CArmState) -> Command[Literal["decide", "guard", "finish"]]:
        """Propose one motion of the view, or say that the target is centred."""
        at, goal = moment(state), state["goals"][0]
        decision = self._decision(state, goal)
        said = decision.model_dump(mode="json")
        self._d.journal.derived(at, "decided", said, name=str(state["visit"]))
        update = Update(decision=said, visit=state["visit"] + 1)
        if not decision.arrived:
            return Command(goto="guard", update=update)
        if decision.sd_mm > self._d.max_arrival_sd_mm:
            doubted = self._doubted(state, decision, update)
            if doubted is not None:
                return doubted
        self._d.journal.derived(at, "reached", {"target": goal, "distance_mm": decision.distance_mm}, name=goal)
        update["goals"], update["reached"] = state["goals"][1:], [*state["reached"], goal]
        if not update["goals"]:
            return _end(update, "succeeded", f"{goal} is centred")
        # A new goal may well lead back over old ground: the track starts again, the budgets do not.
        update["track"] = Track.model_validate(state["track"]).for_new_goal().model_dump(mode="json")
        return Command(goto="decide", update=update)

    def guard(self, state: CArmState) -> Command[Literal["decide", "move", "finish"]]:
        """Code decides whether the motion is safe; then, where the run wants it, the clinician approves it."""
        at, decision = moment(state), Decision.model_validate(state["decision"])
        pose = Pose.model_validate(state["observation"]["pose"])
        verdict = check_motion(decision.motion, pose, self._track(state, decision), self._d.limits)
        self._d.journal.derived(at, "guarded", verdict.model_dump(mode="json"), name=str(state["visit"]))
        if not verdict.ok:
            return self._refused(state, f"{verdict.rule}: {verdict.reason}")
        if self._d.approval == "guard":
            return Command(goto="move", update=Update(approved_by="guard"))
        return self._ask_approval(state, decision)

    def move(self, state: CArmState) -> Command[Literal["render", "decide", "finish"]]:
        """Move the C-arm, at most once."""
        at, decision = moment(state), Decision.model_validate(state["decision"])
        act = Act(tool="move_c_arm", arguments=decision.motion.model_dump(mode="json"))
        key = f"{self._d.journal.session_id}/{at.branch}/{at.step}/move.{state['visit']}"

        def send() -> dict[str, Any]:
            outcome = self._d.actuator.act(key, act, step=at.step, by=state["approved_by"])
            return outcome.model_dump(mode="json", exclude={"key"})

        outcome = self._d.journal.outside(at, "moved", send, name=str(state["visit"]))
        if outcome["status"] != "done":
            return self._refused(state, f"the C-arm: {outcome['reason']}")
        self._d.recorder(state)
        track = self._track(state, decision).after(decision.motion)
        seen = [s.model_dump(mode="json") for s in sightings_in(self._situation(state, decision.target))]
        update = Update(
            step=at.step + 1,
            track=track.model_dump(mode="json"),
            sightings=[*state["sightings"], *seen],
            previous=state["decision"].get("said"),
        )
        return Command(goto="render", update=update)

    def finish(self, state: CArmState) -> Update:
        """Record how the run ended."""
        self._d.recorder(state)
        ended = {"status": state["status"], "reason": state["reason"], "reached": state["reached"]}
        self._d.journal.derived(moment(state), "finished", ended)
        return Update()

    def _decision(self, state: CArmState, goal: str) -> Decision:
        if state["directive"] is not None:
            motion = Motion.model_validate(state["directive"])
            return Decision(
                target=goal, arrived=False, motion=motion, distance_mm=0.0, sd_mm=0.0, source="clinician",
                rationale="the clinician asked for this motion",
            )  # fmt: skip
        return self._d.navigator.decide(self._situation(state, goal), self._consult(state))

    def _consult(self, state: CArmState) -> Consult:
        at, visit = moment(state), state["visit"]
        return Consult(self._d.journal, at, visit=visit, advisor=self._d.advisor, cancel=self._d.cancel)

    def _situation(self, state: CArmState, goal: str) -> Situation:
        previous = state.get("previous")
        return Situation(
            target=goal,
            image=_image(state),
            pose=Pose.model_validate(state["observation"]["pose"]),
            localisation=Localisation.model_validate(state["localisation"]),
            anchors=tuple(Anchor.model_validate(a) for a in state["anchors"]),
            denied=tuple(state["denied"]),
            sightings=tuple(Sighting.model_validate(s) for s in state["sightings"]),
            refusals=tuple(state["refusals"]),
            previous=None if previous is None else Previous.model_validate(previous),
            words=state.get("words", ""),
            field_of_view_mm=self._d.field_of_view_mm,
            max_step_mm=self._d.limits.max_step_mm,
            arrival_radius_mm=self._d.arrival_radius_mm,
        )

    def _track(self, state: CArmState, decision: Decision) -> Track:
        claimed = None if decision.source == "clinician" else decision.distance_mm
        seen = state["observation"]
        track, pose = Track.model_validate(state["track"]), Pose.model_validate(seen["pose"])
        return track.at(pose, seen["exposures"], claimed, decision.towards)

    def _refused(self, state: CArmState, reason: str) -> Command[Any]:
        refusals = [*state["refusals"], reason]
        update = Update(refusals=refusals, directive=None)
        if len(refusals) <= MAX_REFUSALS:
            return Command(goto="decide", update=update)
        if self._d.on_uncertain != "ask":
            return _end(update, "failed", f"no motion was allowed: {reason}")
        question = Question(
            about="refused",
            text=f"No motion I propose is allowed ({reason}). What shall I do?",
            options=("go 20 mm cranial", "the target is T12", "stop"),
        )
        heard = self._d.ear.converse(
            moment(state), "refused", state["visit"], lambda h: None if is_answer(h) else question
        )
        update = apply_feedback(state, Localisation.model_validate(state["localisation"]), heard)
        return Command(goto="decide", update={**update, "refusals": []})

    def _doubted(self, state: CArmState, decision: Decision, update: Update) -> Command[Any] | None:
        """A target that may well lie elsewhere is not called centred: a clinician says so, or it was not found.

        None: the clinician says that it is.
        """
        goal = decision.target
        if self._d.on_uncertain != "ask":
            return _end(update, "failed", f"{goal} was not found: it may be {decision.sd_mm:.0f} mm from here")
        question = Question(
            about="arrival",
            text=f"Is {goal} centred? I take it to be, but it may be {decision.sd_mm:.0f} mm off.",
            options=("approve", "reject", f"that is the {goal}", "go 20 mm cranial"),
        )
        heard = self._d.ear.converse(
            moment(state), "decide", state["visit"], lambda h: None if is_answer(h) else question
        )
        if all(h.is_approval for h in heard if is_answer([h])):
            return None
        # A no is about the target here, not about what is nearest.
        others = [h for h in heard if h.words["kind"] != "reject"]
        applied = apply_feedback(state, Localisation.model_validate(state["localisation"]), others)
        if len(others) < len(heard):
            applied["denied"] = [*applied["denied"], goal]
            applied["sightings"] = [s for s in state["sightings"] if s["landmark"] != goal]  # they led here
        return Command(goto="decide", update={**update, **applied})

    def _ask_approval(self, state: CArmState, decision: Decision) -> Command[Any]:
        motion = decision.motion
        question = Question(
            about="approval",
            text=f"May I move the view {motion.describe()}? ({decision.rationale})",
            options=("approve", "reject", "go 20 mm cranial"),
        )
        heard = self._d.ear.converse(
            moment(state), "guard", state["visit"], lambda h: None if is_answer(h) else question
        )
        words = next(h.words for h in reversed(heard) if is_answer([h]))
        if words["kind"] == "approve":
            return Command(goto="move", update=Update(approved_by="human"))
        if words["kind"] == "reject":
            return self._refused(state, f"the clinician said no{': ' + words['reason'] if words['reason'] else ''}")
        return Command(
            goto="decide", update=apply_feedback(state, Localisation.model_validate(state["localisation"]), heard)
        )


def _end(update: Update, status: Literal["succeeded", "failed"], reason: str) -> Command[Any]:
    return Command(goto="finish", update={**update, "status": status, "reason": reason})


def _image(state: CArmState) -> ImageRef:
    return ImageRef.model_validate(state["observation"]["image"])
