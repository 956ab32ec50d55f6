"""Events and sessions as they show themselves: one line in print, text and pictures in a notebook."""

import base64
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from pydantic import PrivateAttr

from loopwright.agents.sessions.export import image_refs
from loopwright.errors import BadInput
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.describe import describe_in
from loopwright.graphs.loop.lines import Line, visible
from loopwright.memory import Memory
from loopwright.schema import Event
from loopwright.tools.pictures import stored_picture

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = {
    "ok": "#1b7a3d", "bad": "#b3261e", "warn": "#8a5a00", "human": "#0b62a4", "model": "#8a3d8f", "quiet": "#5b6470",
}  # fmt: skip
"""Of the tones of a line, legible on light and on dark ground."""

PICTURE_PX = 256
"""Width of a picture in a notebook."""


class SessionEvent(Event):
    """An event of a session that is at hand, so that its loop can describe it and its pictures can be opened."""

    _loop: Declaration = PrivateAttr()
    _memory: Memory = PrivateAttr()

    @classmethod
    def of(cls, event: Event, loop: Declaration, memory: Memory) -> "SessionEvent":
        """`event`, of a session of `loop` in `memory`."""
        made = cls.model_construct(**dict(event))
        made._loop, made._memory = loop, memory
        return made

    @property
    def lines(self) -> list[Line]:
        """What it tells a person; nothing where it says nothing new."""
        return describe_in(self._loop, self)

    @property
    def images(self) -> "list[Image]":
        """The pictures that it refers to, in order."""
        return [stored_picture(self._memory.blobs, ref) for ref in image_refs(self.payload)]

    @property
    def image(self) -> "Image":
        """Its first picture.

        Raises:
            BadInput: it has none.
        """
        found = self.images
        if not found:
            raise BadInput(f"Event {self.seq} ({self.kind}) has no picture.")
        return found[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and dict(self) == dict(other)

    def __str__(self) -> str:
        said = "; ".join(
            f"{each.label} {each.text}" + (f" ({each.detail})" if each.detail else "") for each in self.lines
        )
        return f"{self.place:>4} {visible(' '.join(said.split()) or f'({self.kind})')}"

    def __repr__(self) -> str:
        return f"<event {self.seq}: {str(self).strip()}>"

    @property
    def place(self) -> str:
        """Its step, with the branch where the session was rewound: '3', '1:3'."""
        return f"{self.branch}:{self.step}" if self.branch else str(self.step)

    def _repr_html_(self) -> str:
        rows = [_row(self.place, line) for line in self.lines or [Line(self.kind, "", tone="quiet")]]
        return _table(rows) + "".join(
            _picture(self._memory.blobs.read(ref), ref.media_type) for ref in image_refs(self.payload)
        )


def session_html(title: str, events: Iterable[SessionEvent]) -> str:
    """A session in a notebook: its title, and what its events tell."""
    rows = [_row(event.place, line) for event in events for line in event.lines]
    return f"<p><strong>{escape(title)}</strong></p>{_table(rows)}"


def _row(place: str, line: Line) -> str:
    colour = f"color:{COLOURS[line.tone]};" if line.tone else ""
    detail = f' <span style="opacity:.7">({escape(visible(line.detail))})</span>' if line.detail else ""
    cells = (
        f'<td style="opacity:.6">{escape(place)}</td>',
        f'<td style="{colour}white-space:nowrap">{escape(visible(line.label))}</td>',
        f'<td style="{colour}text-align:left">{escape(visible(line.text))}{detail}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _table(rows: Iterable[str]) -> str:
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _picture(data: bytes, media_type: str) -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img width="{PICTURE_PX}" src="data:{escape(media_type)};base64,{encoded}">'
