"""The surgery loop: observe -> recall -> (caption) -> plan -> validate -> review -> record, clip by clip of a video.

After LLM-SAP (Xu et al. 2025, section 2): a near-history focus memory, a plan of three ranked actions with progress,
safety and reasons. Beside it a surgeon who may speak at any moment, rules that annotate and never reorder, and a score
of every plan against what really came next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from loopwright.agents.consult import Advisor, Consult
from loopwright.agents.hearing import Ear, Heard, Question
from loopwright.agents.journal import Journal
from loopwright.agents.surgery.advice import ActionPlanner, Advice, Preference, choices_after
from loopwright.agents.surgery.feedback import Correction
from loopwright.agents.surgery.formats import CAPTION, caption_of
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import Step, step_of
from loopwright.agents.surgery.knowledge import Knowledge
from loopwright.agents.surgery.prompts import caption_messages
from loopwright.graphs.state import LoopState, Update, moment
from loopwright.graphs.surgery.feedback import Change, apply_feedback, is_answer, lessons
from loopwright.schema import Act, CancelToken, ImageRef, Verdict
from loopwright.tools.actuate import Actuator
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.safety import SafetyReview, review
from loopwright.tools.surgery.vocabulary import Action

Captioner = Literal["none", "labels", "model"]
Perform = Literal["video", "asked", "plan"]
STUCK_CLIPS = 60
"""Plans that are performed are given up after so many clips without a step towards the goal: `ngram` reads none."""
NOTHING_SCORED = {"n": 0, "top_1": 0, "top_2": 0, "top_3": 0}


class SurgeryState(LoopState):
    """What the surgery loop adds: the past, the clip's caption, the surgeon's preference, how plans turned out so far.

    `goals` has the name of what is aimed at, or nothing for the procedure's usual goal, which ends with the video;
    `goal_since` is how many clips there were when it was set. `decision` is the `Advice`, {} for none.
    """

    goal_since: int
    past: dict[str, Any]
    caption: str
    preference: dict[str, Any]
    safety: dict[str, Any]
    approved_by: Literal["guard", "human"]
    tally: dict[str, int]


class Theatre(Protocol):
    """Where the video is shown: what the loop needs of the world."""

    def observe(self) -> dict[str, Any]:
        """The present clip as JSON: `clip`, `image` (None: it has none), `truth` (None: unknown), `is_last`, ..."""
        ...

    def action(self) -> Action:
        """What is done in the present clip."""
        ...


class Memory(Protocol):
    """The clips before the present one, as the near-history view needs them."""

    def recall(self, step: int) -> dict[str, Any]:
        """JSON: `distant` (actions of clips before the near ones) and `near` (`Step`s), oldest first."""
        ...

    def record(self, state: SurgeryState, seen: Step, scored: dict[str, Any] | None) -> None:
        """Keep the present clip, its plan, and how the plan turned out."""
        ...


@dataclass(frozen=True, kw_only=True)
class SurgeryDeps:
    """Everything that the nodes are handed."""

    journal: Journal
    ear: Ear
    theatre: Theatre
    memory: Memory
    actuator: Actuator
    planner: ActionPlanner
    knowledge: Knowledge
    captioner: Captioner
    planning_model: Advisor | None
    captioning_model: Advisor | None
    cancel: CancelToken
    approval: Literal["guard", "human"]
    on_uncertain: Literal["ask", "proceed", "stop"]
    sure_from: float
    perform: Perform
    max_clips: int | None


def build(deps: SurgeryDeps) -> "StateGraph[SurgeryState, None, SurgeryState, SurgeryState]":
    """The loop's graph over `deps`, not yet compiled."""
    nodes = SurgeryNodes(deps)
    graph = StateGraph(SurgeryState)
    for name in ("observe", "recall", "caption", "plan", "validate", "review", "record", "finish"):
        graph.add_node(name, getattr(nodes, name))
    graph.add_edge(START, "observe")
    graph.add_edge("observe", "recall")
    graph.add_edge("caption", "plan")
    graph.add_edge("validate", "review")
    graph.add_edge("finish", END)
    return graph


def initial_state(goal: str) -> SurgeryState:
    """The state before the first clip."""
    return SurgeryState(
        branch=0, step=0, visit=0, goals=[goal] if goal else [], reached=[], refusals=[], status="running", reason="",
        observation={}, decision={}, goal_since=0, past={}, caption="", preference={}, safety={}, approved_by="guard",
        tally=dict(NOTHING_SCORED),
    )  # fmt: skip


