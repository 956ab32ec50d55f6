"""The thermostat with a picture: a gauge that can be pointed at. What a loop adds for the console, and no more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from pydantic import Field
from tests.loops.thermostat import Nothing, Room, Seen, SetTarget, heat, review, set_heater, thermostat

from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.step_view import Picture, Pointed, StepView
from loopwright.graphs.steps import SessionStep
from loopwright.schema import ImageRef
from loopwright.tools.contract import ToolContext, tool

WIDTH, HEIGHT = 300, 200
PX_PER_C = 10


class Shown(Seen):
    """What the gauge shows."""

    image: ImageRef


@tool(effect="read", timeout_s=5)
def read_gauge(args: Nothing, context: ToolContext) -> Shown:
    """Photograph the gauge."""
    room_c = context.world.state["room_c"]
    picture = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    picture[80:120, : round(room_c * PX_PER_C)] = (210, 90, 60)
    return Shown(**context.world.state, image=context.keep(picture))


class GaugeRun(RunConfig):
    """A run of the gauge."""

    room: str = Field(default="", description="what the room is called")


def look(state: State, ctx: Context) -> None:
    """Look at the gauge."""
    ctx.observe(read_gauge)


def show(config: GaugeRun, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """The gauge with a mark where it stands."""
    assert step.seen is not None
    u = step.seen["room_c"] * PX_PER_C
    svg = Markup('<line class="arrow" x1="{0}" y1="60" x2="{0}" y2="140"/>').format(u)
    return StepView((Picture(ImageRef.model_validate(step.seen["image"]), "The gauge", svg),))


def pointed(config: GaugeRun, prepared: Mapping[str, Any], step: SessionStep, at: Pointed) -> list[str]:
    """The temperature at that place."""
    return [f"target {(at.to_px or at.at_px)[0] / PX_PER_C:.1f}"]


gauge = Loop(
    "gauge",
    nodes=[look, review, heat],
    world=Room,
    tools=[read_gauge, set_heater],
    state=thermostat.state,
    feedback=[SetTarget],
    roles=thermostat.roles,
    config=GaugeRun,
    show=show,
    pointed=pointed,
    summary="heat a room, with a gauge to look at",
)


def ask_left(state: State, ctx: Context) -> None:
    """Ask about the left window."""
    state["left"] = ctx.ask_human("Shall the left window be open?", options=("approve", "reject"))[-1].kind


def ask_right(state: State, ctx: Context) -> None:
    """Ask about the right window."""
    state["right"] = ctx.ask_human("Shall the right window be open?", options=("approve", "reject"))[-1].kind


def say_both(state: State, ctx: Context) -> None:
    """End with what was said."""
    ctx.end("succeeded", f"left {state['left']}, right {state['right']}")


windows = Loop(
    "windows",
    nodes=[look, (ask_left, ask_right), say_both],
    world=Room,
    tools=[read_gauge],
    state={"left": "", "right": ""},
    summary="ask two questions at once",
)


def show_strip(config: RunConfig, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """A film strip: what was seen, what was imagined, what came."""
    assert step.seen is not None
    image = ImageRef.model_validate(step.seen["image"])
    pictures = tuple(Picture(image, title) for title in ("seen", "imagined", "came"))
    return StepView(pictures, Markup("<h3>Imagined</h3><p>0.9 m to the car in front</p>"))


strip = gauge.varied(name="strip", show=show_strip, pointed=None)
