"""What the driver's tools say of a moment that is known, and which experiences they recall."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.errors import DeveloperError
from loopwright.memory import Memory, open_memory
from loopwright.tools.contract import ToolContext
from loopwright.tools.drive.experience import experience, nearest
from loopwright.tools.drive.scene import Agent, Box, Command, Lane, Point, Scene
from loopwright.tools.registry import find_tool

WAY: tuple[Point, ...] = tuple((5.0 * k, 0.0) for k in range(1, 7))


def scene_at(speed_mps: float, command: Command = "straight", token: str = "now", **changed: Any) -> Scene:
    history = tuple((speed_mps * k / 2, 0.0) for k in range(-4, 1))
    return Scene(source="made up", token=token, speed_mps=speed_mps, history=history, command=command, **changed)


def car(name: str, x_m: float, y_m: float, vx_mps: float = 0.0) -> Agent:
    return Agent(id=name, box=Box(x_m=x_m, y_m=y_m, length_m=4, width_m=2), vx_mps=vx_mps)


SCENE = scene_at(
    10.0,
    command="left",
    agents=(
        car("far", 80, 0),
        car("beside", 2, 3.5, vx_mps=12),
        car("lead", 20, 0.5, vx_mps=8),
        car("behind", -12, 0),
        car("second", 35, -1),
    ),
    lanes=(
        Lane(centre=((-50, 0), (50, 0), (50, 50)), width_m=4),
        Lane(centre=((-50, 4), (50, 4)), width_m=4, is_route=True),
    ),
)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


def asked(tool: str, memory: Memory | None = None, session_id: str = "s", **arguments: Any) -> Any:
    """What a tool answers a model that calls it."""
    context = ToolContext(session_id=session_id, step=0, world=SimpleNamespace(scene=SCENE), memory=memory)
    reply = find_tool(tool).call(arguments, context)
    assert reply.status == "ok", reply.for_model
    return reply.output


def ids(found: Any) -> list[str]:
    return [agent["id"] for agent in found["agents"]]


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("leading", ["lead"]),
        ("front", ["lead", "second"]),
        ("around", ["beside", "behind"]),
        ("all", ["beside", "behind", "lead", "second", "far"]),
    ],
)
def test_agents_of_an_area_nearest_first(area: str, expected: list[str]) -> None:
    assert ids(asked("detect_agents", area=area)) == expected
    assert ids(asked("predict_agents", area=area)) == expected


def test_agents_in_a_rectangle_whichever_corner_comes_first() -> None:
    found = asked("detect_agents_in_range", x_from_m=40, x_to_m=0, y_from_m=-2, y_to_m=1)
    assert ids(found) == ["lead", "second"]
    assert found["agents"][0] == {
        "id": "lead", "kind": "car", "x_m": 20, "y_m": 0.5, "yaw_rad": 0, "length_m": 4, "width_m": 2, "speed_mps": 8,
    }  # fmt: skip


def test_predictions_are_at_constant_velocity_and_unknown_ids_are_said() -> None:
    found = asked("predict_agents_by_id", ids=["lead", "nobody", "beside", "nobody"])
    assert ids(found) == ["beside", "lead"] and found["unknown"] == ["nobody"]
    assert found["agents"][1]["points"] == [[20 + 4 * k, 0.5] for k in range(1, 7)]


def test_occupancy_now_and_later() -> None:
    points = [[20, 0], [22.5, 0], [28, 1.4], [28, 1.6]]
    assert [each["by"] for each in asked("check_occupancy", points=points, after_s=0)["points"]] == ["lead", "", "", ""]
    later = asked("check_occupancy", points=points, after_s=1)["points"]
    assert [each["by"] for each in later] == ["", "", "lead", ""]


def test_the_map_knows_lanes_routes_and_distances() -> None:
    found = asked("look_up_map", points=[[0, 0.5], [0, 5], [0, 7], [50.5, 20], [0, 2]])
    assert found["n_lanes"] == 2
    here, on_route, off, around_the_corner, between = found["points"]
    assert (here["drivable"], here["is_route"], here["left_of_centre_m"]) == (True, False, 0.5)
    assert (here["to_left_line_m"], here["to_right_line_m"]) == (1.5, 2.5)
    assert on_route["is_route"] and on_route["left_of_centre_m"] == 1
    assert not off["drivable"] and off["to_left_line_m"] is None
    assert around_the_corner["left_of_centre_m"] == -0.5  # the lane turns left there
    assert between["is_route"]  # on the line of both


@pytest.mark.parametrize(
    ("waypoints", "rule"),
    [
        ([[4.0 * k, 0.0] for k in range(1, 7)], ""),
        ([[5.4 * k, 0.0] for k in range(1, 7)], "collision"),  # with the second car, which stands
        ([[5.0 * k, -0.5 * k] for k in range(1, 7)], "off_road"),
    ],
)
def test_a_trajectory_is_checked_by_the_verifier(waypoints: list[list[float]], rule: str) -> None:
    found = asked("check_trajectory", waypoints=waypoints)
    assert (found["ok"], found["rule"], bool(found["reason"])) == (not rule, rule, bool(rule))


def test_the_ego_state() -> None:
    found = asked("ego_state")
    assert (found["speed_mps"], found["command"], found["history"][0]) == (10, "left", [-20, 0])


@pytest.fixture
def driven(memory: Memory) -> str:
    """A session that drove at several speeds and commands; another one waits to recall."""
    session_id = memory.sessions.acquire(memory.sessions.create("drive", {}).id).session_id
    moments: list[tuple[float, Command, str, str]] = [
        (10.2, "straight", "keep lane", ""),
        (10.5, "left", "change lane left", "crashed"),
        (13.0, "left", "slow down", ""),
        (10.0, "left", "brake", ""),
        (30.0, "left", "too fast to compare", ""),
    ]
    for step, (speed, command, action, outcome) in enumerate(moments):
        then = scene_at(speed, command, token=f"moment {step}")
        memory.steps.record(session_id, 0, step, **experience(then, WAY, action=action, outcome=outcome))
    return memory.sessions.create("drive", {}).id


def test_experiences_are_the_nearest_by_state_goal_and_history(memory: Memory, driven: str) -> None:
    found = asked("recall_experience", memory, driven)["experiences"]
    # (10 -> 10.5 m/s): past points .25, .5, .75, 1 m apart, steps and speed .25: 1.875 + .125
    # another command is two entries of the goal apart, weighted 10
    assert [each["action"] for each in found] == ["brake", "change lane left", "keep lane"]
    assert found[0]["likeness"] == 1
    assert found[1]["likeness"] == pytest.approx(2.718281828**-2.0)
    assert (found[1]["outcome"], found[1]["waypoints"][0]) == ("crashed", [5, 0])
    assert [each["action"] for each in asked("recall_experience", memory, driven, k=10)["experiences"]][3:] == [
        "slow down"
    ]


def test_a_moment_does_not_recall_itself_nor_other_loops(memory: Memory, driven: str) -> None:
    again = scene_at(10.0, "left", token="moment 3")
    assert [each.step.label for each in nearest(memory, "drive", again, k=1)] == ["change lane left"]
    assert nearest(memory, "carm", again) == []


def test_it_says_what_it_lacks() -> None:
    with pytest.raises(DeveloperError, match="`memory=open_memory"):
        asked("recall_experience")
    context = ToolContext(session_id="s", step=0, world=object())
    with pytest.raises(DeveloperError, match="has no scene; give the `ToolContext` a `DriveWorld`"):
        find_tool("ego_state").call({}, context)
    retry = find_tool("detect_agents").call({"area": "everywhere"}, context)
    assert retry.status == "retry" and "leading" in retry.for_model
