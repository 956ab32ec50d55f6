"""The nodes of the surgery loop: observe -> recall -> caption -> plan -> validate -> review -> record, clip by clip."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from loopwright.agents.sessions.gate import Heard
from loopwright.agents.surgery.advice import (
    ActionPlanner,
    Advice,
    ModelPlanner,
    PolicyPlanner,
    Preference,
    choices_after,
)
from loopwright.agents.surgery.feedback import Correction, Prefer
from loopwright.agents.surgery.formats import CAPTION, caption_of, seen_words
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import Step, step_of
from loopwright.agents.surgery.knowledge import Knowledge
from loopwright.agents.surgery.policies import BayesPolicy, NgramPolicy
from loopwright.agents.surgery.prompts import caption_messages
from loopwright.graphs.loop.acts import WITHDRAWN
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Ending, State, node
from loopwright.graphs.surgery.feedback import apply_feedback, lessons
from loopwright.graphs.surgery.run import CAPTIONER
from loopwright.schema import Act, Verdict
from loopwright.tools.surgery.safety import SafetyReview
from loopwright.tools.surgery.safety import review as check_safety
from loopwright.tools.surgery.statistics import ClipStatistics
from loopwright.tools.surgery.tools import MAX_CLIPS, ShownClip, next_clip, record_plan, show_clip
from loopwright.tools.surgery.vocabulary import Action

STUCK_CLIPS = 60
"""Plans that are performed are given up after so many clips without a step towards the goal: `ngram` reads none."""
MOST_SIMILAR = 50
"""Clips of earlier sessions, in the same situation, whose choices weigh in a plan's order."""
STATE: State = {
    "goal": "",
    "goal_since": 0,
    "past": {"distant": [], "near": []},
    "chosen": {},
    "caption": "",
    "preference": {},
    "decision": {},
    "safety": {},
    "approved_by": "guard",
    "tally": {"n": 0, "top_1": 0, "top_2": 0, "top_3": 0},
}
"""What is aimed at ("": the procedure's usual goal) and since which clip; the past as labels and near `Step`s, and how
often surgeons chose each action in the same situation before; the clip's caption, the surgeon's `Preference`, the
`Advice` ({}: none), its `SafetyReview` and who approved it; how the plans turned out so far."""


def observe(state: State, ctx: Context) -> None:
    """See the clip that the video stands at."""
    ctx.observe(show_clip)
    state.update(preference={}, caption="", decision={}, safety={}, approved_by="guard")


def recall(state: State, ctx: Context) -> None:
    """Read the past from the memory; end where nothing is to be foreseen any more."""
    # the present clip is a near one too, and is not remembered yet
    found = ctx.recall("history", n=ctx.config.near_steps - 1, max_runs=MAX_CLIPS)
    distant = [run["label"] for run in found["earlier"] for _ in range(run["n"])]
    state["past"] = {"distant": distant, "near": [row["detail"]["step"] for row in found["steps"]]}
    if ctx.config.recall_choices:
        alike = ctx.recall("similar", signature=_situation(state, ctx), k=MOST_SIMILAR)
        state["chosen"] = Counter(row["detail"]["chosen"] for row in alike if row["detail"]["chosen"])
    seen, goal = _seen(state), state["goal"]
    if goal and _is_reached(state):
        ctx.computed("reached", {"target": goal})
        _end(state, ctx, "succeeded", goal)
    if goal and ctx.config.perform == "plan" and _is_stuck(state):
        latest = ", ".join(_actions(state)[-4:])
        why = f"nothing was done towards the goal in {STUCK_CLIPS} clips: {goal}"
        _end(state, ctx, "failed", f"{why}; the plans went on with {latest}")
    if seen.is_last or seen.clip + 1 == ctx.config.clips:
        why = "the video has ended" if seen.is_last else "these were the clips asked for"
        missed = f", and the goal was not reached: {goal}" if goal else ""
        _end(state, ctx, "failed" if goal else "succeeded", f"{why}{missed}")


def caption(state: State, ctx: Context) -> None:
    """Describe the clip in words: from its labels, or by a model that looks at its picture."""
    seen, source = _seen(state), ctx.config.captioner
    if ctx.config.near_as != "captions":
        return
    if source == "labels":
        text = caption_of(seen.as_clip(), seen.truth)
    elif seen.image is not None:
        text = ctx.ask(CAPTIONER, caption_messages([seen.image], _knowledge(ctx)), CAPTION)
    else:
        text = ""
    state["caption"] = ctx.computed("captioned", {"caption": text, "source": source})["caption"]


@node(to=("record",))
def plan(state: State, ctx: Context) -> None:
    """Rank what may come next, and say why."""
    choices = _choices(state, ctx)
    if _preference(state).rules_out(choices):
        if ctx.config.on_uncertain != "ask":
            state.update(decision={}, safety={})
            ctx.goto("record")
        _ask_what_is_left(state, ctx, choices)
    advice = _planner(ctx).plan(_steps(state), _preference(state), state["goal"], ctx, state["chosen"])
    state["decision"] = ctx.computed("planned", advice.model_dump(mode="json"))


