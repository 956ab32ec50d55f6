"""What the schema of a tool may be: closed, bounded, every number with its unit; refused when the tool is defined."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from loopwright.errors import DeveloperError
from loopwright.schema import Frozen
from loopwright.tools.contract import ToolContext, tool


class Side(Frozen):
    left_mm: float = Field(default=0.0, ge=-100, le=100, description="to the left, mm")


class Place(Frozen):
    x_mm: float = Field(description="where it stands, mm")


def defining(given: type[BaseModel], returned: type[BaseModel] = Place) -> None:
    def define(args: Any, context: ToolContext) -> Any:
        """Do it."""

    define.__annotations__ = {"args": given, "context": ToolContext, "return": returned}
    tool(effect="read", timeout_s=1)(define)


class NoUnit(Frozen):
    depth: float = Field(description="how deep the patient's bone is")


class NoDescription(Frozen):
    depth_mm: float


class NestedNoUnit(Frozen):
    inner: list[NoUnit] = Field(max_length=3, description="mm")


class OptionalNoUnit(Frozen):
    depth: float | None = Field(description="how deep")


class LongString(Frozen):
    text: str


class LongPattern(Frozen):
    text: str = Field(pattern="^a+$")


class LongList(Frozen):
    sides: list[Side]


class AnyField(Frozen):
    values: dict[str, int] = Field(description="count")


class Anything(Frozen):
    value: Any


class Endless(Frozen):
    inner: "Endless | None" = None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (NoUnit, r"`NoUnit.depth` is a number whose description .* states no unit"),
        (NoDescription, r"`NoDescription.depth_mm` is a number"),
        (NestedNoUnit, r"`NestedNoUnit.inner.depth` is a number"),
        (OptionalNoUnit, r"`OptionalNoUnit.depth` is a number"),
        (LongString, r"`LongString.text` is a string without `max_length`"),
        (LongPattern, r"`LongPattern.text` is a string without"),
        (LongList, r"`LongList.sides` is a list without `max_length`"),
        (AnyField, r"`AnyField.values` takes any field"),
        (Anything, r"`Anything.value` takes anything"),
        (Endless, r"`Endless` contains itself"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_cannot_be_constrained_is_refused_when_defined(model: type[BaseModel], message: str) -> None:
    with pytest.raises(DeveloperError, match=message):
        defining(model)
    with pytest.raises(DeveloperError, match=message):
        defining(Side, model)


@pytest.mark.parametrize(
    "description",
    [
        *("how deep, mm", "depth in mm", "number of cuts", "index of the clip", "how likely, a probability"),
        *("room temperature, degrees C", "room temperature, °C", "cuff pressure, mm[Hg]", "cuff pressure, kPa"),
        *("blood sugar, mg/dL", "leukocytes, 10*3/uL", "rate, {beats}/min", "rate, beats per minute", "lift, kg.m/s2"),
        *("flow (m3/h)", "slope [1]", "humidity, %", "price, EUR", "angular speed, rad/s", "fuel use, L/100.km"),
    ],
)
def test_any_unit_will_do(description: str) -> None:
    defining(create_model("Measured", value=(float, Field(description=description))))


@pytest.mark.parametrize("description", ["how deep", "how deep it is, in the bone", "depth", ""])
def test_a_unit_that_is_missing_is_missed(description: str) -> None:
    with pytest.raises(DeveloperError, match=r"states no unit. End it with one"):
        defining(create_model("Measured", value=(float, Field(description=description))))


def test_closed_sets_need_neither_unit_nor_length() -> None:
    class Closed(Frozen):
        gear: Literal[1, 2]
        mode: Literal["slow", "fast"]
        on: bool

    defining(Closed)
