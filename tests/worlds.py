"""A whole world of the kind that a user writes: a room with a heater."""

from typing import Any

from pydantic import Field

from loopwright.errors import ToolRefused, UnknownName
from loopwright.schema import Act, Frozen
from loopwright.tools.device import State
from loopwright.tools.simulated import SimulatedWorld


class SetHeater(Frozen):
    """Arguments of `set_heater`."""

    on: bool = Field(description="whether the heater is to heat")


class Room(SimulatedWorld[State, Act]):
    """A room that is 2 degrees warmer after each act that leaves its heater on, and 1 degree colder after others."""

    def initial(self) -> State:
        return {"room_c": 15.0, "heater_on": False}

    def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
        if act.tool != "set_heater":
            raise UnknownName("act", act.tool, ["set_heater"])
        on = SetHeater.model_validate(act.arguments).on
        if on and state["room_c"] > 30.0:
            raise ToolRefused(f"too warm: the room has {state['room_c']:g} degrees, the heater heats up to 30.")
        after = {"room_c": state["room_c"] + (2.0 if on else -1.0), "heater_on": on}
        return after, after

    def observe(self, state: State) -> State:
        return state
