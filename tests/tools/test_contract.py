"""One typed function gives every schema, refuses what cannot be constrained, and cannot touch the world."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import Field
from tests.sending import sending

from loopwright.errors import DeveloperError, Stopped, ToolError, ToolRefused, ToolRetry
from loopwright.memory import Memory, open_memory
from loopwright.schema import Act, CancelToken, Frozen, Outcome, Verdict
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld
from loopwright.tools.contract import Acting, ToolContext, tool


class Side(Frozen):
    left_mm: float = Field(default=0.0, ge=-100, le=100, description="to the left, mm")


class Place(Frozen):
    x_mm: float = Field(description="where it stands, mm")


@tool(effect="actuate", timeout_s=5)
def slide(args: Side, context: ToolContext) -> Acting[Place]:
    """Slide the view
    to the left, mm.

    This paragraph is for people.
    """
    outcome = yield Act(tool="move_c_arm", arguments={"left_mm": args.left_mm})
    return Place(x_mm=outcome.result["pose"]["x_mm"])


@tool(effect="read", timeout_s=5)
def where(args: Side, context: ToolContext) -> Place:
    """Say where it stands, mm."""
    return Place(x_mm=context.world.snapshot()["pose"]["x_mm"] - args.left_mm)


@pytest.fixture
def world(tmp_path: Path) -> CArmWorld:
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    start = Pose(x_mm=70, y_mm=70, z_mm=70)
    return CArmWorld(Case(name="box", volume=volume), device=tmp_path / "device.sqlite", start=start)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def context(world: CArmWorld, memory: Memory) -> ToolContext:
    session_id, cancel = memory.sessions.acquire(memory.sessions.create("carm", {}).id).session_id, CancelToken()
    actuator = Actuator(world, memory.ledger, session_id, cancel)
    return ToolContext(
        session_id=session_id,
        step=1,
        world=world,
        memory=memory,
        cancel=cancel,
        send=sending(actuator, step=1, judge=no_sixes),
    )


def no_sixes(act: Act) -> Verdict:
    return Verdict(ok=act.arguments["left_mm"] != 66, rule="sixes", reason="66 mm is a trap.")


def without(context: ToolContext, **changes: Any) -> ToolContext:
    return ToolContext(**{**vars(context), **changes})


class TestSchemas:
    def test_the_description_is_the_first_paragraph(self) -> None:
        assert slide.description == "Slide the view to the left, mm."
        assert (slide.name, slide.effect, slide.timeout_s) == ("slide", "actuate", 5)

    def test_openai_schema_is_strict(self) -> None:
        parameters = {
            "type": "object",
            "properties": {
                "left_mm": {"type": "number", "minimum": -100, "maximum": 100, "description": "to the left, mm"}
            },
            "required": ["left_mm"],
            "additionalProperties": False,
        }
        function = {"name": "slide", "description": slide.description, "strict": True, "parameters": parameters}
        assert slide.openai_schema() == {"type": "function", "function": function}

    def test_mcp_schema_names_the_effect(self) -> None:
        assert where.mcp_schema()["annotations"] == {"readOnlyHint": True, "destructiveHint": False}
        schema = slide.mcp_schema()
        assert schema["annotations"] == {"readOnlyHint": False, "destructiveHint": True}
        assert schema["outputSchema"]["required"] == ["x_mm"]
        assert set(schema) == {"name", "description", "inputSchema", "outputSchema", "annotations"}

    def test_nested_models_are_closed_and_inlined(self) -> None:
        class Nested(Frozen):
            title: str = Field(max_length=9)
            sides: list[Side] = Field(max_length=2)
            first: Side | None = Field(default=None, description="None where there is none")

        @tool(effect="read", timeout_s=1)
        def nest(args: Nested, context: ToolContext) -> Place:
            """Nest."""
            return Place(x_mm=0)

        parameters = nest.openai_schema()["function"]["parameters"]
        assert parameters["required"] == ["title", "sides", "first"]
        assert parameters["properties"]["sides"]["items"]["additionalProperties"] is False
        assert "$ref" not in str(parameters)


def test_functions_of_another_shape_are_refused() -> None:
    with pytest.raises(DeveloperError, match="no docstring"):

        @tool(effect="read", timeout_s=1)
        def silent(args: Side, context: ToolContext) -> Place:
            return Place(x_mm=0)

    with pytest.raises(DeveloperError, match="positive number of seconds"):

        @tool(effect="read", timeout_s=0)
        def instant(args: Side, context: ToolContext) -> Place:
            """Be quick."""
            return Place(x_mm=0)

    with pytest.raises(DeveloperError, match=r"Acting\[OutModel\]"):

        @tool(effect="actuate", timeout_s=1)  # type: ignore[arg-type]  # the mistake that is tested
        def direct(args: Side, context: ToolContext) -> Place:
            """Return at once."""
            return Place(x_mm=0)


class TestRunning:
    def test_arguments_and_output_are_typed(self, context: ToolContext) -> None:
        assert where.run({"left_mm": 5}, context) == Place(x_mm=65)
        assert where.run(Side(left_mm=5), context) == Place(x_mm=65)

    @pytest.mark.parametrize("arguments", [{"left_mm": 101}, {"left_mm": "far"}, {"right_mm": 1}, "left", None])
    def test_bad_arguments_are_for_the_model_to_correct(self, context: ToolContext, arguments: Any) -> None:
        with pytest.raises(ToolRetry, match="Arguments of `where` are wrong"):
            where.run(arguments, context)
        assert where.call(arguments, context).status == "retry"

    def test_no_tool_can_touch_the_world_itself(self, context: ToolContext) -> None:
        @tool(effect="write", timeout_s=1)
        def sneak(args: Side, context: ToolContext) -> Place:
            """Sneak past the ledger."""
            context.world.apply("sneak", Act(tool="move_c_arm", arguments=args.model_dump()), 1)
            return Place(x_mm=0)

        before = context.world.snapshot()
        with pytest.raises(DeveloperError, match="yield an `Act`"):
            sneak.call({"left_mm": 5}, context)
        assert context.world.snapshot() == before

    def test_a_wrong_output_is_the_developers_error(self, context: ToolContext) -> None:
        @tool(effect="read", timeout_s=1)
        def wrong(args: Side, context: ToolContext) -> Place:
            """Return something else."""
            return args  # type: ignore[return-value]  # the mistake that is tested

        with pytest.raises(DeveloperError, match="expected a `Place`"):
            wrong.run({}, context)

    @pytest.mark.parametrize(("effect", "error"), [("read", ToolRetry), ("write", ToolError)])
    def test_a_slow_tool_is_cancelled(
        self, context: ToolContext, effect: Literal["read", "write"], error: type[Exception]
    ) -> None:
        halted = []

        @tool(effect=effect, timeout_s=0.1)
        def slow(args: Side, context: ToolContext) -> Place:
            """Take long."""
            halted.append(context.cancel.wait(30))
            return Place(x_mm=0)

        with pytest.raises(error, match=r"within 0\.1 s"):
            slow.run({}, context)
        time.sleep(0.1)
        assert halted == [True]


class TestActuating:
    def test_an_act_goes_through_the_ledger(self, context: ToolContext, memory: Memory) -> None:
        assert slide.run({"left_mm": 20}, context) == Place(x_mm=50)
        (entry,) = memory.ledger.of(context.session_id)
        assert (entry.status, entry.approved_by, entry.step) == ("settled", "guard", 1)
        assert entry.act == Act(tool="move_c_arm", arguments={"left_mm": 20})

    def test_the_same_call_again_moves_nothing(self, context: ToolContext, memory: Memory) -> None:
        assert slide.run({"left_mm": 20}, context) == slide.run({"left_mm": 20}, context)
        assert len(memory.ledger.of(context.session_id)) == 1
        assert slide.run({"left_mm": 20}, without(context, step=2)) == Place(x_mm=30)
        assert slide.run({"left_mm": 20}, without(context, branch=1)) == Place(x_mm=10)
        assert slide.run({"left_mm": 20}, without(context, call_id="second")) == Place(x_mm=-10)

    def test_nothing_runs_without_a_way_to_send(self, context: ToolContext, world: CArmWorld) -> None:
        with pytest.raises(DeveloperError, match="only through the ledger"):
            slide.call({"left_mm": 20}, without(context, send=None))
        assert world.pose.x_mm == 70

    def test_the_function_itself_is_handed_no_way_to_send(self, context: ToolContext) -> None:
        handed = []

        @tool(effect="actuate", timeout_s=1)
        def peek(args: Side, context: ToolContext) -> Acting[Place]:
            """Act."""
            handed.append(context.send)
            outcome = yield Act(tool="move_c_arm", arguments=args.model_dump())
            return Place(x_mm=outcome.result["pose"]["x_mm"])

        peek.run({"left_mm": 20}, context)
        assert handed == [None]

    def test_what_is_sent_carries_the_calls_key_and_the_tools_time(self, context: ToolContext) -> None:
        sent: list[tuple[str, Act, float]] = []

        def send(key: str, act: Act, timeout_s: float) -> Outcome:
            sent.append((key, act, timeout_s))
            return Outcome(key=key, status="failed", reason="nobody is there")

        with pytest.raises(ToolError, match="nobody is there"):
            slide.run({"left_mm": 20}, without(context, send=send, call_id="c1"))
        act = Act(tool="move_c_arm", arguments={"left_mm": 20})
        assert sent == [(f"{context.session_id}/0/1/slide/c1", act, slide.timeout_s)]

    def test_what_the_guard_rejects_is_on_record_and_another_act_may_follow(
        self, context: ToolContext, memory: Memory
    ) -> None:
        for _ in range(2):
            reply = slide.call({"left_mm": 66}, context)
            assert (reply.status, reply.for_model) == ("refused", "Refused: 66 mm is a trap. (rule `sixes`)")
        assert slide.call({"left_mm": 20}, without(context, call_id="another")).status == "ok"
        refused, done = memory.ledger.of(context.session_id)
        assert (refused.status, refused.reason) == ("refused", "66 mm is a trap. (rule `sixes`)")
        assert (refused.act.arguments, done.status) == ({"left_mm": 66}, "settled")

    def test_what_the_device_refuses_reaches_the_model(self, context: ToolContext) -> None:
        slide.run({"left_mm": 100}, context)
        with pytest.raises(ToolRefused, match="envelope"):
            slide.run({"left_mm": 100}, without(context, step=2))

    def test_stop_is_an_outcome_of_the_session(self, context: ToolContext, memory: Memory, world: CArmWorld) -> None:
        memory.inbox.put(context.session_id, "STOP", is_stop=True)
        with pytest.raises(Stopped):
            slide.call({"left_mm": 20}, context)
        assert world.pose.x_mm == 70

    def test_the_act_can_be_shown_before_it_is_sent(self, context: ToolContext, memory: Memory) -> None:
        act = slide.propose({"left_mm": 20}, context)
        slide.run({"left_mm": 20}, context)
        assert memory.ledger.of(context.session_id)[0].command_sha256 == act.sha256
        with pytest.raises(DeveloperError, match="only `actuate` tools propose"):
            where.propose({"left_mm": 20}, context)

    def test_one_call_is_one_act(self, context: ToolContext) -> None:
        @tool(effect="actuate", timeout_s=1)
        def twice(args: Side, context: ToolContext) -> Acting[Place]:
            """Act twice."""
            yield Act(tool="move_c_arm", arguments=args.model_dump())
            yield Act(tool="move_c_arm", arguments=args.model_dump())
            return Place(x_mm=0)

        with pytest.raises(DeveloperError, match="yielded a second act"):
            twice.run({"left_mm": 1}, context)


class TestLangChain:
    def test_a_tool_call_gives_a_message_with_an_artifact(self, context: ToolContext) -> None:
        call = {"name": "slide", "args": {"left_mm": 20}, "id": "c1", "type": "tool_call"}
        bound = slide.as_langchain(context)
        message = bound.invoke(call)
        assert (message.content, message.artifact, message.status) == ('{"x_mm":50.0}', {"x_mm": 50.0}, "success")
        assert bound.args.keys() == {"left_mm"}

    def test_two_calls_of_one_message_are_two_acts_and_each_happens_once(
        self, context: ToolContext, world: CArmWorld
    ) -> None:
        bound = slide.as_langchain(context)
        for call_id in ("c1", "c2", "c1", "c2"):
            bound.invoke({"name": "slide", "args": {"left_mm": 20}, "id": call_id, "type": "tool_call"})
        assert world.pose.x_mm == 30

    @pytest.mark.parametrize(
        ("left_mm", "text"), [("far", "Arguments of `slide` are wrong: `left_mm` = 'far'"), (66, "Refused: 66 mm")]
    )
    def test_what_the_model_may_see_is_an_error_message(self, context: ToolContext, left_mm: Any, text: str) -> None:
        call = {"name": "slide", "args": {"left_mm": left_mm}, "id": "c1", "type": "tool_call"}
        message = slide.as_langchain(context).invoke(call)
        assert message.status == "error"
        assert message.content.startswith(text)

    def test_the_rest_crashes(self, context: ToolContext) -> None:
        with pytest.raises(DeveloperError):
            slide.as_langchain(without(context, send=None)).invoke({"left_mm": 1})

    def test_a_tool_without_arguments_can_be_called(self, context: ToolContext) -> None:
        class Nothing(Frozen):
            pass

        @tool(effect="read", timeout_s=1)
        def look(args: Nothing, context: ToolContext) -> Place:
            """Look."""
            return Place(x_mm=1)

        assert look.as_langchain(context).invoke({}) == '{"x_mm":1.0}'
        message = look.as_langchain(context).invoke({"name": "look", "args": {}, "id": "c1", "type": "tool_call"})
        assert message.content == '{"x_mm":1.0}'
