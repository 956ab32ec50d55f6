"""One line about an event, as a terminal, a report and a notebook show it."""

import re
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


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Terminal sequences begin with one; the last ones turn the direction of writing."""


def visible(text: str) -> str:
    """Anybody's text with its control characters as what they are: shown, not obeyed."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
