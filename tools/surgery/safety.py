"""Safety rules of the cholecystectomy as code: they annotate recommended actions, and never drop or reorder one.

Most rules need to know what is truly visible, as the simulator does; of a recorded video they are told to be unchecked
rather than passed. After the critical view of safety (Strasberg et al. 1995): nothing is clipped before duct and artery
are both seen. Knows no planner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import Field

from loopwright.schema import Frozen
from loopwright.tools.surgery.procedure import DETACHED, DUCT_CLIPPED, EXPOSED, PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import Action

Evidence = TypeVar("Evidence")


class SafetyNote(Frozen):
    """What a rule says against a recommended action."""

    rank: int = Field(ge=1, description="of the action in the plan")
    action: Action
    rule: str
    reason: str


class SafetyReview(Frozen):
    """What the rules say of a plan, which stays as it is."""

    notes: tuple[SafetyNote, ...] = Field(default=(), description="by rank")
    unchecked: tuple[str, ...] = Field(default=(), description="rules about the plan's actions that lack the truth")


@dataclass(frozen=True, kw_only=True)
class _Rule(Generic[Evidence]):
    """Against `actions`, wherever `objects` says so of the evidence."""

    name: str
    actions: tuple[Action, ...]
    objects: Callable[[Evidence], bool]
    reason: str

    def note(self, rank: int, action: Action, evidence: Evidence, shown: str) -> list[SafetyNote]:
        """One note, or none."""
        if action not in self.actions or not self.objects(evidence):
            return []
        return [SafetyNote(rank=rank, action=action, rule=self.name, reason=f"{self.reason} ({shown})")]


_OF_THE_PAST: tuple[_Rule[Sequence[Action]], ...] = (
    _Rule(
        name="undissected",
        actions=("Vessel Clipping",),
        objects=lambda past: "Dissection" not in past,
        reason="nothing was dissected before",
    ),
)
_OF_THE_SIGHT: tuple[_Rule[VisibleState], ...] = (
    _Rule(
        name="unseen vessels",
        actions=("Vessel Clipping",),
        objects=lambda state: state.progress < EXPOSED,
        reason="duct and artery are not both seen",
    ),
    _Rule(
        name="clipped already",
        actions=("Vessel Clipping",),
        objects=lambda state: state.progress >= DUCT_CLIPPED,
        reason="artery and duct are clipped",
    ),
    _Rule(
        name="bleeding",
        actions=("Dissection", "Vessel Clipping"),
        objects=lambda state: state.bleeding != "none",
        reason="bleeding is to be controlled first",
    ),
    _Rule(
        name="hidden source",
        actions=("Coagulation",),
        objects=lambda state: state.bleeding == "pooling",
        reason="pooling blood hides what bleeds, and is to be aspirated first",
    ),
    _Rule(
        name="detached already",
        actions=("Dissection",),
        objects=lambda state: state.progress == DETACHED,
        reason="the gallbladder is off the liver",
    ),
)


def review(actions: Sequence[Action], *, past: Sequence[Action], truth: VisibleState | None = None) -> SafetyReview:
    """Check each of `actions` as the one that comes next.

    Args:
        actions: of a plan, best first.
        past: every action so far, oldest first.
        truth: what is truly visible now; None where nobody knows.
    """
    notes: list[SafetyNote] = []
    for rank, action in enumerate(actions, start=1):
        notes += [note for rule in _OF_THE_PAST for note in rule.note(rank, action, past, f"after {len(past)} clips")]
        if truth is not None:
            shown = f"{PROGRESS[truth.progress]}, bleeding {truth.bleeding}"
            notes += [note for rule in _OF_THE_SIGHT for note in rule.note(rank, action, truth, shown)]
    concern = [rule.name for rule in _OF_THE_SIGHT if set(rule.actions) & set(actions)]
    return SafetyReview(notes=tuple(notes), unchecked=tuple(concern) if truth is None else ())
