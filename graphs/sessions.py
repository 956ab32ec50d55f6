"""What can be made of a session's record with the help of its loop: what it is about, its report, its pictures drawn
again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from pydantic_core import to_jsonable_python

from loopwright.agents.sessions.export import image_refs
from loopwright.errors import BadInput
from loopwright.graphs.drawing import as_svg, lay_out
from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.describe import describe, describe_in
from loopwright.graphs.loop.serve import bare_graph
from loopwright.graphs.report import Section, write_report
from loopwright.graphs.report_parts import steps_section
from loopwright.memory import Memory, SessionRow
from loopwright.schema import Event
from loopwright.tools.pictures import read_picture

REDRAW_TOLERANCE = 1.0
"""Mean absolute grey-level difference (of 255) up to which a picture drawn again counts as the same."""


class Redrawn(NamedTuple):
    """`worst` is the largest mean absolute difference of `n` pictures, in grey levels of 255."""

    n: int
    worst: float
    within_tolerance: bool


def headline(loop: Declaration | None, row: SessionRow) -> str:
    """What a session is about: the settings of its run that are not the loop's defaults."""
    own: dict[str, Any] = row.config.get("scopes", {}).get("", {}).get("config", {})
    fields = loop.config.model_fields if loop else {}
    shown = []
    for name, value in own.items():
        field = fields.get(name)
        if name in RunConfig.model_fields or value in (None, "", []):
            continue
        default = None if field is None else field.get_default(call_default_factory=True, validated_data={})
        if field is None or field.is_required() or value != to_jsonable_python(default):
            shown.append(f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return " · ".join(shown) or (loop.summary if loop else "")


def report_session(memory: Memory, session_id: str, out_file: Path, loop: Declaration | None) -> Path:
    """Write the session's HTML report, with its loop's own sections; without its loop, what holds for any.

    Raises:
        BadInput: `out_file` is a folder.
        UnknownName: there is no such session.
        OperatorError: the file cannot be written.
    """
    events = memory.events.read(session_id)
    if loop is not None and loop.report is not None:
        config, prepared = _kept(memory, session_id, loop)
        sections = loop.report(config, prepared, events, memory.blobs.read)
    else:
        sections = [steps_section(events, lambda event: _described(event, loop), memory.blobs.read)]
    drawn = [] if loop is None else [_graph_section(loop)]
    return write_report(memory, session_id, out_file, sections=[*sections, *drawn])


def redraw_session(memory: Memory, session_id: str, loop: Declaration) -> Redrawn:
    """Draw every picture of a session again from what was observed with it, and compare.

    Raises:
        BadInput: the loop cannot draw its pictures again.
    """
    if loop.redraw is None:
        raise BadInput(f"The loop {loop.name!r} cannot draw its pictures again: it has no `redraw`.")
    redraw = loop.redraw(*_kept(memory, session_id, loop))
    differences = []
    seen = (e.payload for e in memory.events.read(session_id) if e.kind == "observed")
    for output in (payload["output"] for payload in seen if "output" in payload):
        for ref in image_refs(output):
            kept = read_picture(memory.blobs, ref).astype(np.float32)
            differences.append(float(np.abs(kept - redraw(output)).mean()))
    worst = max(differences, default=0.0)
    return Redrawn(len(differences), worst, worst <= REDRAW_TOLERANCE)


def _graph_section(loop: Declaration) -> Section:
    """The loop's graph, drawn."""
    svg = as_svg(lay_out(bare_graph(loop).get_graph())).decode()
    return Section(title="Graph", html=Markup('<figure class="graph">{}</figure>').format(Markup(svg)))


def _kept(memory: Memory, session_id: str, loop: Declaration) -> tuple[RunConfig, dict[str, Any]]:
    """The configuration of a session's outer loop, and what was prepared for it."""
    kept = memory.sessions.get(session_id).config["scopes"][""]
    return loop.config.model_validate(kept["config"]), kept["prepared"]


def _described(event: Event, loop: Declaration | None) -> list[Any]:
    return describe(event) if loop is None else describe_in(loop, event)
