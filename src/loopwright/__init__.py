"""Loopwright: closed perception-action loops run by agents.

    import loopwright as lw

    session = lw.loops.carm.start(volume="phantom:30000", start="Carina", target="T12")
    for event in session.stream():
        print(event)

The names below are imported when they are first used: `import loopwright` alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.graphs.loop.acts import ActResult
    from loopwright.graphs.loop.config import Budget, RunConfig
    from loopwright.graphs.loop.context import Context
    from loopwright.graphs.loop.declare import Role, State, node
    from loopwright.graphs.loop.lines import Line
    from loopwright.graphs.loop.loop import Loop
    from loopwright.graphs.loop.session import Session
    from loopwright.graphs.registry import loops
    from loopwright.graphs.report import Fact, Section
    from loopwright.graphs.step_view import Picture, StepView
    from loopwright.memory import Memory, open_memory
    from loopwright.models.scripted import ScriptedChatModel
    from loopwright.schema import Act, Event, Feedback, Frozen, ImageRef, Verdict, World
    from loopwright.tools.contract import Acting, Tool, ToolContext, tool
    from loopwright.tools.simulated import SimulatedWorld

    __version__: str

__all__ = [
    "Act",
    "ActResult",
    "Acting",
    "Budget",
    "Context",
    "Event",
    "Fact",
    "Feedback",
    "Frozen",
    "ImageRef",
    "Line",
    "Loop",
    "Memory",
    "Picture",
    "Role",
    "RunConfig",
    "ScriptedChatModel",
    "Section",
    "Session",
    "SimulatedWorld",
    "State",
    "StepView",
    "Tool",
    "ToolContext",
    "Verdict",
    "World",
    "__version__",
    "loops",
    "node",
    "open_memory",
    "tool",
]

_HOMES = {
    "graphs.loop.acts": ("ActResult",),
    "graphs.loop.config": ("Budget", "RunConfig"),
    "graphs.loop.context": ("Context",),
    "graphs.loop.declare": ("Role", "State", "node"),
    "graphs.loop.lines": ("Line",),
    "graphs.loop.loop": ("Loop",),
    "graphs.loop.session": ("Session",),
    "graphs.registry": ("loops",),
    "graphs.report": ("Fact", "Section"),
    "graphs.step_view": ("Picture", "StepView"),
    "memory": ("Memory", "open_memory"),
    "models.scripted": ("ScriptedChatModel",),
    "schema": ("Act", "Event", "Feedback", "Frozen", "ImageRef", "Verdict", "World"),
    "tools.contract": ("Acting", "Tool", "ToolContext", "tool"),
    "tools.simulated": ("SimulatedWorld",),
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("loopwright")
    else:
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
