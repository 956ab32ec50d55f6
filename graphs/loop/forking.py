"""What a fork takes over of its parent's memory."""

from collections.abc import Mapping
from typing import Any

from loopwright.agents.sessions.export import image_refs
from loopwright.memory import Memory


def remember_parent(memory: Memory, parent: str, child: str, step: int, values: Mapping[str, Any]) -> None:
    """Give a fork its parent's past before `step`, and every picture that it or its state refers to.

    They are counted for the child too, so that pruning the parent leaves it whole.
    """
    past = memory.steps.near_history(parent, step, before_step=step).steps
    for row in past:
        memory.steps.record(child, 0, row.step, label=row.label, signature=row.signature, detail=row.detail)
    for ref in image_refs([dict(values), *(row.detail for row in past)]):
        memory.blobs.put(
            memory.blobs.read(ref), session_id=child, media_type=ref.media_type,
            width_px=ref.width_px, height_px=ref.height_px,
        )  # fmt: skip
