"""What an episode was, as rewards see it: plain data, whether it was a session of a loop or a single answer."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from loopwright.schema import Frozen


class Happened(Frozen):
    """One event of the record."""

    kind: str
    payload: dict[str, Any]


class Turn(Frozen):
    """One reply of the model that is trained, and what came of it before its next one.

    `is_exact` says that the reply was in its format to the letter, `n_tokens` counts its end too.
    """

    text: str
    is_exact: bool
    n_tokens: int
    events: tuple[Happened, ...] = ()


class Episode(Frozen):
    """One run. `row` is the line of the data that it was begun with, `opening` what came before the first turn."""

    row: dict[str, Any]
    turns: tuple[Turn, ...]
    opening: tuple[Happened, ...] = ()
    status: str = "succeeded"
    state: dict[str, Any] = Field(default={})


def payloads(events: Sequence[Happened], kind: str) -> list[dict[str, Any]]:
    """Of the events of one kind, oldest first."""
    return [event.payload for event in events if event.kind == kind]


def last_only(episode: Episode, value: float) -> list[float]:
    """A reward for how an episode ended, given to its last turn."""
    return [0.0] * (len(episode.turns) - 1) + [value]