class SurgeryNodes:
    """The nodes. Each may be re-run from its start: whatever it does outside the state goes through the journal."""

    def __init__(self, deps: SurgeryDeps) -> None:
        self._d = deps

    def observe(self, state: SurgeryState) -> Update:
        """See the clip that the video stands at."""
        seen = self._d.journal.outside(moment(state), "observed", self._d.theatre.observe)
        preference = Preference().model_dump(mode="json")
        return Update(
            observation=seen, visit=0, preference=preference, caption="", decision={}, safety={}, approved_by="guard"
        )

    def recall(self, state: SurgeryState) -> Command[Literal["caption", "plan", "finish"]]:
        """Read the past from the memory; end where nothing is to be foreseen any more."""
        at = moment(state)
        past = self._d.journal.outside(at, "recalled", lambda: self._d.memory.recall(at.step))
        update = Update(past=past)
        known: SurgeryState = {**state, "past": past}
        if (goal := next(iter(state["goals"]), "")) and self._is_reached(goal, known):
            self._d.journal.derived(at, "reached", {"target": goal}, name=goal)
            return _end({**update, "goals": [], "reached": [goal]}, "succeeded", f"{goal}; {_ended(state)}")
        if goal and self._d.perform == "plan" and self._is_stuck(goal, known):
            latest = ", ".join(self._actions(known)[-4:])
            why = f"nothing was done towards the goal in {STUCK_CLIPS} clips: {goal}"
            return _end(update, "failed", f"{why}; the plans went on with {latest}")
        if state["observation"]["is_last"] or at.step + 1 == self._d.max_clips:
            why = "the video has ended" if state["observation"]["is_last"] else "these were the clips asked for"
            missed = f", and the goal was not reached: {goal}" if goal else ""
            return _end(update, "failed" if goal else "succeeded", f"{why}{missed}; {_ended(state)}")
        return Command(goto="plan" if self._d.captioner == "none" else "caption", update=update)

    def caption(self, state: SurgeryState) -> Update:
        """Describe the clip in words: from its labels, or by a model that looks at its picture."""
        images = _images(state)
        if self._d.captioner == "labels":
            text = caption_of(_clip(state), _truth(state))
        elif images:
            consult = self._consult(state, self._d.captioning_model)
            text = consult.reply("captioner", caption_messages(images, self._d.knowledge), CAPTION)
        else:
            text = ""
        said = self._d.journal.derived(moment(state), "captioned", {"caption": text, "source": self._d.captioner})
        return Update(caption=said["caption"])

    def plan(self, state: SurgeryState) -> Command[Literal["validate", "plan", "record", "finish"]]:
        """Rank what may come next, and say why."""
        steps, choices = self._steps(state), self._choices(state)
        preference = Preference.model_validate(state["preference"])
        if preference.rules_out(choices):
            return self._nothing_left(state, preference, choices)
        goal = next(iter(state["goals"]), "")
        consult = self._consult(state, self._d.planning_model)
        advice = self._d.planner.plan(steps, preference, goal, consult)
        said = self._d.journal.derived(
            moment(state), "planned", advice.model_dump(mode="json"), name=str(state["visit"])
        )
        return Command(goto="validate", update=Update(decision=said))

    def validate(self, state: SurgeryState) -> Update:
        """Note what the rules have against each recommended action; the plan stays as it is."""
        found = review(_advice(state).plan.ranking, past=self._actions(state), truth=_truth(state))
        said = found.model_dump(mode="json")
        self._d.journal.derived(moment(state), "validated", said, name=str(state["visit"]))
        return Update(safety=said)

    def review(self, state: SurgeryState) -> Command[Literal["plan", "record", "finish"]]:
        """Hear the surgeon; where the plan is unsure, ask, proceed or stop as the run says."""
        at, advice, preference = moment(state), _advice(state), Preference.model_validate(state["preference"])
        best = advice.probabilities[advice.first]
        uncertain = best < self._d.sure_from and not advice.is_asked_for
        question = self._question(state, advice, uncertain)
        heard = self._d.ear.converse(at, "review", state["visit"], lambda h: None if is_answer(h) else question)
        change = apply_feedback(preference, next(iter(state["goals"]), ""), advice, heard, self._choices(state))
        review = {"uncertain": uncertain, "probability": best, "heard": [h.words for h in heard]}
        self._d.journal.derived(at, "reviewed", review, name=str(state["visit"]))
        update = _changed(state, change)
        if change.replans:
            return Command(goto="plan", update={**update, "visit": state["visit"] + 1})
        if uncertain and self._d.on_uncertain == "stop" and not is_answer(heard):
            self._learn(state)
            return _end(update, "failed", f"{advice.first} is not sure enough: {best:.0%}")
        by = "human" if advice.is_asked_for or any(h.is_approval for h in heard) else "guard"
        return Command(goto="record", update={**update, "approved_by": by})

    def record(self, state: SurgeryState) -> Command[Literal["observe", "finish"]]:
        """Record the plan with the video, go on to the next clip, and score the plan by what is done there."""
        at, advice = moment(state), _advice(state) if state["decision"] else None
        self._learn(state)
        key = f"{self._d.journal.session_id}/{at.branch}/{at.step}"
        if advice is not None:
            act = Act(tool="record_plan", arguments={"actions": list(advice.plan.ranking)})
            kept = self._d.journal.outside(
                at, "recorded", lambda: self._act(f"{key}/record", act, at.step, state["approved_by"])
            )
            if kept["status"] != "done":
                return _end(Update(), "failed", f"the plan was not recorded: {kept['reason']}")
        instead = self._instead(state, advice)
        arguments = {} if instead is None else {"instead": instead}

        def go_on() -> dict[str, Any]:
            by = state["approved_by"] if instead else "guard"
            outcome = self._act(f"{key}/next", Act(tool="next_clip", arguments=arguments), at.step, by)
            return {**outcome, "action": self._d.theatre.action()}

        came = self._d.journal.outside(at, "advanced", go_on)
        if came["status"] != "done":
            return _end(Update(), "failed", f"the video does not go on: {came['reason']}")
        scored = self._scored(state, advice, came["action"], instead)
        self._d.memory.record(state, self._steps(state)[-1], scored)
        return Command(goto="observe", update=Update(step=at.step + 1, tally=scored["tally"]))

    def finish(self, state: SurgeryState) -> Update:
        """Record how the run ended."""
        self._d.memory.record(state, self._steps(state)[-1], None)
        ended = {"status": state["status"], "reason": state["reason"], "reached": state["reached"]}
        self._d.journal.derived(moment(state), "finished", {**ended, "tally": state["tally"]})
        return Update()

    def _nothing_left(self, state: SurgeryState, preference: Preference, choices: Sequence[Action]) -> Command[Any]:
        """Everything was ruled out: ask what comes next, or go on without a plan."""
        if self._d.on_uncertain != "ask":
            return Command(goto="record", update=Update(decision={}, safety={}))
        question = Question(
            about="exhausted",
            text="You ruled out every action that may follow. Which one comes next?",
            options=("dissect", "coagulate", "stop"),
        )
        advice, goal = _advice(state), next(iter(state["goals"]), "")

        def pending(heard: Sequence[Heard]) -> Question | None:
            change = apply_feedback(preference, goal, advice, heard, choices)
            return question if change.preference.rules_out(choices) else None

        heard = self._d.ear.converse(moment(state), "plan", state["visit"], pending)
        update = _changed(state, apply_feedback(preference, goal, advice, heard, choices))
        return Command(goto="plan", update={**update, "visit": state["visit"] + 1})

    def _question(self, state: SurgeryState, advice: Advice, uncertain: bool) -> Question | None:
        best = f"{advice.first} ({advice.plan.actions[0].rationale})"
        options = ("approve", "reject", "no, it is bleeding, coagulate first")
        notes = SafetyReview.model_validate(state["safety"]).notes
        against = "".join(f" Against it speaks: {note.reason}." for note in notes if note.rank == 1)
        if uncertain and self._d.on_uncertain == "ask":
            text = f"I am not sure what comes next. Is it {best}?{against}"
            return Question(about="uncertain", text=text, options=options)
        if self._d.approval == "human" and not advice.is_asked_for:
            return Question(about="approval", text=f"May I recommend {best}?{against}", options=options)
        return None

    def _learn(self, state: SurgeryState) -> None:
        """Record what the surgeon corrected at this clip, as labelled examples."""
        clip, near = _clip(state), self._steps(state)[len(state["past"]["distant"]) :]
        for said in lessons(Preference.model_validate(state["preference"]), self._choices(state)):
            example = Correction(
                video=clip.video,
                clip=clip.index,
                distant=state["past"]["distant"],
                near=near,
                goal=next(iter(state["goals"]), ""),
                recommended=said.recommended,
                action=said.action,
                denied=said.denied,
                words=said.text,
                author=said.author,
            )
            learned = example.model_dump(mode="json", exclude={"near": {"__all__": {"truth"}}})
            self._d.journal.derived(moment(state), "corrected", learned, name=str(said.message_id))

    def _instead(self, state: SurgeryState, advice: Advice | None) -> Action | None:
        """What the simulator's surgeon performs next, None for whatever the procedure does.

        What nobody asked for is performed only where no rule objects: a guard rejects, it does not ask.
        """
        if advice is None or self._d.perform == "video" or (self._d.perform == "asked" and not advice.is_asked_for):
            return None
        against = [note for note in SafetyReview.model_validate(state["safety"]).notes if note.rank == 1]
        verdict = Verdict(ok=True)
        if against and state["approved_by"] == "guard":
            verdict = Verdict(ok=False, rule=against[0].rule, reason=f"{advice.first}: {against[0].reason}")
        self._d.journal.derived(moment(state), "guarded", verdict.model_dump(mode="json"))
        return advice.first if verdict.ok else None

    def _scored(
        self, state: SurgeryState, advice: Advice | None, came: Action, instead: Action | None
    ) -> dict[str, Any]:
        """How the plan turned out. Counted are plans that the surgeon left alone, and that nobody performed."""
        ranking = advice.plan.ranking if advice else ()
        rank = ranking.index(came) + 1 if came in ranking else None
        preference, tally = Preference.model_validate(state["preference"]), dict(state["tally"])
        is_counted = instead is None and preference.first is None and not preference.denied
        if is_counted:
            tally["n"] += 1
            for k in (1, 2, 3):
                tally[f"top_{k}"] += rank is not None and rank <= k
        found = {"action": came, "rank": rank, "is_counted": is_counted, "tally": tally}
        return self._d.journal.derived(moment(state), "scored", found)

    def _act(self, key: str, act: Act, step: int, by: Literal["guard", "human"]) -> dict[str, Any]:
        outcome = self._d.actuator.act_anew(key, act, step=step, by=by)
        return outcome.model_dump(mode="json", exclude={"key"})

    def _steps(self, state: SurgeryState) -> tuple[Step, ...]:
        """All so far, the present clip last."""
        past = state["past"]
        now = step_of(_clip(state), caption=state["caption"], images=_images(state))
        return (
            *(Step(action=action) for action in past["distant"]),
            *(Step.model_validate(step) for step in past["near"]),
            now.model_copy(update={"truth": _truth(state)}),
        )

    def _is_reached(self, name: str, state: SurgeryState) -> bool:
        goal, truth = read_goal(name), _truth(state)
        is_true = None if truth is None else goal.is_true(truth)
        actions, since = self._actions(state), state["goal_since"]
        return goal.is_reached(actions[:since], actions[since:]) if is_true is None else is_true

    def _is_stuck(self, name: str, state: SurgeryState) -> bool:
        """Whether the last clips brought nothing of the goal."""
        goal, actions, since = read_goal(name), self._actions(state), state["goal_since"]
        recent = actions[since:]
        before = recent[:-STUCK_CLIPS]
        return len(recent) >= STUCK_CLIPS and goal.done(actions[:since], before) == goal.done(actions[:since], recent)

    def _choices(self, state: SurgeryState) -> tuple[Action, ...]:
        """What may follow."""
        return choices_after(self._steps(state), self._d.knowledge)

    def _actions(self, state: SurgeryState) -> tuple[Action, ...]:
        return tuple(step.action for step in self._steps(state))

    def _consult(self, state: SurgeryState, advisor: Advisor | None) -> Consult:
        return Consult(self._d.journal, moment(state), visit=state["visit"], advisor=advisor, cancel=self._d.cancel)


