"""Every tool, one line each."""

from typing import Any

from loopwright.errors import UnknownName
from loopwright.tools.carm.tools import c_arm_status, move_c_arm, take_exposure
from loopwright.tools.contract import Tool
from loopwright.tools.recall import leave_note, recall_history, recall_similar
from loopwright.tools.recipe.tools import dish_status, look_at_dish, record_labels, write_instructions
from loopwright.tools.surgery.tools import next_clip, record_plan, show_clip, surgery_status

TOOLS: tuple[Tool[Any, Any], ...] = (
    c_arm_status,
    dish_status,
    leave_note,
    look_at_dish,
    move_c_arm,
    next_clip,
    recall_history,
    recall_similar,
    record_labels,
    record_plan,
    show_clip,
    surgery_status,
    take_exposure,
    write_instructions,
)


def find_tool(name: str) -> Tool[Any, Any]:
    """The tool called `name`.

    Raises:
        UnknownName: suggesting the nearest names.
    """
    for each in TOOLS:
        if each.name == name:
            return each
    raise UnknownName("tool", name, (each.name for each in TOOLS))
