"""What is recommended to a surgeon: three actions in the order of their odds, with reasons; and what a surgeon wishes.

The order is that of a policy's or a model's probabilities. Only the surgeon changes it: an action that was named comes
first, those ruled out come last. Without a model the reasons are written by code. Knows no loop.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from pydantic import Field

from loopwright.agents.asker import Asker
from loopwright.agents.plain import plainly
from loopwright.agents.role import SAID_SHARE
from loopwright.agents.surgery.formats import ASSESSMENT_CHARS, N_RANKS, RATIONALE_CHARS, Plan, RankedAction, plan_form
from loopwright.agents.surgery.history import MemorySettings, Step, view
from loopwright.agents.surgery.knowledge import Knowledge
from loopwright.agents.surgery.policies import Policy, admissible, following, next_action_question
from loopwright.agents.surgery.prompts import plan_messages
from loopwright.schema import Frozen
from loopwright.tools.surgery.procedure import DUCT_CLIPPED, PROGRESS
from loopwright.tools.surgery.vocabulary import Action

PlannerName = Literal["ngram", "bayes", "model"]
PLANNER = "planner"
"""The role that a model plays here."""

_ODDS = {"ngram": "so often after such a past", "bayes": "exact odds at this sight"}
PRIOR = 4.0
"""Earlier choices of surgeons that a policy's own odds weigh as much as."""
_N_VESSELS = 2
"""To be clipped: artery and duct."""
_BLEEDING = {
    "oozing": "It oozes: seal the source before going on.",
    "pooling": "Blood pools: clear the view, then seal the source.",
}


class Said(Frozen):
    """One message about the next action: what it says by itself, and what was recommended when it was heard."""

    message_id: int
    author: str
    text: str
    recommended: tuple[Action, ...] = Field(min_length=1, description="best first")
    action: Action | None = Field(default=None, description="what comes next; None where none was named")
    denied: tuple[Action, ...] = ()


class Preference(Frozen):
    """What the surgeon said since the clip was seen: what came of it, and each message."""

    first: Action | None = None
    denied: tuple[Action, ...] = ()
    words: str = ""
    said: tuple[Said, ...] = Field(default=(), description="oldest first")

    @property
    def words_for_first(self) -> str:
        """The message that named `first`."""
        return next((said.text for said in reversed(self.said) if said.action == self.first is not None), "")

    def rules_out(self, choices: Sequence[Action]) -> bool:
        """Whether nothing is left to recommend."""
        return self.first is None and set(choices) <= set(self.denied)


class Advice(Frozen):
    """A plan, how probable each action was taken to be before the surgeon's preference, and who planned."""

    plan: Plan
    probabilities: dict[Action, float]
    source: PlannerName
    is_asked_for: bool = False
    """Whether the surgeon named the first action."""

    @property
    def first(self) -> Action:
        """What is recommended."""
        return self.plan.ranking[0]


Chosen = Mapping[Action, int]
NOTHING_CHOSEN: Chosen = {}


class ActionPlanner(Protocol):
    """Plans what comes next."""

    def plan(
        self, steps: Sequence[Step], preference: Preference, goal: str, asker: Asker, chosen: Chosen = NOTHING_CHOSEN
    ) -> Advice:
        """Recommend three actions after `steps`, of which there is one at least.

        Args:
            steps: all so far, oldest first.
            preference: the surgeon's; it leaves something to recommend.
            goal: what is aimed at, in plain language; "" for the procedure's usual goal.
            asker: how to ask the role `planner`, for those who do.
            chosen: how often surgeons chose each action before in the same situation.
        """
        ...


class PolicyPlanner:
    """Ranks by a policy; the reasons are written by code from the odds and what is known of the procedure."""

    def __init__(self, policy: Policy, source: PlannerName, knowledge: Knowledge) -> None:
        self._policy, self._knowledge = policy, knowledge
        self._source: PlannerName = source

    def plan(
        self, steps: Sequence[Step], preference: Preference, goal: str, asker: Asker, chosen: Chosen = NOTHING_CHOSEN
    ) -> Advice:
        """See `ActionPlanner`."""
        alone = self._policy.next_action(steps, goal=goal, words=preference.words)
        odds = weighed(alone, chosen)
        best, second, third = (
            RankedAction(
                action=action, rationale=plainly(self._why(action, alone, preference, chosen), RATIONALE_CHARS)
            )
            for action in ranked(odds, preference)[:N_RANKS]
        )
        plan = Plan(
            progress=plainly(_progress(steps), ASSESSMENT_CHARS),
            safety=plainly(_safety(steps, self._knowledge), ASSESSMENT_CHARS),
            actions=(best, second, third),
        )
        return Advice(plan=plan, probabilities=odds, source=self._source, is_asked_for=preference.first is not None)

    def _why(self, action: Action, alone: Mapping[Action, float], preference: Preference, chosen: Chosen) -> str:
        if action == preference.first:
            return f"The surgeon asks for it: {preference.words_for_first}"
        if action in preference.denied:
            return f"Ruled out by the surgeon as the next one: {preference.words}"
        share = f"{round(100 * alone[action])} in 100"
        if n := sum(chosen.values()):
            share = f"chosen {chosen.get(action, 0)} of {n} times here, else {share}"
        else:
            share = f"{share}, {_ODDS[self._source]}"
        return f"{self._knowledge.actions[action].rstrip('.').capitalize()} ({share})."


