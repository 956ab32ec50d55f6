"""Recorded sessions as rollouts: what a model was asked, what it said, and what became of it.

The seam for learning from rewards (GRPO): a reward is a pure function of a `Rollout`. Reads the event log alone, so a
session that was recorded last year can be rewarded today; knows no loop and no reward.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from loopwright.schema import Event, Frozen

REPLIED, FINISHED = "replied", "finished"


class Rollout(Frozen):
    """One answer of a model in a session.

    Attributes:
        session_id: of the session; rollouts of one prompt by several sessions are a group.
        branch: counts rewinds.
        step: the perception-action step.
        role: whose question it was, such as `navigator`.
        model: name of the card, or what identifies a model object.
        adapter: role of the card's adapter, None for the base itself.
        seed: of the decoding, None where it is not known.
        prompt: messages as they were sent, `{"role": ..., "content": ...}`; pictures by reference.
        completion: the reply's text.
        is_exact: whether it was in the format at the first attempt, exactly.
        followed: what the session recorded after it, up to the next answer in this role: verdicts, feedback, motions,
            the next observation. What a reward looks at.
        ending: how the branch ended, None where it has not: it was stopped, or rewound.
    """

    session_id: str
    branch: int
    step: int
    role: str
    model: str
    adapter: str | None
    seed: int | None
    prompt: tuple[dict[str, Any], ...]
    completion: str
    is_exact: bool
    followed: tuple[Event, ...]
    ending: Event | None


def rollouts(events: Iterable[Event], role: str | None = None) -> Iterator[Rollout]:
    """Every answer in one session's events (`memory.events.read`), oldest first; those in `role`, where it is named.

    Of answers after which the session was rewound, only what followed before the rewind belongs to them.
    """
    branches: dict[int, list[Event]] = {}
    for event in events:
        branches.setdefault(event.branch, []).append(event)
    for branch in branches.values():
        asked = [i for i, event in enumerate(branch) if event.kind == REPLIED]
        for i in asked:
            who = branch[i].payload["role"]
            if role is None or who == role:
                until = next((k for k in asked if k > i and branch[k].payload["role"] == who), len(branch))
                ending = next((event for event in branch if event.kind == FINISHED), None)
                yield _rollout(branch[i], branch[i + 1 : until], ending)


def _rollout(said: Event, followed: list[Event], ending: Event | None) -> Rollout:
    told = {key: said.payload[key] for key in ("role", "model", "adapter", "seed", "prompt", "is_exact")}
    return Rollout(
        session_id=said.session_id,
        branch=said.branch,
        step=said.step,
        completion=said.payload["reply"],
        followed=tuple(followed),
        ending=ending,
        **told,
    )
