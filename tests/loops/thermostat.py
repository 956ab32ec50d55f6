"""A small loop with everything a loop can have: a world, tools, a role, a guard, a feedback type and a budget."""

from typing import Any

from pydantic import Field

from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role, State
from loopwright.graphs.loop.loop import Loop
from loopwright.schema import Act, Feedback, Frozen, Verdict
from loopwright.tools.contract import Acting, ToolContext, tool
from loopwright.tools.simulated import SimulatedWorld


class Room(SimulatedWorld[dict[str, Any], Act]):
    """A room with a heater; each act takes ten minutes."""

    def initial(self) -> dict[str, Any]:
        """A cold room."""
        return {"room_c": 15.0, "heater_on": False}

    def act(self, state: dict[str, Any], act: Act) -> tuple[dict[str, Any], dict[str, Any]]:
        """Switch the heater and wait."""
        on = act.arguments["on"]
        after = {"heater_on": on, "room_c": state["room_c"] + (1.5 if on else -0.5)}
        return after, after

    def observe(self, state: dict[str, Any]) -> dict[str, Any]:
        """All of it can be seen."""
        return state


class Nothing(Frozen):
    """No arguments."""


class Seen(Frozen):
    """What the thermometer says."""

    room_c: float = Field(description="temperature, degrees C")
    heater_on: bool = Field(description="whether the heater is on")


class Heater(Frozen):
    """A switch."""

    on: bool = Field(description="whether to heat")


@tool(effect="read", timeout_s=5)
def read_room(args: Nothing, context: ToolContext) -> Seen:
    """Read the thermometer."""
    return Seen.model_validate(context.world.state)


@tool(effect="actuate", timeout_s=5, words=lambda heater: f"switch the heater {'on' if heater.on else 'off'}")
def set_heater(args: Heater, context: ToolContext) -> Acting[Seen]:
    """Switch the heater and wait ten minutes."""
    outcome = yield Act(tool="set_heater", arguments=args.model_dump())
    return Seen.model_validate(outcome.result)


class SetTarget(Feedback):
    """Aim at another temperature."""

    patterns = (r"(?:set )?target (?:to )?(?P<target_c>[0-9.]+)",)
    examples = ("target 21",)
    target_c: float = Field(ge=5, le=30)

    def in_words(self) -> str:
        """Its pattern."""
        return f"target {self.target_c:g}"


def observe(state: State, ctx: Context) -> None:
    """Read the thermometer."""
    ctx.observe(read_room)


def review(state: State, ctx: Context) -> None:
    """Hear the human; end where it is warm."""
    for said in ctx.feedback(SetTarget):
        state["target_c"] = said.target_c
    if abs(state["observation"]["room_c"] - state["target_c"]) < 1:
        ctx.end("succeeded", f"it is {state['observation']['room_c']} degrees")


def heat(state: State, ctx: Context) -> None:
    """Switch the heater as the model says."""
    ctx.act(ctx.ask("navigator", f"{state['observation']['room_c']} of {state['target_c']}", tools=[set_heater]))


def fuse(act: Act, state: State) -> Verdict | None:
    """Nothing is done in a room that is too hot."""
    return Verdict(ok=False, rule="fuse", reason="too hot") if state["observation"]["room_c"] > 25 else None


thermostat = Loop(
    "thermostat",
    nodes=[observe, review, heat],
    world=Room,
    tools=[read_room, set_heater],
    state={"target_c": 20.0},
    feedback=[SetTarget],
    guard=fuse,
    roles={"navigator": Role()},
    budget=Budget(steps=30, tokens=50_000),
    summary="heat a room to the temperature that is asked for",
)
