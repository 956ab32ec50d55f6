"""One line about an event, as a terminal, a report and a page show it."""

from typing import Literal, NamedTuple

Tone = Literal["", "ok", "bad", "warn", "human", "model", "quiet"]


class Line(NamedTuple):
    """`label` says what kind of thing happened, `text` what, `detail` more for those who look closely."""

    label: str
    text: str
    detail: str = ""
    tone: Tone = ""
