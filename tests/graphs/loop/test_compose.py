"""`Loop.from_yaml`: a loop of registered parts and a few verbs, and errors that name the place."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.loops.bench import Bench, kinds, written
from tests.loops.cases import heating
from tests.loops.thermostat import thermostat

from loopwright.errors import BadInput, DeveloperError
from loopwright.graphs.loop.expressions import Condition, filled, filled_text, names_in
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.registry import get_loop

WARM = """
name: warm
summary: heat a room
world: tests.loops.thermostat:Room
tools: [tests.loops.thermostat:read_room, tests.loops.thermostat:set_heater, recall_history]
state: {target_c: 18.0}
roles: {navigator: {}}
feedback: tests.loops.thermostat:SetTarget
guard: [tests.loops.thermostat:fuse]
budget: {steps: 9}
nodes:
  - name: look
    do:
      - {observe: read_room}
  - name: review
    do:
      - {feedback: [SetTarget]}
      - {end: succeeded, when: observation.room_c >= target_c, reason: "it is {observation.room_c} degrees"}
  - name: heat
    do:
      - {ask: navigator, prompt: "{observation.room_c} of {target_c}", tools: [set_heater]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "warm.yaml"
    path.write_text(WARM)
    return path


def changed(file: Path, old: str, new: str) -> Path:
    """The file with other text in it."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_it_runs_like_one_in_python(file: Path, bench: Bench) -> None:
    session = bench.start(Loop.from_yaml(file), heating())
    session.say("target 17")
    assert session.run() == "succeeded"
    assert session.state["reason"] == "it is 18.0 degrees"
    assert kinds(session.events, "replied")[0]["prompt"][0]["content"] == "15.0 of 17.0"
    bench.whole(session)
    assert (
        Loop.from_yaml(file).graph.get_graph().draw_mermaid() == Loop.from_yaml(file).graph.get_graph().draw_mermaid()
    )


def test_it_keeps_what_the_kit_enforces(file: Path, bench: Bench) -> None:
    session = bench.start(
        Loop.from_yaml(changed(file, "target_c: 18.0", "target_c: 29.0")), heating(), approval="human"
    )
    assert session.run() == "waiting"
    session.say("reject")
    assert session.run() == "waiting"
    bounded = bench.start(Loop.from_yaml(file), heating())
    assert bounded.run() == "failed"
    assert kinds(bounded.events, "acted")[-1]["rule"] == "fuse" or "9 steps" in bounded.state["reason"]


def test_it_is_found_by_its_file(file: Path) -> None:
    assert get_loop(str(file)).name == "warm"


def test_a_function_beside_the_file_is_called(file: Path, bench: Bench) -> None:
    (file.parent / "beside_it.py").write_text(
        "def twice(state, ctx):\n    state['target_c'] *= 2\n    ctx.goto('end')\n"
    )
    file.write_text(
        "name: calls\nstate: {target_c: 4}\nnodes:\n  - {name: first, call: 'beside_it:twice', to: [end]}\n"
        "  - {name: second, do: [{goto: first}]}\n"
        "  - {name: end, do: [{end: succeeded, reason: '{target_c}'}]}\n"
    )
    session = bench.start(Loop.from_yaml(file))
    assert session.run() == "succeeded"
    assert session.state["reason"] == "8"


def test_nodes_at_once_and_fixed_acts(file: Path, bench: Bench) -> None:
    text = """
name: fixed
world: tests.loops.thermostat:Room
tools: [tests.loops.thermostat:read_room, tests.loops.thermostat:set_heater]
state: {heats: true}
nodes:
  - {name: look, do: [{observe: read_room}]}
  - - {name: left, do: [{act: set_heater, arguments: {on: "{heats}"}, because: "it has {observation.room_c}", into: l}]}
    - {name: right, do: [{observe: read_room, into: again}]}
  - {name: over, do: [{end: succeeded, reason: "{l}", when: "observation.room_c == 15 and heats == true"}]}
"""
    file.write_text(text)
    session = bench.start(Loop.from_yaml(file), approval="human")
    assert session.run() == "waiting"
    assert kinds(session.events, "asked")[0]["question"]["text"] == "May I switch the heater on? (it has 15.0)"
    session.say("approve")
    assert session.run() == "succeeded"
    assert session.state["reason"] == '{"heater_on":true,"room_c":16.5}'
    bench.whole(session)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: warm\n", "", "`name`: Field required"),
        ("budget: {steps: 9}", "budget: {step: 9}", "`budget.step`: Extra inputs"),
        ("{observe: read_room}", "{look: read_room}", r"`nodes[0].do[0]`: expected one verb of: observe, feedback"),
        ("{observe: read_room}", "{observe: read_room, in: x}", "`nodes[0].do[0].observe.in`: Extra inputs"),
        (
            "{observe: read_room}",
            "{observe: read_rom}",
            "`nodes[0].do[0]`: Unknown tool 'read_rom'. Did you mean `read_room`",
        ),
        ("recall_history", "recall_histry", "`tools[2]`: Unknown tool 'recall_histry'. Did you mean `recall_history`"),
        ("thermostat:read_room", "thermostat:read_rom", "`tools[0]`: `tests.loops.thermostat:read_rom`: the module"),
        ("tests.loops.thermostat:set_heater", "os:getcwd", "`tools[1]`: `os:getcwd` is no tool"),
        (
            "world: tests.loops.thermostat:Room",
            "world: nowhere:Room",
            "`world`: `nowhere:Room`: there is no module `nowhere`",
        ),
        ("[tests.loops.thermostat:fuse]", "os:sep", "`guard[0]`: `os:sep` is '/'; expected a function"),
        ("ask: navigator", "ask: pilot", "`nodes[2].do[0]`: Unknown role 'pilot'"),
        ("{observation.room_c} of", "{room_c} of", "`nodes[2].do[0]`: Unknown state key 'room_c'"),
        ("when: observation.room_c >= target_c", "when: warm enough", "'warm enough' is no condition"),
        ("when: observation.room_c >= target_c", "when: observation.room_c >= __import__('os')", "neither a path"),
        ("[SetTarget]", "[SetGoal]", "`nodes[1].do[0]`: Unknown feedback type 'SetGoal'"),
        ("state: {target_c: 18.0}", "state: {goal_c: 18.0}", "`nodes[1].do[0]`: Unknown state key 'target_c'"),
        ("end: succeeded", "end: won", "`nodes[1].do[1].end.end`"),
        ("nodes:", "nodes: []\nx:", "`nodes`: List should have at least 1 item"),
    ],
)
def test_errors_name_the_place(file: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)) as error:
        Loop.from_yaml(changed(file, old, new))
    assert str(file) in str(error.value)


def test_a_file_that_is_no_yaml(file: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read as YAML"):
        Loop.from_yaml(changed(file, "name: warm", "name: [warm"))
    with pytest.raises(BadInput, match="cannot be read"):
        Loop.from_yaml(file.parent / "none.yaml")


STATE: dict[str, Any] = {"a": {"b": [1, {"c": "x"}]}, "n": 2, "s": "two", "t": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        *(("n == 2", True), ("n != 2", False), ("n < 3 and n > 1", True), ('n <= 2 and s == "three"', False)),
        *(('a.b.1.c == "x"', True), ("t == true", True), ("2 >= n", True), ('a.b == [1, {"c": "x"}]', True)),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert Condition(text).holds(STATE) is holds


def test_paths() -> None:
    assert filled({"x": "{n}", "y": ["{a.b.0}", "n is {n}"]}, STATE) == {"x": 2, "y": [1, "n is 2"]}
    assert filled_text("{s} {t} {a.b.1}", STATE) == 'two true {"c": "x"}'
    assert names_in({"x": "{n} {a.b}"}) == {"n", "a"}
    for text in ("{a.c}", "{n.b}", "{a.b.7}"):
        with pytest.raises(DeveloperError, match="The state has no"):
            filled(text, STATE)
    with pytest.raises(DeveloperError, match=r"`when: s < n` compares 'two' with 2"):
        Condition("s < n").holds(STATE)


def test_it_writes_what_the_same_loop_in_python_writes(file: Path, bench: Bench) -> None:
    changed(file, "observation.room_c >= target_c", "observation.room_c > 17.0")
    composed, coded = bench.start(Loop.from_yaml(file), heating()), bench.start(thermostat, heating())
    composed.run()
    coded.run()
    acts = [[v[3] for v in written(each.events).values() if v[0] == "acted"] for each in (composed, coded)]
    assert acts[0] == acts[1][:2]