class ModelPlanner:
    """Ranks by a model's scores; then the model gives its reasons for the ranking as it stands.

    A model that cannot score is asked for a plan at once, whose order is taken; what the surgeon prefers moves in it.
    """

    def __init__(self, memory: MemorySettings, knowledge: Knowledge) -> None:
        self._memory, self._knowledge = memory, knowledge

    def plan(
        self, steps: Sequence[Step], preference: Preference, goal: str, asker: Asker, chosen: Chosen = NOTHING_CHOSEN
    ) -> Advice:
        """See `ActionPlanner`.

        Raises:
            OperatorError, Stopped, Paused: as `loopwright.agents.role.ask`.
        """
        asked = next_action_question(steps, self._memory, self._knowledge, goal=goal, words=preference.words)
        messages = plan_messages(view(steps, self._memory), self._knowledge, goal=goal, words=preference.words)
        if asker.can_score(PLANNER):
            scores = asker.score(PLANNER, asked.messages, asked.choices, asked.answer)
            scored: dict[Action, float] = {action: scores[action] for action in asked.choices}
            odds = weighed(following(scored, steps), chosen)
            plan = asker.ask(PLANNER, messages, plan_form(ranked(odds, preference), in_order=True))
        else:
            said = asker.ask(PLANNER, messages, plan_form(asked.choices))
            odds = weighed(_said_odds(said.ranking, admissible(steps, asked.choices)), chosen)
            plan = _rearranged(said, ranked(odds, preference), preference)
        return Advice(plan=plan, probabilities=odds, source="model", is_asked_for=preference.first is not None)


def ranked(odds: Mapping[Action, float], preference: Preference) -> tuple[Action, ...]:
    """The actions of `odds`: the one that is asked for, those by their odds, those ruled out by theirs."""
    return tuple(
        sorted(odds, key=lambda action: (action != preference.first, action in preference.denied, -odds[action]))
    )


def weighed(odds: Mapping[Action, float], chosen: Chosen) -> dict[Action, float]:
    """`odds` after what surgeons chose in the same situation: the mean of a Dirichlet posterior, `PRIOR` strong."""
    counts = {action: chosen.get(action, 0) for action in odds}
    total = PRIOR + sum(counts.values())
    return {action: (PRIOR * p + counts[action]) / total for action, p in odds.items()}


def _said_odds(ranking: Sequence[Action], choices: Sequence[Action]) -> dict[Action, float]:
    """What is made of a ranking without scores, in its order: the first is as probable as any that a model names."""
    order = sorted(choices, key=lambda action: ranking.index(action) if action in ranking else len(ranking))
    rest = (1 - SAID_SHARE) / (len(order) - 1)
    return {action: SAID_SHARE if action == order[0] else rest for action in order}


def _rearranged(said: Plan, ranking: Sequence[Action], preference: Preference) -> Plan:
    """A plan in another order; a reason that is missing is the surgeon's, if anybody's."""
    known = {item.action: item for item in said.actions}
    told = f"; the surgeon says: {preference.words}" if preference.words else "."
    missing = plainly(f"The model did not name it{told}", RATIONALE_CHARS)
    first, second, third = (
        known.get(action) or RankedAction(action=action, rationale=missing) for action in ranking[:N_RANKS]
    )
    return said.model_copy(update={"actions": (first, second, third)})


def choices_after(steps: Sequence[Step], knowledge: Knowledge) -> tuple[Action, ...]:
    """The actions of the procedure that may follow."""
    return admissible(steps, knowledge.choices)


def _progress(steps: Sequence[Step]) -> str:
    last = steps[-1]
    clippings = sum(step.action == "Vessel Clipping" for step in steps)
    clipped = {0: "nothing clipped yet", 1: "clipped once"}.get(clippings, f"clipped {clippings} times")
    seen = f"{PROGRESS[last.truth.progress].capitalize()}; " if last.truth else ""
    count = "1 clip" if len(steps) == 1 else f"{len(steps)} clips"
    return f"{seen}{count} so far, the last one {last.action}, {clipped}."


def _safety(steps: Sequence[Step], knowledge: Knowledge) -> str:
    """What bleeds, or the first of the rules that still applies: none about clipping once both vessels are clipped."""
    truth = steps[-1].truth
    if truth is not None and truth.bleeding != "none":
        return _BLEEDING[truth.bleeding]
    n_clipped = sum(step.action == "Vessel Clipping" for step in steps)
    is_clipped = n_clipped >= _N_VESSELS if truth is None else truth.progress >= DUCT_CLIPPED
    rules = [f"{rule.rstrip('.')}." for rule in knowledge.safety.split(". ")]
    return next((rule for rule in rules if not (is_clipped and rule.startswith("Clip"))), rules[0])
