"""One line about an event, as a terminal, a report and a notebook show it."""

from typing import Literal, NamedTuple

Tone = Literal["", "ok", "bad", "warn", "human", "model", "quiet"]


class Line(NamedTuple):
    """Plain text: whoever shows it escapes it.

    `label` says in a word what kind of thing happened, `text` what, `detail` more for those who look closely.
    """

    label: str
    text: str
    detail: str = ""
    tone: Tone = ""
