"""Events at a terminal, one line each thing that happened. What models, humans and authors wrote is shown, not obeyed:
markup and control characters in it stand as what they are.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loopwright.cli.output import plain

if TYPE_CHECKING:
    from loopwright.graphs.loop.declare import Declaration
    from loopwright.graphs.loop.lines import Line
    from loopwright.schema import Event

STYLES = {"ok": "green", "bad": "red", "warn": "yellow", "human": "cyan", "model": "magenta", "quiet": "dim"}
"""Colours of the tones of a line."""


def describe(event: "Event", loop: "Declaration | None") -> Iterator[str]:
    """Lines of rich markup about an event of a session of `loop`; one that says nothing new to a person gives none."""
    from loopwright.graphs.loop.describe import describe, describe_in

    where = f"{event.step:>3}" if event.branch == 0 else f"{event.branch}:{event.step}"
    for line in describe(event) if loop is None else describe_in(loop, event):
        yield f"[dim]{where}[/dim] {marked_up(line)}"


def marked_up(line: "Line") -> str:
    """A line as rich markup."""
    label, text, detail = (plain(part) for part in line[:3])
    said = f"{label:<9} {text}"
    style = STYLES.get(line.tone)
    return (f"[{style}]{said}[/{style}]" if style else said) + (f" [dim]({detail})[/dim]" if detail else "")
