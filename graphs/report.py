"""A session as one HTML page for people: no script, nothing loaded from anywhere, fit for a screen, a phone and paper.

Here is what holds for any loop: the header, what was said, what was done to the world, every event. What a loop has to
show of its own comes as sections, drawn with the same templates. Same session, same page: it carries no time of its
making. Text from people and models is escaped by the templates; the page's own policy forbids scripts and requests.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loopwright.errors import BadInput
from loopwright.memory import Memory, SessionRow
from loopwright.schema import Event
from loopwright.tools.files import disk_errors, write_whole

SHARED = "loopwright.graphs"
"""The package whose `templates` all loops share."""


class Fact(NamedTuple):
    """One line of the page's header."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A loop's own part of the page. `facts` are what it adds to the header."""

    title: str
    html: Markup
    facts: tuple[Fact, ...] = ()


def write_report(memory: Memory, session_id: str, out_file: Path, sections: Sequence[Section] = ()) -> Path:
    """Write a session's page to `out_file`, whole or not at all; an earlier page is replaced.

    Raises:
        BadInput: `out_file` is a folder.
        UnknownName: there is no such session.
        OperatorError: the file cannot be written.
    """
    if out_file.is_dir():
        raise BadInput(f"`{out_file}` is a folder; name the HTML file to write, for example `{out_file}/report.html`.")
    row, events = memory.sessions.get(session_id), memory.events.read(session_id)
    page = render_template(
        "report.html.j2",
        row=row,
        result=result_of(row, events),
        facts=[*_facts(row, events), *(fact for section in sections for fact in section.facts)],
        verification=memory.verify(session_id),
        sections=sections,
        messages=memory.inbox.since(session_id, 0),
        ledger=memory.ledger.of(session_id),
        events=events,
    )
    with disk_errors(out_file):
        out_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out_file, page.encode())
    return out_file


def render_template(template: str, package: str = SHARED, **values: Any) -> Markup:
    """Fill in a template of `package`, or a shared one; every value is escaped that is not `Markup` already.

    Args:
        template: a file in the folder `templates` of the package.
        package: dotted name, a loop's own.
        values: what the template shows.
    """
    return Markup(_environment(package).get_template(template).render(values))


def result_of(row: SessionRow, events: Sequence[Event]) -> str:
    """How it ended or why it rests, in the words of the newest event that says so."""
    if row.status in ("running", "created"):
        return ""
    telling = (e for e in reversed(events) if e.kind in ("finished", "stopped", "paused", "error", "asked", "rewound"))
    event = next(telling, None)
    if event is None:
        return ""
    if event.kind == "rewound":
        return f"rewound from step {event.payload['from']} to step {event.payload['to']}"
    if event.kind == "asked":
        return str(event.payload["question"]["text"])
    return str(event.payload.get("reason") or event.payload.get("text") or "")


def _facts(row: SessionRow, events: Sequence[Event]) -> list[Fact]:
    facts = [Fact("Loop", row.loop), Fact("Begun", f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC")]
    if events:
        facts.append(Fact("Duration", _duration(events[-1].created_at - events[0].created_at)))
    facts.append(Fact("Head of the record", row.head_hash))
    if row.parent:
        facts.append(Fact("Forked from", row.parent))
    return facts


def _duration(span: timedelta) -> str:
    """'4.2 s', '3 min 20 s', '2 h 5 min'."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def pretty_json(value: Any) -> str:
    """JSON over several lines, for reading."""
    return json.dumps(value, indent=1, ensure_ascii=False)


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty_json"] = pretty_json
    return environment
