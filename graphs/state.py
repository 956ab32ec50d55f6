"""What every loop's state holds, and how a run of a loop is described and opened.

State is plain JSON: references, numbers and words, never pixels (rule 1). Each loop adds its own keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from loopwright.agents.journal import Journal, Moment
from loopwright.agents.session import Runtime
from loopwright.graphs.report import Section
from loopwright.memory import Memory
from loopwright.schema import CancelToken, Event, ImageRef

Update = dict[str, Any]
"""What a node changes of the state."""


class LoopState(TypedDict):
    """Common to all loops. `status` is set once, by the node that ends the run; `reason` says why."""

    branch: int
    step: int
    visit: int
    goals: list[str]
    reached: list[str]
    observation: dict[str, Any]
    decision: dict[str, Any]
    refusals: list[str]
    status: Literal["running", "succeeded", "failed"]
    reason: str


def moment(state: LoopState) -> Moment:
    """Where this state stands."""
    return Moment(state["branch"], state["step"])


class RunConfig(BaseModel):
    """What a user sets for one run; the command line and the web form are made from its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approval: Literal["guard", "human"] = Field(default="guard", description="who approves what the guard lets pass")
    on_uncertain: Literal["ask", "proceed", "stop"] = Field(
        default="proceed", description="what to do when the loop is not sure enough"
    )


class Opening(NamedTuple):
    """What a loop needs to be opened for one session."""

    memory: Memory
    session_id: str
    journal: Journal
    cancel: CancelToken
    device_dir: Path


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One registered loop: its name, its configuration, and how a session of it is opened.

    `prepare` validates a configuration against the real inputs and returns the JSON that the session keeps, so that a
    resumed session runs with the limits it began with. `open` turns that JSON into a runtime. `parse` understands the
    loop's feedback words. `redraw` turns the kept JSON into a function from an observation to its picture, drawn anew.
    `sections` are the loop's own parts of the HTML report.
    """

    name: str
    summary: str
    config: type[RunConfig]
    prepare: Callable[[RunConfig], dict[str, Any]]
    open: Callable[[dict[str, Any], Opening], Runtime]
    parse: Callable[[str], BaseModel]
    redraw: Callable[[dict[str, Any]], Callable[[dict[str, Any]], NDArray[np.uint8]]]
    sections: Callable[[dict[str, Any], Sequence[Event], Callable[[ImageRef], bytes]], Sequence[Section]]
