"""A session's event log read back as steps: one observation, and all that was seen, said, planned and done about it.

A step is a (branch, step). After a rewind or in a fork the first step has no observation of its own: it begins with
that of the step that it went back to, or of its parent. Knows no loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from loopwright.schema import Event


@dataclass(kw_only=True)
class SessionStep:
    """One step; `seen` is the output of the tool by which it was first observed.

    `is_left_behind`: a rewind went back before it, or gave its observation another continuation.
    """

    branch: int
    step: int
    events: list[Event] = field(default_factory=list)
    seen: dict[str, Any] | None = None
    origin: Literal["taken", "rewound", "forked"] = "taken"
    is_left_behind: bool = False

    @property
    def name(self) -> str:
        """'3', or '1:3' for step 3 of the first branch."""
        return f"{self.branch}:{self.step}" if self.branch else str(self.step)


R = TypeVar("R", bound=SessionStep)


def read_steps_as(kind: type[R], events: Sequence[Event]) -> list[R]:
    """The steps of a session in the order in which they began, each of the loop's own `kind`."""
    steps: dict[tuple[int, int], R] = {}
    newest: dict[int, R] = {}  # step to the branch of it on which the loop last stood
    came_from: dict[int, R] = {}  # branch to the step whose observation it began with
    for event in events:
        at = steps.setdefault((event.branch, event.step), kind(branch=event.branch, step=event.step))
        at.events.append(event)
        match event.kind:
            case "observed" if at.seen is None:
                at.seen = event.payload.get("output")  # None: looking was refused
            case "forked":
                at.seen, at.origin = event.payload["state"].get("observation"), "forked"
            case "rewound" if event.step in newest and newest[event.step].branch < event.branch:
                came_from[event.branch] = newest[event.step]
                at.seen, at.origin = newest[event.step].seen, "rewound"
        if event.key is not None or event.kind in ("forked", "rewound"):
            newest[at.step] = at
    _mark_left_behind(list(steps.values()), came_from)
    return list(steps.values())


def _mark_left_behind(steps: Sequence[SessionStep], came_from: Mapping[int, SessionStep]) -> None:
    """Everything but the line that leads to the newest branch."""
    branch, limit = max((r.branch for r in steps), default=0), float("inf")
    line: dict[int, float] = {}  # branch to the step before which its steps belong to the line
    while True:
        line[branch] = limit
        if branch not in came_from:
            break
        source = came_from[branch]
        branch, limit = source.branch, source.step
    for one in steps:
        one.is_left_behind = one.step >= line.get(one.branch, 0)
