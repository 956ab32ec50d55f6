"""Loops for tests that use what the thermostat leaves out: nodes at once, `ctx.map`, acts without consent, nesting."""

from typing import Any

from pydantic import Field
from tests.loops.thermostat import Nothing, Room, SetTarget, set_heater, thermostat

from loopwright.graphs.loop.config import Budget, RunConfig
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role, State, node
from loopwright.graphs.loop.loop import Loop
from loopwright.schema import Act, Frozen, Verdict
from loopwright.tools.contract import Acting, ToolContext, tool


class Kiln(Room):
    """A room that counts how often it was photographed, and has a guard of its own."""

    counters = ("photos",)

    def initial(self) -> dict[str, Any]:
        """A cold kiln."""
        return {**super().initial(), "photos": 0}

    def act(self, state: dict[str, Any], act: Act) -> tuple[dict[str, Any], dict[str, Any]]:
        """Switch the heater, or take a photo."""
        if act.tool == "photograph":
            after = {**state, "photos": state["photos"] + 1}
            return after, after
        after, told = super().act(state, act)
        return {**state, **after}, told

    def check(self, act: Act) -> Verdict:
        """Not warmer than 28 degrees."""
        too_warm = act.arguments.get("on", False) and self.state["room_c"] > 28
        return Verdict(ok=not too_warm, rule="kiln", reason="the kiln is warm enough" if too_warm else "")

    def spent(self) -> dict[str, float]:
        """How many photos were taken."""
        return {"photos": self.state["photos"]}


class Photo(Frozen):
    """What a photo shows."""

    room_c: float = Field(description="temperature, degrees C")
    photos: int = Field(ge=0, description="number of photos so far")


@tool(effect="actuate", timeout_s=5, consent="guard", words=lambda _: "take a photo")
def photograph(args: Nothing, context: ToolContext) -> Acting[Photo]:
    """Take a photo of the kiln."""
    outcome = yield Act(tool="photograph")
    return Photo(room_c=outcome.result["room_c"], photos=outcome.result["photos"])


class KilnConfig(RunConfig):
    """A run of the kiln."""

    marks: tuple[str, ...] = Field(default=("low", "high"), description="what the thermometer's marks are called")


def look(state: State, ctx: Context) -> None:
    """Take a photo."""
    ctx.observe(photograph)


def guess(state: State, ctx: Context) -> None:
    """Ask for each mark at once."""
    marks = ctx.map(
        lambda mark, item: item.ask("marker", f"{mark} at {state['observation']['room_c']}"), ctx.config.marks
    )
    state["marks"] = ctx.computed("marked", {"marks": marks})["marks"]


def dream(state: State, ctx: Context) -> None:
    """Throw a die, which decides nothing."""
    ctx.computed("dreamt", {"at": ctx.now().isoformat(), "die": ctx.random().randint(1, 6)})
    state["dreams"] += 1


@node(to=("look",))
def decide(state: State, ctx: Context) -> None:
    """Heat until it is warm."""
    for said in ctx.feedback(SetTarget):
        state["target_c"] = said.target_c
    if state["observation"]["room_c"] >= state["target_c"]:
        ctx.end("succeeded", f"{state['observation']['room_c']:g} degrees after {state['dreams']} dreams")
    call = ctx.ask("navigator", f"{state['observation']['room_c']} of {state['target_c']}", tools=[set_heater])
    state["told"] = ctx.act(call, because="it is cold").text
    ctx.remember(label="heated", signature="cold", detail={"told": state["told"]})
    ctx.goto("look")


kiln = Loop(
    "kiln",
    nodes=[look, (guess, dream), decide],
    world=Kiln,
    tools=[photograph, set_heater],
    state={"target_c": 15.5, "marks": [], "dreams": 0, "told": ""},
    feedback=[SetTarget],
    roles={"navigator": Role(), "marker": Role()},
    config=KilnConfig,
    budget=Budget(steps=20, world={"photos": 15}),
)


def count(state: State, ctx: Context) -> None:
    """Say which round it is."""
    state["round"] += 1


def after(state: State, ctx: Context) -> None:
    """Twice is enough."""
    if state["round"] == 2:
        ctx.end("succeeded", str(state["warm"]["reason"]))
    state["target_c"] += 0.5


nested = Loop(
    "nested",
    nodes=[count, thermostat.varied(name="warm"), after],
    state={"round": 0, "target_c": 16.5},
)