def _end(update: Update, status: Literal["succeeded", "failed"], reason: str) -> Command[Any]:
    return Command(goto="finish", update={**update, "status": status, "reason": reason})


def _changed(state: SurgeryState, change: Change) -> Update:
    """What the surgeon's words make of the state."""
    update = Update(preference=change.preference.model_dump(mode="json"), goals=[change.goal] if change.goal else [])
    if update["goals"] != state["goals"]:
        update["goal_since"] = state["step"] + 1
    return update


def _ended(state: SurgeryState) -> str:
    """How the plans turned out, in a line."""
    tally = state["tally"]
    if not tally["n"]:
        return "no plan was scored"
    hits = ", ".join(f"{tally[f'top_{k}']} among the first {k}" for k in (2, 3))
    return f"of {tally['n']} plans, {tally['top_1']} had the next action first, {hits}"


def _advice(state: SurgeryState) -> Advice:
    return Advice.model_validate(state["decision"])


def _clip(state: SurgeryState) -> Clip:
    return Clip.model_validate(state["observation"]["clip"])


def _truth(state: SurgeryState) -> VisibleState | None:
    truth = state["observation"]["truth"]
    return None if truth is None else VisibleState.model_validate(truth)


def _images(state: SurgeryState) -> tuple[ImageRef, ...]:
    image = state["observation"]["image"]
    return () if image is None else (ImageRef.model_validate(image),)