def validate(state: State, ctx: Context) -> None:
    """Note what the rules have against each recommended action; the plan stays as it is."""
    found = check_safety(_advice(state).plan.ranking, past=_actions(state), truth=_seen(state).truth)
    state["safety"] = ctx.computed("validated", found.model_dump(mode="json"))


@node(to=("plan",))
def review(state: State, ctx: Context) -> None:
    """Hear the surgeon; where the plan is unsure and nobody has to approve it, ask, proceed or stop as the run says."""
    advice, choices = _advice(state), _choices(state, ctx)
    state["approved_by"] = "guard"
    is_changed = _hear(state, ctx.feedback(), choices)
    if not is_changed and _is_unsure(advice, ctx) and ctx.config.approval == "guard":
        if ctx.config.on_uncertain == "stop":
            _learn(state, ctx, choices)
        heard = ctx.unsure(
            f"I am not sure what comes next. Is it {advice.first}? {_reasons(state, advice, ctx)}",
            options=("approve", "reject", *Prefer.examples),
        )
        is_changed = _hear(state, heard, choices)
        if any(one.kind == "approve" for one in heard):
            state["approved_by"] = "human"
    if is_changed:
        ctx.goto("plan")


@node(to=("review",))
def record(state: State, ctx: Context) -> None:
    """Record the plan with the video, go on to the next clip, and score the plan by what is done there."""
    advice = _advice(state) if state["decision"] else None
    if advice is not None:
        kept = ctx.act(record_plan, because=_reasons(state, advice, ctx), actions=list(advice.plan.ranking))
        if kept.rule in ("human", "approval", WITHDRAWN):  # said no, agreed too long ago, or stopped: look again
            ctx.goto("review")
        if not kept.ok:
            ctx.end("failed", f"the plan was not recorded: {kept.reason}")
        if kept.approved_by == "human":
            state["approved_by"] = "human"
    _learn(state, ctx, _choices(state, ctx))
    instead = advice.first if advice is not None and _is_performed(advice, ctx) else None
    came = ctx.act(next_clip, **({"instead": instead} if instead else {}))
    if instead and not came.ok:
        instead, came = None, ctx.act(next_clip)
    if not came.ok:
        ctx.end("failed", f"the video does not go on: {came.reason}")
    state["tally"] = _scored(state, ctx, came.output["action"], instead)["tally"]
    _remember(state, ctx)


def spare_unsafe(act: Act, state: State) -> Verdict | None:
    """What a safety rule objects to is performed only where a human asked for it, or approved it."""
    action = act.arguments.get("instead")
    if act.tool != next_clip.name or action is None or state["approved_by"] == "human":
        return None
    against = [note for note in SafetyReview.model_validate(state["safety"]).notes if note.action == action]
    return Verdict(ok=False, rule=against[0].rule, reason=f"{action}: {against[0].reason}") if against else None


def _ask_what_is_left(state: State, ctx: Context, choices: Sequence[Action]) -> None:
    """The surgeon ruled everything out: ask until something is left."""

    def is_something_left(heard: Sequence[Heard]) -> bool:
        change = apply_feedback(_preference(state), state["goal"], _advice(state), heard, choices)
        return not change.preference.rules_out(choices)

    heard = ctx.ask_human(
        "You ruled out every action that may follow. Which one comes next?",
        options=("dissect", "coagulate", "stop"),
        about="exhausted",
        until=is_something_left,
    )
    _hear(state, heard, choices)


def _hear(state: State, heard: Sequence[Heard], choices: Sequence[Action]) -> bool:
    """Take in what the surgeon said; whether the plan has to be made anew."""
    change = apply_feedback(_preference(state), state["goal"], _advice(state), heard, choices)
    state["preference"] = change.preference.model_dump(mode="json")
    if change.goal != state["goal"]:
        state.update(goal=change.goal, goal_since=_seen(state).clip + 1)
    return change.replans


def _learn(state: State, ctx: Context, choices: Sequence[Action]) -> None:
    """Record what the surgeon corrected at this clip, as labelled examples."""
    seen, past = _seen(state), state["past"]
    for said in lessons(_preference(state), choices):
        example = Correction(
            video=seen.video,
            clip=seen.clip,
            distant=past["distant"],
            near=_steps(state)[len(past["distant"]) :],
            goal=state["goal"],
            recommended=said.recommended,
            action=said.action,
            denied=said.denied,
            words=said.text,
            author=said.author,
        )
        ctx.computed("corrected", example.model_dump(mode="json", exclude={"near": {"__all__": {"truth"}}}))


