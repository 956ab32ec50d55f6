"""The loops that the contract suite is run over, each with models that know what to say. A new loop is one entry."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from tests.loops.kiln import kiln, nested
from tests.loops.thermostat import thermostat

from loopwright.graphs.carm import LOOP as CARM
from loopwright.graphs.drive import LOOP as DRIVE
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.recipe import LOOP as RECIPE
from loopwright.graphs.surgery import LOOP as SURGERY

Models = dict[str, BaseChatModel]


class Answering(BaseChatModel):
    """Answers as `answer` does, given the end of the prompt: the same after a kill."""

    answer: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "answering"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.answer(messages[-1].text)))])


def switch(prompt: str) -> str:
    """Switch the heater on where it is colder than it should be."""
    room_c, target_c = map(float, re.findall(r"[0-9.]+", prompt)[:2])
    return f'{{"name": "set_heater", "arguments": {{"on": {str(room_c < target_c).lower()}}}}}'


def heating() -> Models:
    """A model that heats sensibly."""
    return {"navigator": Answering(answer=switch)}


def firing() -> Models:
    """A model that heats sensibly, and one that echoes."""
    return {**heating(), "marker": Answering(answer=lambda prompt: f"mark {prompt}")}


CONTEXT = re.compile(r"actions: \[(?P<actions>.*?)\]\. The ingredients are \[(?P<ingredients>.*?)\]")


def told(prompt: str) -> tuple[list[str], list[str]]:
    """The actions and ingredients that a writer of instructions was told."""
    found = CONTEXT.search(prompt)
    if found is None:
        return [], []
    actions, ingredients = (found[what].split(", ") for what in ("actions", "ingredients"))
    return [*filter(None, actions)], [*filter(None, ingredients)]


def write_as_told(prompt: str) -> str:
    """Instructions that do exactly what they were told."""
    actions, ingredients = told(prompt)
    if not actions and not ingredients:
        return "Boil the potatoes."
    steps = [f"{action.capitalize()} it." for action in actions]
    return "\n".join([*steps, f"Serve with the {', the '.join(ingredients)}." if ingredients else "Serve it."])


def cook(prompt: str) -> str:
    """See a tomato that was sliced, and write what one is told."""
    if "Which ingredients" in prompt:
        return "Ingredients: tomato, basil, salt"
    if "cooking actions made" in prompt:
        return "<think>plate</think><answer>slice, toss, drizzle</answer>"
    return write_as_told(prompt)


def cooking() -> Models:
    """A model that sees the same dish everywhere, and writes what it saw."""
    return dict.fromkeys(("predictor", "generator"), Answering(answer=cook))


def keep_going(prompt: str) -> str:
    """Drive straight on at the speed that one has."""
    found = re.search(r"Speed ([0-9.]+)", prompt)
    speed_mps = float(found[1]) if found else 0.0
    points = ",".join(f"{round(5 * speed_mps * step)} 0" for step in range(1, 7))
    return (
        "<perception>none</perception><prediction>0 0</prediction><think>clear</think><action>keep</action>"
        f"<answer>{points}</answer>"
    )


def driving() -> Models:
    """A model that keeps lane and speed."""
    return {"driver": Answering(answer=keep_going)}


@dataclass(frozen=True, kw_only=True)
class LoopCase:
    """A loop, and what the suite has to know of it.

    Attributes:
        models: makes the models of a run.
        config: of a short run that succeeds.
        is_slow: too slow to be killed after each write in a default run.
    """

    loop: Loop
    models: Callable[[], Models] = dict
    config: Mapping[str, Any] = field(default_factory=dict)
    is_slow: bool = False


TO_A_LANDMARK = {"volume": "phantom:30000", "start": "T12", "target": "Left hemidiaphragm"}
A_DRIVE = {"scenario": "highway", "seed": 2000003, "steps": 2, "planner": "model", "shown": "none"}
A_DISH = {"dish": "simulated:2000007", "predictor": "model", "writer": "model", "compare": True}
CASES = {
    case.loop.name: case
    for case in (
        LoopCase(loop=thermostat.varied(state={"target_c": 16.5}), models=heating),
        LoopCase(loop=kiln, models=firing, config={"marks": "low"}),
        LoopCase(loop=nested, models=heating, is_slow=True),
        LoopCase(loop=SURGERY, config={"video": "simulated:2000007", "clips": 3}, is_slow=True),
        LoopCase(
            loop=RECIPE,
            models=cooking,
            config=A_DISH,
            is_slow=True,
        ),
        LoopCase(loop=DRIVE, models=driving, config=A_DRIVE, is_slow=True),
        LoopCase(loop=CARM, config=TO_A_LANDMARK, is_slow=True),
    )
}
