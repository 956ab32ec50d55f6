"""One suite over every registered tool: schemas, bad arguments, units, honest effects. New tools need no line here."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sending import Judge, sending

from loopwright.errors import DeveloperError, Stopped
from loopwright.memory import Memory, open_memory
from loopwright.schema import CancelToken, Verdict, World
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld
from loopwright.tools.contract import Tool, ToolContext
from loopwright.tools.drive.world import DriveWorld
from loopwright.tools.recipe.world import KitchenWorld
from loopwright.tools.registry import TOOLS
from loopwright.tools.surgery.world import SurgicalVideoWorld

AnyTool = Tool[Any, Any]
each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda t: t.name)
each_actuator = pytest.mark.parametrize("tool", [t for t in TOOLS if t.effect == "actuate"], ids=lambda t: t.name)
lightly = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value that a strict schema allows, numbers of moderate size."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    low, high = schema.get("minimum", -100), schema.get("maximum", 100)
    match schema["type"]:
        case "object":
            return st.fixed_dictionaries({name: values(each) for name, each in schema["properties"].items()})
        case "array":
            return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=schema["maxItems"])
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=schema["maxLength"])
        case "integer":
            return st.integers(low, high)
        case "number":
            return st.floats(low, high, exclude_min="exclusiveMinimum" in schema, allow_subnormal=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case other:
            raise AssertionError(f"no values for {other!r}")


def arguments(tool: AnyTool) -> st.SearchStrategy[Any]:
    return values(tool.openai_schema()["function"]["parameters"])


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    yield schema
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    for each in [*below, *([schema["items"]] if "items" in schema else [])]:
        yield from nodes(each)


def c_arm(device: Path) -> World:
    """A C-arm over a box of air."""
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    return CArmWorld(Case(name="box", volume=volume), device=device, start=Pose(x_mm=70, y_mm=70, z_mm=70))


def surgery(device: Path) -> World:
    """A simulated patient."""
    return SurgicalVideoWorld("simulated:7", device=device, frame_px=32)


def road(device: Path) -> World:
    """A simulated drive."""
    return DriveWorld("merge", 7, device=device)


def kitchen(device: Path) -> World:
    """A simulated dish."""
    return KitchenWorld("simulated:7", device=device, image_px=32)


class Rig:
    """A world and a memory with a past, both real, and the fingerprints of what they hold."""

    def __init__(self, folder: Path, memory: Memory, tool: AnyTool) -> None:
        self.files = (folder / "memory.sqlite", folder / "device.sqlite")
        worlds = {"surgery": surgery, "drive": road, "recipe": kitchen}
        of_loop = tool.function.__module__.removeprefix("loopwright.tools.").partition(".")[0]
        self.world: World = worlds.get(of_loop, c_arm)(self.files[1])
        self.memory = memory
        self.n_calls = 0
        self.session_id = memory.sessions.acquire(memory.sessions.create("carm", {}).id).session_id
        for step in range(3):
            detail = {"why": "x" * 1000}
            memory.steps.record(self.session_id, 0, step, label="left", signature="a", detail=detail)

    def context(self, judge: Judge | None = None) -> ToolContext:
        """A moment of its own."""
        self.n_calls += 1
        cancel = CancelToken()
        return ToolContext(
            session_id=self.session_id,
            step=10 + self.n_calls,
            world=self.world,
            memory=self.memory,
            cancel=cancel,
            send=sending(
                Actuator(self.world, self.memory.ledger, self.session_id, cancel), step=10 + self.n_calls, judge=judge
            ),
        )

    def memory_now(self) -> list[str]:
        """Every row of every table."""
        return dump(self.files[0])

    def world_now(self) -> list[Any]:
        """Snapshot, and every row of the device."""
        return [self.world.snapshot(), dump(self.files[1])]


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def rig(tmp_path: Path, tool: AnyTool) -> Iterator[Rig]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as memory:
        yield Rig(tmp_path, memory, tool)


def test_names_are_unique_sorted_and_plain() -> None:
    names = [tool.name for tool in TOOLS]
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{2,40}", name) for name in names)


@each_tool
def test_schemas_are_closed_and_bounded(tool: AnyTool) -> None:
    mcp = tool.mcp_schema()
    assert mcp["inputSchema"] == tool.openai_schema()["function"]["parameters"]
    for node in [*nodes(mcp["inputSchema"]), *nodes(mcp["outputSchema"])]:
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        assert node.get("type") != "string" or "maxLength" in node or "enum" in node or "const" in node
        assert node.get("type") != "array" or "maxItems" in node


@each_tool
def test_units_agree_with_names(tool: AnyTool) -> None:
    schemas = tool.mcp_schema()
    for node in [*nodes(schemas["inputSchema"]), *nodes(schemas["outputSchema"])]:
        for name, each in node.get("properties", {}).items():
            if name.endswith("_mm"):
                assert re.search(r"\bmm$", each["description"])
            if name.endswith("_deg"):
                assert re.search(r"\bdegrees$", each["description"])


@each_tool
@lightly
@given(data=st.data())
def test_what_the_schema_allows_validates_and_comes_back(tool: AnyTool, data: st.DataObject) -> None:
    given_arguments = data.draw(arguments(tool))
    assert tool.input_model.model_validate(given_arguments).model_dump(mode="json") == given_arguments


@each_tool
def test_bad_arguments_are_for_the_model_to_correct(tool: AnyTool, rig: Rig) -> None:
    before = rig.world_now(), rig.memory_now()
    names = tool.openai_schema()["function"]["parameters"]["properties"]
    for bad in [{"no_such_field": 1}, "text", 7, None, *({name: {"no": "value"}} for name in names)]:
        reply = tool.call(bad, rig.context())
        assert reply.status == "retry"
        assert f"`{tool.name}`" in reply.for_model
        assert len(reply.for_model) < 1000
    assert (rig.world_now(), rig.memory_now()) == before


@each_tool
@lightly
@given(data=st.data())
def test_replies_are_what_the_output_schema_says(tool: AnyTool, rig: Rig, data: st.DataObject) -> None:
    reply = tool.call(data.draw(arguments(tool)), rig.context())
    if reply.status == "ok":
        assert reply.output is not None
        assert tool.output_model.model_validate(reply.output).model_dump(mode="json") == reply.output
        assert list(reply.output) == tool.mcp_schema()["outputSchema"]["required"]
    else:
        assert (tool.effect, reply.status) == ("actuate", "refused"), reply


@each_tool
@lightly
@given(data=st.data())
def test_the_effect_is_honest(tool: AnyTool, rig: Rig, data: st.DataObject) -> None:
    world, memory = rig.world_now(), rig.memory_now()
    context = rig.context()
    reply = tool.call(data.draw(arguments(tool)), context)
    if tool.effect != "actuate":
        assert reply.status == "ok"
        assert rig.world_now() == world
        assert (rig.memory_now() == memory) == (tool.effect == "read")
        return
    entry = rig.memory.ledger.get(context.key(tool.name))
    assert entry is not None
    assert entry.status == "settled"
    assert entry.outcome == rig.world.outcome_of(entry.key)


@each_actuator
@lightly
@given(data=st.data())
def test_an_actuation_changes_nothing_when_it_is_refused(tool: AnyTool, rig: Rig, data: st.DataObject) -> None:
    given_arguments, before = data.draw(arguments(tool)), rig.world_now()

    with pytest.raises(DeveloperError, match="only through the ledger"):
        tool.call(given_arguments, replace(rig.context(), send=None))
    no = Verdict(ok=False, rule="test", reason="No.")
    assert tool.call(given_arguments, rig.context(judge=lambda act: no)).status == "refused"
    rig.memory.inbox.put(rig.session_id, "STOP", is_stop=True)
    with pytest.raises(Stopped):
        tool.call(given_arguments, rig.context())
    rig.memory.inbox.clear_stop(rig.session_id)

    assert rig.world_now() == before


@each_actuator
def test_an_actuation_happens_once(tool: AnyTool, rig: Rig) -> None:
    context = rig.context()
    nothing = dict.fromkeys(tool.openai_schema()["function"]["parameters"]["properties"], 0)
    first, after = tool.call(nothing, context), rig.world_now()
    assert tool.call(nothing, context) == first
    assert rig.world_now() == after
