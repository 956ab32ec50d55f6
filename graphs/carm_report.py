"""The C-arm's own parts of a session's report."""

from collections.abc import Callable, Sequence
from typing import Any

from loopwright.agents.report import Section
from loopwright.schema import Event, ImageRef
from loopwright.tools.carm.case import Case


def carm_sections(
    kept: dict[str, Any], events: Sequence[Event], read_blob: Callable[[ImageRef], bytes], case: Case | None = None
) -> list[Section]:
    """The path over the CT, the distance to the target, and one card a round."""
    return []
