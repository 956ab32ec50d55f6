"""What an author of a loop may get wrong: named at once, or kept from doing harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.loops.thermostat import Nothing, Seen, read_room, set_heater, thermostat

from loopwright.errors import BadInput, DeveloperError, ToolError
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role
from loopwright.graphs.loop.loop import Loop
from loopwright.memory import Memory
from loopwright.schema import Act
from loopwright.tools.contract import Acting, ToolContext, tool

State = dict[str, Any]
NodeFunction = Callable[[State, Context], Any]


def loop_of(*nodes: Any, **changes: Any) -> Loop:
    tools = changes.pop("tools", [read_room, set_heater])
    return Loop("mistaken", nodes=nodes, world=thermostat.world, tools=tools, state={"target_c": 20.0}, **changes)


def end(state: State, ctx: Context) -> None:
    ctx.end("succeeded", "it is over")


def acts(state: State, ctx: Context) -> Any:
    return ctx.act(set_heater, on=True)


def writes(**values: Any) -> NodeFunction:
    def write(state: State, ctx: Context) -> None:
        state.update(values)

    return write


def deletes(state: State, ctx: Context) -> None:
    del state["target_c"]


def maps(state: State, ctx: Context) -> None:
    ctx.map(lambda item, _: ctx.act(set_heater, on=item), [True])


def test_a_node_may_return_what_an_act_came_to(memory: Memory, tmp_path: Path) -> None:
    loop = loop_of(acts, end)
    session = loop.start(memory, devices=tmp_path)
    assert session.run() == "succeeded"
    assert loop.replay(session.id, memory).difference is None


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (writes(status="succeeded"), "wrote the state key 'status', which the kit keeps"),
        (writes(kit={}), "wrote the state key 'kit'"),
        (writes(undeclared=1), "wrote the state key 'undeclared'. Declare it"),
        (deletes, "deleted the state key 'target_c'"),
        (lambda state, ctx: "done", "returned 'done'; expected a dict"),
        (
            lambda state, ctx: ctx.map(lambda item, _: ctx.act(set_heater, on=item), [True]),
            "Use the one that it is given",
        ),
        (writes(target_c=float("nan")), "As node 'write' of loop 'mistaken' left it, the state key 'target_c' is nan"),
        (writes(target_c=object()), "the state key 'target_c' is <object object at .*>, which is not JSON"),
    ],
)
def test_what_a_node_may_not_do_is_named_with_the_node(
    node: NodeFunction, said: str, memory: Memory, tmp_path: Path
) -> None:
    session = loop_of(node, end).start(memory, devices=tmp_path)
    with pytest.raises(DeveloperError, match=said):
        session.run()
    assert session.status == "paused"
    assert memory.ledger.of(session.id) == []


def test_a_guard_that_says_yes_or_no_is_refused(memory: Memory, tmp_path: Path) -> None:
    def guard(act: Act, state: State) -> Any:
        return True

    with pytest.raises(DeveloperError, match="expected a `Verdict` or None"):
        loop_of(acts, end, guard=guard).start(memory, devices=tmp_path).run()


def test_a_tool_sends_no_act_of_another(memory: Memory, tmp_path: Path) -> None:
    @tool(effect="actuate", timeout_s=1)
    def harmless(args: Nothing, context: ToolContext) -> Acting[Seen]:
        """Look innocent."""
        outcome = yield Act(tool="set_heater", arguments={"on": True})
        return Seen.model_validate(outcome.result)

    def act(state: State, ctx: Context) -> None:
        ctx.act(harmless)

    with pytest.raises(DeveloperError, match="yields an act of `set_heater`"):
        loop_of(act, end, tools=[harmless]).start(memory, devices=tmp_path).run()


def test_a_failure_of_a_tool_that_a_node_catches_is_on_record(memory: Memory, tmp_path: Path) -> None:
    @tool(effect="read", timeout_s=1)
    def broken(args: Nothing, context: ToolContext) -> Seen:
        """Read a thermometer that is broken."""
        raise ToolError("no contact")

    def look(state: State, ctx: Context) -> None:
        try:
            ctx.observe(broken)
        except ToolError:
            ctx.end("failed", "the thermometer is broken")

    loop = loop_of(look, tools=[broken])
    session = loop.start(memory, devices=tmp_path)
    assert session.run() == "failed"
    assert loop.replay(session.id, memory).difference is None


def test_any_other_failure_ends_the_node_whatever_it_catches(memory: Memory, tmp_path: Path) -> None:
    @tool(effect="read", timeout_s=1)
    def broken(args: Nothing, context: ToolContext) -> Seen:
        """Read a thermometer whose driver has a defect."""
        raise RuntimeError("division by zero, in effect")

    def look(state: State, ctx: Context) -> None:
        try:
            ctx.observe(broken)
        except Exception:
            state["target_c"] = 1.0

    session = loop_of(look, end, tools=[broken]).start(memory, devices=tmp_path)
    with pytest.raises(RuntimeError, match="division by zero"):
        session.run()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"steps": 0}, r"`Budget`: `steps` = 0: Input should be greater than or equal to 1\. None: no limit"),
        ({"steps": 5, "token": 3}, "`token` = 3: Extra inputs are not permitted"),
    ],
)
def test_a_budget_that_will_not_do(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(DeveloperError, match=said):
        Budget(**limits)


def test_a_model_that_is_none(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="The model of the role 'operator' is 5; expected a card's name or path, or a"):
        loop_of(end, roles={"operator": Role()}).start(memory, devices=tmp_path, models={"operator": 5})  # type: ignore[dict-item]


def test_a_state_that_begins_as_no_json(memory: Memory, tmp_path: Path) -> None:
    loop = loop_of(end, initial=lambda config, prepared: {"target_c": {1, 2}})
    with pytest.raises(DeveloperError, match=r"from its `initial`: the state key 'target_c' is \{1, 2\}"):
        loop.start(memory, devices=tmp_path).run()


def test_what_cannot_run_is_refused_when_it_is_declared() -> None:
    with pytest.raises(DeveloperError, match="its `state`: the state key 'room' is <object object"):
        Loop("mistaken", nodes=[end], state={"room": object()})

    async def node(state: State, ctx: Context) -> None: ...

    with pytest.raises(DeveloperError, match="is async"):
        loop_of(node)
    with pytest.raises(DeveloperError, match="expected a class, or a function"):
        Loop("mistaken", nodes=[end], world=object())  # type: ignore[arg-type]
    with pytest.raises(DeveloperError, match="expected one of read, write, actuate"):
        tool(effect="reed", timeout_s=1)(read_room.function)  # type: ignore[call-overload]
    with pytest.raises(DeveloperError, match="Only `actuate` tools yield"):
        tool(effect="read", timeout_s=1)(set_heater.function)