def _scored(state: State, ctx: Context, came: Action, instead: Action | None) -> dict[str, Any]:
    """How the plan turned out. Counted are plans that the surgeon left alone, and that nobody performed."""
    ranking = _advice(state).plan.ranking if state["decision"] else ()
    rank = ranking.index(came) + 1 if came in ranking else None
    preference, tally = _preference(state), dict(state["tally"])
    is_counted = instead is None and preference.first is None and not preference.denied
    if is_counted:
        tally["n"] += 1
        for k in (1, 2, 3):
            tally[f"top_{k}"] += rank is not None and rank <= k
    return ctx.computed("scored", {"action": came, "rank": rank, "is_counted": is_counted, "tally": tally})


def _remember(state: State, ctx: Context) -> None:
    """Keep the clip, and what the surgeon approved or named to follow it."""
    now, is_chosen = _steps(state)[-1], state["decision"] and state["approved_by"] == "human"
    detail = {
        "step": now.model_dump(mode="json", exclude={"truth"}),
        "chosen": _advice(state).first if is_chosen else None,
    }
    ctx.remember(label=now.action, signature=_situation(state, ctx), detail=detail)


def _situation(state: State, ctx: Context) -> str:
    """What clips of any video have to share so that a surgeon's choice at the one says something of the other."""
    truth, actions = _seen(state).truth, _actions(state)
    shared = [actions[-1], seen_words(truth)] if truth is not None else actions[-2:]
    return "; ".join((ctx.prepared["knowledge"]["name"], *shared))


def _end(state: State, ctx: Context, status: Ending, why: str) -> None:
    """Remember the last clip, and tell how the plans turned out."""
    tally = state["tally"]
    hits = ", ".join(f"{tally[f'top_{k}']} among the first {k}" for k in (2, 3))
    scores = f"of {tally['n']} plans, {tally['top_1']} had the next action first, {hits}"
    _remember(state, ctx)
    ctx.end(status, f"{why}; {scores if tally['n'] else 'no plan was scored'}")


def _planner(ctx: Context) -> ActionPlanner:
    knowledge = _knowledge(ctx)
    match ctx.config.planner:
        case "ngram":
            statistics = ClipStatistics.model_validate(ctx.prepared["statistics"])
            return PolicyPlanner(NgramPolicy(statistics, choices=knowledge.choices), "ngram", knowledge)
        case "bayes":
            return PolicyPlanner(BayesPolicy(choices=knowledge.choices), "bayes", knowledge)
        case _:
            return ModelPlanner(ctx.config.view, knowledge)


def _is_unsure(advice: Advice, ctx: Context) -> bool:
    return advice.probabilities[advice.first] < ctx.config.sure_from and not advice.is_asked_for


def _is_performed(advice: Advice, ctx: Context) -> bool:
    """Whether the simulator's surgeon is to do what the plan has first."""
    return ctx.config.perform == "plan" or (ctx.config.perform == "asked" and advice.is_asked_for)


def _reasons(state: State, advice: Advice, ctx: Context) -> str:
    """What speaks for the first action, and against it."""
    notes = [note for note in SafetyReview.model_validate(state["safety"]).notes if note.rank == 1]
    doubt = f" It is not sure: {advice.probabilities[advice.first]:.0%}." if _is_unsure(advice, ctx) else ""
    return advice.plan.actions[0].rationale + doubt + "".join(f" Against it speaks: {note.reason}." for note in notes)


def _is_reached(state: State) -> bool:
    goal, truth = read_goal(state["goal"]), _seen(state).truth
    is_true = None if truth is None else goal.is_true(truth)
    actions, since = _actions(state), state["goal_since"]
    return goal.is_reached(actions[:since], actions[since:]) if is_true is None else is_true


def _is_stuck(state: State) -> bool:
    """Whether the last clips brought nothing of the goal."""
    goal, actions, since = read_goal(state["goal"]), _actions(state), state["goal_since"]
    recent = actions[since:]
    before = recent[:-STUCK_CLIPS]
    return len(recent) >= STUCK_CLIPS and goal.done(actions[:since], before) == goal.done(actions[:since], recent)


def _steps(state: State) -> tuple[Step, ...]:
    """All so far, the present clip last."""
    past, seen = state["past"], _seen(state)
    images = () if seen.image is None else (seen.image,)
    now = step_of(seen.as_clip(), caption=state["caption"], images=images)
    return (
        *(Step(action=action) for action in past["distant"]),
        *(Step.model_validate(step) for step in past["near"]),
        now.model_copy(update={"truth": seen.truth}),
    )


def _actions(state: State) -> tuple[Action, ...]:
    return tuple(step.action for step in _steps(state))


def _choices(state: State, ctx: Context) -> tuple[Action, ...]:
    """What may follow."""
    return choices_after(_steps(state), _knowledge(ctx))


def _knowledge(ctx: Context) -> Knowledge:
    return Knowledge.model_validate(ctx.prepared["knowledge"])


def _seen(state: State) -> ShownClip:
    return ShownClip.model_validate(state["observation"])


def _advice(state: State) -> Advice:
    return Advice.model_validate(state["decision"])


def _preference(state: State) -> Preference:
    return Preference.model_validate(state["preference"])
